#!/usr/bin/env bats
# A Pod with every field that Kubernetes knows: nothing changes but images and our annotation.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    start_everything
    publish web shop/web:1.0 1 >"$WORK/images/reference"
    image="$(cat "$WORK/images/reference")"
    # As it is, the object is being deleted, which no policy holds up.
    jq --arg image "$image" 'del(.metadata.deletionTimestamp, .metadata.deletionGracePeriodSeconds)
        | (.spec.containers[0], .spec.initContainers[0], .spec.ephemeralContainers[0]).image = $image
        | .spec.volumes[0].image.reference = $image' \
        "$ROOT/tests/data/kubernetes/core.v1.Pod.json" >"$WORK/images/pod.json"
}
teardown_file() { work_end; }
setup() { image="$(cat "$WORK/images/reference")"; }
teardown() { show_logs; }

@test "a full Pod: four references and one annotation change, and nothing else" {
    ask rewrite "$(cat "$WORK/images/pod.json")"
    assert_rewritten "$image" "$image" "$image" "$image"
    diff <(patch_of_answer | jq -r '.[].path' | LC_ALL=C sort) - <<'PATHS'
/metadata/annotations/image-replicator.io~1source-images
/spec/containers/0/image
/spec/ephemeralContainers/0/image
/spec/initContainers/0/image
/spec/volumes/0/image/reference
PATHS
}

@test "volumes[].rbd.image is no image" {
    ask rewrite "$(jq 'del(.spec.volumes[0].image)' "$WORK/images/pod.json")"
    assert_rewritten "$image" "$image" "$image"
}

@test "fields that nobody knows yet stay" {
    local pod
    pod="$(jq '.future = {a: [1, null, 1.50]} | .spec.future = 1 | .spec.containers[0].future = {}' \
        "$WORK/images/pod.json")"
    ask rewrite "$pod"
    assert_rewritten "$image" "$image" "$image" "$image"
}

@test "a full Pod that is being deleted passes untouched" {
    local pod file
    pod="$(jq '.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"' "$WORK/images/pod.json")"
    file="$BATS_TEST_TMPDIR/update.json"
    request false <<<"$pod" | jq '.operation = "UPDATE" | .oldObject = .object' >"$file"
    take_answer "$(evaluate "$HOST" "$file" "$(settings_for replicator wait)")"
    assert_unchanged
}
