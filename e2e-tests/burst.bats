#!/usr/bin/env bats
# Case 14: a burst of Pods with one image that is not there yet.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    start_everything
    publish web shop/web:1.0 16 >"$WORK/images/reference"
}
teardown_file() { work_end; }
teardown() { show_logs; }

# source_requests KIND: how often the replicator read manifests or blobs at the source.
source_requests() {
    grep -cE "\"GET /v2/shop/web/$1/.*\"image-replicator/" "$WORK/source/log" || true
}

@test "500 reviews at once for one missing image: all are answered, and it is copied once" {
    local image manifests blobs
    image="$(cat "$WORK/images/reference")"
    start_policy_server "$HOST" replicator rewrite
    request false <<<"$(pod "$image")" | jq '{request: .}' >"$BATS_TEST_TMPDIR/review.json"

    ab -q -n 500 -c 500 -s 60 -p "$BATS_TEST_TMPDIR/review.json" -T application/json \
        "http://127.0.0.1:$(port_of server)/validate/image-replicator" >"$BATS_TEST_TMPDIR/ab"
    # ab counts an answer of another length as failed: all 500 are the same patch.
    assert_says "$(cat "$BATS_TEST_TMPDIR/ab")" 'Complete requests: +500' 'Failed requests: +0'
    run ! grep -q 'Non-2xx' "$BATS_TEST_TMPDIR/ab"

    wait_until 60 "the replica of $image" exists "$(replica_of "$image")"
    assert_same_image "$image" "$(replica_of "$image")"
    # The index and its two platforms; a config and a layer of each, and the layer that they share.
    manifests="$(source_requests manifests)"
    blobs="$(source_requests blobs)"
    [ "$manifests" -eq 3 ] || die "$manifests manifests were read, not 3"
    [ "$blobs" -eq 5 ] || die "$blobs blobs were read, not 5"
    assert_says "$(status_of replicator /metrics)" '^image_replicator_copies_total\{result="copied"\} 1$'
}
