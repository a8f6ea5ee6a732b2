#!/usr/bin/env python3
"""Holds what `plan` finds in manifests against what the policy rewrites of them.

plan-charts.py NAME FILE NAMESPACE PLAN URL: each object of a kind that the policy knows goes as a
dry run to the policy server at URL; what it rewrites, and what PLAN says that names it, must be
the same. The manifests are read by another reader than ours. Prints a line, or ends with 1.
"""

import base64
import json
import sys
import urllib.request

import yaml

GROUPS = {
    "Pod": "", "PodTemplate": "", "ReplicationController": "",
    "DaemonSet": "apps", "Deployment": "apps", "ReplicaSet": "apps", "StatefulSet": "apps",
    "Job": "batch", "CronJob": "batch",
}


# PyYAML takes a `=` for a type of YAML 1.1 that it cannot read.
yaml.SafeLoader.yaml_implicit_resolvers.pop("=", None)


def objects(value):
    """The objects of a document, lists taken apart."""
    if not value:
        return
    if value["kind"].endswith("List") and isinstance(value.get("items"), list):
        for item in value["items"]:
            yield from objects(item)
    else:
        yield value


def rewritten(value, group, namespace, url):
    """The references that the policy puts into an object."""
    request = {
        "uid": "1", "operation": "CREATE", "dryRun": True, "namespace": namespace,
        "kind": {"group": group, "version": "v1", "kind": value["kind"]},
        "resource": {"group": group, "version": "v1", "resource": "any"},
        "userInfo": {}, "object": value,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    body = json.dumps(review, default=str).encode()
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as reply:
        response = json.load(reply)["response"]
    if not response["allowed"]:
        sys.exit(f"the policy refuses {value['kind']}: {response['status']['message']}")
    patch = json.loads(base64.b64decode(response.get("patch") or "W10="))
    ends = ("/image", "/image/reference")
    return [step["value"] for step in patch if step["path"].endswith(ends)]


def texts(value):
    """Each text under a key `image`, wherever it is."""
    if isinstance(value, dict):
        for key, field in value.items():
            if key == "image" and isinstance(field, str) and set(field) & set("/:@"):
                yield field
            yield from texts(field)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def names(image, text):
    """Whether `text` is a spelling of the canonical `image`."""
    return any(f"/{image}".endswith(f"/{text}{rest}") for rest in ("", ":latest"))


def main(name, file, namespace, plan_file, url):
    with open(plan_file, encoding="utf-8") as read:
        plan = json.load(read)
    planned = {}
    for image in plan["images"]:
        for by in image["named_by"]:
            key = (by["kind"], by["namespace"], by["name"])
            planned.setdefault(key, []).append(image["target"] or image["image"])
    known = [image["image"] for image in plan["images"] + plan["mentions"]]
    with open(file, encoding="utf-8") as read:
        found = [one for document in yaml.safe_load_all(read) for one in objects(document)]
    asked = places = 0
    for value in found:
        metadata = value.get("metadata") or {}
        own = metadata.get("namespace") or namespace
        key = (value["kind"], own, metadata.get("name") or metadata.get("generateName", "") + "*")
        group = value["apiVersion"].rpartition("/")[0]
        if GROUPS.get(value["kind"]) == group:
            asked += 1
            by_policy, by_plan = rewritten(value, group, own, url), planned.pop(key, [])
            if sorted(by_policy) != sorted(by_plan):
                sys.exit(f"{name}, {key}: the policy has {by_policy}, plan has {by_plan}")
            places += len(by_plan)
        for part, field in value.items():
            for text in texts(field) if part not in ("metadata", "status") else ():
                if not any(names(image, text) for image in known):
                    sys.exit(f"{name}, {key}: plan does not have {text}")
    if not planned and not asked:
        sys.exit(f"{name}: nothing in it has pods")
    by_shape = sum(len(targets) for targets in planned.values())
    if planned and any(GROUPS.get(kind) is not None for kind, _, _ in planned):
        sys.exit(f"{name}: plan names objects that are not there: {list(planned)}")
    print(
        f"{name}: {len(found)} objects, {plan['total']['images']} images; {asked} objects with pods, "
        f"in which plan and policy name the same in {places} places; {by_shape} places in pods of "
        f"custom resources; {len(plan['mentions'])} images named elsewhere"
    )


main(*sys.argv[1:])
