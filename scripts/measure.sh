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

# review POD: an AdmissionReview on stdout.
review() {
    request false <<<"$1" |
        jq '{apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: .}'
}

# burst MODE IMAGE: 500 reviews for one missing image, 100 and then all at once.
burst() {
    local mode=$1 image=$2 out="$WORK/ab-$1" concurrent=${3:-$REVIEWS}
    start_policy_server policy-host replicator "$mode"
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

echo "== the first and the later answers to a Pod with three images, mode wait"
three=()
for name in one two three; do three+=("$(publish_layer "$name" 32)"); done
start_policy_server policy-host replicator wait
post_review() {
    curl --silent --fail --max-time 10 --header 'Content-Type: application/json' \
        --data-binary "@$WORK/review.json" --output "$WORK/answer.json" --write-out '%{time_total}' \
        "http://127.0.0.1:$(port_of server)/validate/image-replicator"
}
# A host's first call in its life reads the system's certificates: that is not ours to measure.
review "$(pod "$(address_of source)/measure/unknown:1")" >"$WORK/review.json"
post_review >/dev/null
review "$(pod "${three[@]}")" >"$WORK/review.json"
for attempt in first second; do
    echo "$attempt answer after $(post_review) s: $(jq -c '.response | [.allowed, .status.message]' "$WORK/answer.json")"
done
until post_review >"$WORK/time" && jq -e .response.allowed "$WORK/answer.json" >/dev/null; do sleep 0.1; done
echo "last answer after $(cat "$WORK/time") s: allowed, $(jq -r .response.patch "$WORK/answer.json" | base64 -d | jq length) changes"
for image in "${three[@]}"; do
    assert_same_image "$image" "$(replica_of "$image")"
    echo "identical: $(replica_of "$image") $(digest_of "$image")"
done
stop_service server

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
