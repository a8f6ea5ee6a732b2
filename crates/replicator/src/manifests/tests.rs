use super::*;

const TEXT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      initContainers: [{name: setup, image: busybox}]
      containers:
      - {name: web, image: nginx:1.27}
      - {name: log, image: docker.io/library/busybox:latest}
---
apiVersion: batch/v1
kind: Job
metadata: {generateName: clean-}
spec: {template: {spec: {containers: [{name: clean, image: 'no image'}, {image: nginx:1.27}]}}}
---
apiVersion: example.org/v1
kind: Database
metadata: {name: db, namespace: shop}
spec: {image: 'postgres:16', pod: {spec: {containers: [{name: x, image: nginx:1.27}]}}}
";

#[test]
fn each_image_is_there_once_with_all_who_name_it() {
    let manifests = Manifests::parse(TEXT, &"team".parse().unwrap()).unwrap();
    let line = |by: &NamedBy| {
        let NamedBy { document, kind, namespace, name, place } = by;
        format!("  {document} {kind} {namespace}/{name} {place}\n")
    };
    let mut told = String::new();
    for Named { reference, name, by } in &manifests.images {
        told += &format!("{name} {}\n", reference.as_ref().map_or("is none", |_| "is one"));
        told.extend(by.iter().map(line));
    }
    for Mentioned { reference, by } in &manifests.mentions {
        told += &format!("mentioned: {reference}\n{}", line(by));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn what_can_be_no_namespace_is_an_error() {
    let text = "{kind: Pod, metadata: {name: p, namespace: No_Name}}";
    let error = Manifests::parse(text, &"default".parse().unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("document 1: Pod p is in"), "{error}");
}
