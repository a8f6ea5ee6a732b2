#!/usr/bin/env bats
# A real Kubernetes API server: what `kubectl` sends is stored with the replicas' references, and
# what the chart lets the replicator read is enough and no more. Skipped where there is none; `just
# cluster` builds one.

bats_require_minimum_version 1.5.0
load helpers
# shellcheck source=scripts/api-server.sh
. "$BATS_TEST_DIRNAME/../scripts/api-server.sh"

RELEASE="image-replicator"

# chart FILTER: the objects that the chart renders for these tests, as JSON lines, filtered.
chart() {
    helm template "$RELEASE" "$ROOT/charts/image-replicator" --namespace "$RELEASE" \
        --values "$WORK/values.yaml" --api-versions policies.kubewarden.io/v1 |
        python3 -c 'import json, sys, yaml
for item in yaml.safe_load_all(sys.stdin):
    if item: print(json.dumps(item))' | jq -c "$1"
}

# The objects of the chart's that say what the replicator may do.
rights() { chart 'select(.kind | test("^(ServiceAccount|(Cluster)?Role(Binding)?)$"))'; }

setup_file() {
    has_api_server || return 0
    start_everything
    publish web shop/web:1.0 2 >"$WORK/web.reference"
    publish new shop/web:2.0 1 >"$WORK/new.reference"
    start_api_server
    jq -n --arg root "$(address_of target)/mirror" '{
        config: {target: {root: $root}, rules: [{name: "all", sources: "**", namespace_secrets: true}]},
        tenancy: {secretNamespaces: ["shop"]}, inventory: {watchPods: true}, monitoring: {serviceMonitor: {enabled: false}, prometheusRule: {enabled: false}}
    }' >"$WORK/values.yaml"
    start_policy_server "$HOST" replicator rewrite \
        --cert-file "$WORK/tls/server.crt" --key-file "$WORK/tls/server.key"
    for name in shop cart kubewarden "$RELEASE"; do
        k create namespace "$name"
        # Older API servers do not label them by themselves.
        k label --overwrite namespace "$name" "kubernetes.io/metadata.name=$name"
    done
    chart 'select(.kind == "ClusterAdmissionPolicy")' >"$WORK/policy.json"
    webhook "$WORK/policy.json" | k create -f -
}
teardown_file() { [ -z "${WORK:-}" ] || work_end; }
setup() {
    has_api_server || skip "kube-apiserver, etcd and kubectl are not installed; just cluster builds the first"
    image="$(cat "$WORK/web.reference")"
}
teardown() { show_logs; }

# named NAME IMAGE...: a Pod of that name on stdout.
named() { pod "${@:2}" | jq --arg name "$1" '.metadata |= (.name = $name | del(.namespace))'; }

images_of() { jq -r '.spec.containers[].image, (.spec.initContainers // [])[].image'; }

@test "a pod is stored with the replicas' references, and its own are kept beside" {
    named web "$image" "$image" | k create --namespace shop -f -
    k get pod web --namespace shop -o json >"$BATS_TEST_TMPDIR/pod.json"
    [ "$(images_of <"$BATS_TEST_TMPDIR/pod.json" | sort -u)" = "$(replica_of "$image")" ]
    jq -e --arg image "$image" '.metadata.annotations["image-replicator.io/source-images"]
        | fromjson | .web == $image' "$BATS_TEST_TMPDIR/pod.json"
}

@test "a change of the image comes by, too" {
    named changed "$image" | k create --namespace shop -f -
    k set image --namespace shop pod/changed "web=$(cat "$WORK/new.reference")"
    [ "$(k get pod changed --namespace shop -o json | images_of)" = "$(replica_of "$(cat "$WORK/new.reference")")" ]
}

@test "a dry run is answered the same, and starts nothing" {
    publish dry shop/dry:1 1 >"$WORK/dry.reference"
    named dry "$(cat "$WORK/dry.reference")" |
        k create --namespace shop --dry-run=server -o json -f - >"$BATS_TEST_TMPDIR/pod.json"
    [ "$(images_of <"$BATS_TEST_TMPDIR/pod.json")" = "$(replica_of "$(cat "$WORK/dry.reference")")" ]
    status_of replicator '/api/v1/images?search=shop/dry' | jq -e '.images == []'
}

@test "the namespaces of the replicator and of Kubernetes are left alone" {
    named own "$image" | k create --namespace "$RELEASE" -f -
    [ "$(k get pod own --namespace "$RELEASE" -o json | images_of)" = "$image" ]
}

@test "what the API server knows of the chart it takes" {
    chart 'select(.apiVersion | test("^(v1|apps/v1|networking.k8s.io/v1|rbac.authorization.k8s.io/v1)$"))' |
        k apply --dry-run=server --validate=true -f -
}

@test "the chart's rights are to watch pods, and the pull secrets of the listed namespaces; no more" {
    rights | k apply -f -
    may watch pods --all-namespaces
    may watch secrets --namespace shop
    may_not list secrets --namespace cart
    may_not list secrets --all-namespaces
    may_not create pods --namespace shop
    may_not delete secrets --namespace shop
}

@test "with these rights a namespace's own pull secret opens a source, and the pods that run it are seen" {
    rights | k apply -f -
    kubeconfig "$(token_of "$RELEASE" "$(account)")" >"$WORK/replicator/kubeconfig"
    stop_service replicator
    sed -i 's|^  - name: all|  - name: own\n    sources: "*/own/**"\n    namespace_secrets: true\n&|' \
        "$WORK/replicator/config.yaml"
    cat >>"$WORK/replicator/config.yaml" <<CONF
tenancy:
  secret_namespaces: [shop]
inventory:
  watch_pods: true
CONF
    KUBECONFIG="$WORK/replicator/kubeconfig" start_replicator replicator
    publish own own/app:1 1 >"$WORK/own.reference"
    wait_until 30 "who has no secret is refused" is_refused_for 'has no right to this image'
    credentials source >"$WORK/source.json"
    k create secret generic pull --namespace shop --type kubernetes.io/dockerconfigjson \
        --from-file ".dockerconfigjson=$WORK/source.json"
    wait_until 60 "the namespace's own secret opens the source" create_own
    wait_until 60 "the copy is made" state_is present own/app
    wait_until 60 "the pod is seen" is_in_use own/app
}

# The service account that the chart gives the replicator.
account() { rights | jq -r 'select(.kind == "ServiceAccount") | .metadata.name' | head -n 1; }

# may WHAT...: whether it may.
may() { k auth can-i "$@" --as "system:serviceaccount:$RELEASE:$(account)"; }
may_not() { [ "$(may "$@")" = no ] || die "it may: $*"; }

# create_own: a pod of the image that only the secret opens.
create_own() { named own "$(cat "$WORK/own.reference")" | k create --namespace shop -f -; }

# is_refused_for WORDS
is_refused_for() { ! create_own >"$BATS_TEST_TMPDIR/said" 2>&1 && grep -q "$1" "$BATS_TEST_TMPDIR/said"; }

# state_is STATE REPOSITORY
state_is() {
    status_of replicator "/api/v1/images?search=$2" | jq -e --arg state "$1" '.images[0].state == $state' >/dev/null
}

# is_in_use REPOSITORY
is_in_use() {
    status_of replicator "/api/v1/images?search=$1" | jq -e '.images[0].in_use >= 1' >/dev/null
}
