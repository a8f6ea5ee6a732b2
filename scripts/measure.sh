#!/usr/bin/env bash
# Figures of the whole path, on real registries: `just measure`. Nothing is asserted but what was
# asked for; the times depend on the machine.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need ab
trap work_end EXIT

REVIEWS=500
LAYER_MIB="${LAYER_MIB:-2048}"

# publish_layer NAME MIB: one image with one layer of random bytes and as few others as can be.
publish_layer() { publish "$1" "measure/$1:1" "$2" amd64; }

start_policy_server() {
    mkdir -p "$WORK/server"
    free_port >"$WORK/server/port"
    jq -n --arg path "file://$MODULE" --argjson settings "$(settings_for replicator "$1")" \
        '{"image-replicator": {module: $path, allowedToMutate: true, settings: $settings,
            hostCapabilities: ["oci/v1/oci_manifest"]}}' >"$WORK/server/policies.yaml"
    launch_and_wait server "$BIN/policy-host" serve \
        --listen "127.0.0.1:$(port_of server)" --policies "$WORK/server/policies.yaml" \
        --sources-path "$WORK/host/sources.yaml" --docker-config-json-path "$WORK/host"
}

# review POD: an AdmissionReview on stdout.
review() {
    request false <<<"$1" |
        jq '{apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: .}'
}

# burst MODE IMAGE: 500 reviews for one missing image, 100 and then all at once.
burst() {
    local mode=$1 image=$2 out="$WORK/ab-$1" concurrent=${3:-$REVIEWS}
    start_policy_server "$mode"
    review "$(pod "$image")" >"$WORK/review.json"
    ab -q -n "$REVIEWS" -c "$concurrent" -s 60 -p "$WORK/review.json" -T application/json \
        "http://127.0.0.1:$(port_of server)/validate/image-replicator" >"$out" 2>&1 ||
        { cat "$out" >&2; die "ab failed"; }
    printf '%s, %s reviews, %s at once: ' "$mode" "$REVIEWS" "$concurrent"
    awk '/^ *(50|99|100)%/ {printf "p%s %s ms  ", $1, $2} /Non-2xx|Failed requests/ {printf "%s  ", $0}' "$out"
    echo
    stop_service server
}

work_begin
start_source_and_target
configure_replicator replicator "$WORK/skopeo/auth.json"
start_replicator replicator
configure_host replicator

echo "== peak memory of the replicator, one layer of $LAYER_MIB MiB"
big="$(publish_layer big "$LAYER_MIB")"
rm -rf "$WORK"/images/*.tar
evaluate policy-host <(pod "$big" | request false) "$(settings_for replicator rewrite)" >/dev/null
started=$SECONDS
wait_until 600 "the replica of $big" exists "$(replica_of "$big")"
echo "copied in about $((SECONDS - started)) s;" "$(grep VmHWM "/proc/$(cat "$WORK/replicator/pid")/status")"

echo "== a burst for one missing image"
for mode in rewrite wait; do
    image="$(publish_layer "burst-$mode" 64)"
    manifests_before="$(grep -cE "\"GET /v2/measure/burst-$mode/manifests/" "$WORK/source/log" || true)"
    blobs_before="$(grep -cE "\"GET /v2/measure/burst-$mode/blobs/" "$WORK/source/log" || true)"
    burst "$mode" "$image"
    wait_until 60 "the replica of $image" exists "$(replica_of "$image")"
    echo "requests at the source: manifests" \
        "$(($(grep -cE "\"GET /v2/measure/burst-$mode/manifests/" "$WORK/source/log") - manifests_before))," \
        "blobs $(($(grep -cE "\"GET /v2/measure/burst-$mode/blobs/" "$WORK/source/log") - blobs_before))"
done
status_of replicator /metrics | grep -E '^image_replicator_(copies_total|triggers_total)'
