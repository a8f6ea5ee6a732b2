#!/usr/bin/env bats
# kill -9 in the middle of a copy: nothing wrong at the target, and nobody has to ask again.
# Runs once: it is not about the host of policies.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    start_everything
    # Long enough to be hit in the middle.
    publish big shop/big:1.0 256 amd64 >"$WORK/images/reference"
}
teardown_file() { work_end; }
teardown() { show_logs; }

# upload_is_under_way IMAGE: one of its layers has come some way at the target, further than the
# small ones have bytes.
upload_is_under_way() {
    local repository
    repository="$(repository_of "$(replica_of "$1")")"
    [ -n "$(find "$WORK/target/storage" -path "*/${repository#*/}/_uploads/*" -name data -size +8M 2>/dev/null)" ]
}

@test "kill -9 in mid-copy, start again: the copy completes without a new request" {
    local image
    image="$(cat "$WORK/images/reference")"
    ask rewrite "$(pod "$image")"
    assert_rewritten "$image"

    wait_until 30 "an upload in its middle" upload_is_under_way "$image"
    kill_service replicator
    ! exists "$(replica_of "$image")" || die "the copy was done before the kill; nothing was shown"

    start_replicator replicator
    wait_until 90 "the replica of $image" exists "$(replica_of "$image")"
    assert_same_image "$image" "$(replica_of "$image")"
}

@test "SIGTERM in mid-copy: it ends in time, and the next start goes on" {
    local image
    image="$(publish big2 shop/big2:1.0 256 amd64)"
    ask rewrite "$(pod "$image")"
    wait_until 30 "an upload in its middle" upload_is_under_way "$image"
    stop_service replicator
    start_replicator replicator
    wait_until 90 "the replica of $image" exists "$(replica_of "$image")"
    assert_same_image "$image" "$(replica_of "$image")"
}
