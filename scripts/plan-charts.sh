#!/usr/bin/env bash
# `plan` on what well-known charts render to, beside what policy.wasm rewrites of it, object by
# object: `scripts/plan-charts.sh [FILE...]`. Without files the charts below are taken from GitHub
# and rendered by helm. Nothing is copied: all reviews are dry runs.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PATH="$ROOT/target/tools/bin:$PATH"

# Name, repository, commit, path, namespace. A path to a Chart.yaml's folder is rendered; of other
# folders each manifest is taken.
CHARTS="
ingress-nginx kubernetes/ingress-nginx dbb11b92ddb77bee9c35e462479129354c84f939 charts/ingress-nginx ingress-nginx
cert-manager cert-manager/cert-manager 2d0d7f7f74241a9cbf79f0e2a7bb247238ee09fd deploy/charts/cert-manager cert-manager
metrics-server kubernetes-sigs/metrics-server 5ed5d3a2cf940a8c7541cfbac19af822f4c97844 charts/metrics-server kube-system
kube-prometheus prometheus-operator/kube-prometheus 4d719f1dea8853540b3823ab1fbe6be74a9953b3 manifests monitoring
argo-cd argoproj/argo-cd 37ee0097cf851bc2dd7665fc081bbce61a7e836e manifests/ha/install.yaml argocd
metallb metallb/metallb 7938d3f89b8bd808dae2e42d97d6ae7e18e9ed54 config/manifests/metallb-frr-k8s.yaml metallb-system
"

# chart NAME REPOSITORY COMMIT PATH NAMESPACE: what it renders to, on stdout.
chart() {
    local folder="$WORK/charts/$1" path="$WORK/charts/$1/$4" manifest
    git init -q "$folder"
    git -C "$folder" remote add origin "https://github.com/$2"
    # Of the files only those that are asked for.
    git -C "$folder" fetch -q --depth 1 --filter=blob:none origin "$3"
    git -C "$folder" checkout -q FETCH_HEAD -- "$4"
    if [ -e "$path/Chart.yaml" ]; then
        helm template "$1" "$path" --namespace "$5" --include-crds
        return
    fi
    find "$path" -name '*.yaml' | sort | while read -r manifest; do
        printf -- '\n---\n'
        cat "$manifest"
    done
}

# compare NAME FILE NAMESPACE
compare() {
    "$BIN/image-replicator" plan "$2" --offline --output json --namespace "$3" \
        --config "$WORK/replicator/config.yaml" >"$WORK/plan.json" || [ $? -eq 3 ] ||
        die "no plan for $2"
    PYTHONPATH="$ROOT/target/tools/python${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1 \
        "$ROOT/scripts/plan-charts.py" "$1" "$2" "$3" "$WORK/plan.json" \
        "http://127.0.0.1:$(port_of server)/validate/image-replicator"
}

trap work_end EXIT
need git
work_begin
start_source_and_target
configure_replicator replicator "$WORK/skopeo/auth.json"
start_replicator replicator
configure_host replicator
mkdir -p "$WORK/server" "$WORK/charts"
kinds='["Pod","PodTemplate","ReplicationController","DaemonSet","Deployment","ReplicaSet","StatefulSet","Job","CronJob"]'
policies_file replicator rewrite |
    jq --argjson kinds "$kinds" '.[].settings += {kinds: $kinds, ignoreNamespaces: []}' \
        >"$WORK/server/policies.yaml"
serve_policies policy-host

for file; do
    compare "$(basename "$file" .yaml)" "$file" default
done
[ $# -eq 0 ] || exit 0
need helm
while read -r name repository commit path namespace; do
    chart "$name" "$repository" "$commit" "$path" "$namespace" >"$WORK/charts/$name.yaml"
    compare "$name" "$WORK/charts/$name.yaml" "$namespace"
done < <(grep . <<<"$CHARTS")
