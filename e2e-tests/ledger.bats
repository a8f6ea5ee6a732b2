#!/usr/bin/env bats
# The ledger is lost: what the target has is found there again.
# Runs once: it is not about the host of policies.

bats_require_minimum_version 1.5.0
load helpers

setup_file() { start_everything; }
teardown_file() { work_end; }
teardown() { show_logs; }

sent_to_target() { requests_at target 'POST|PATCH|PUT'; }

@test "the ledger is lost: pods are answered as before, and nothing is sent again" {
    local image before
    image="$(publish lost shop/lost:1.0 2 amd64)"
    ask_until allowed wait "$(pod "$image")"
    assert_rewritten "$image"

    stop_service replicator
    rm "$WORK"/replicator/ledger.db*
    before="$(sent_to_target)"
    [ "$before" -gt 0 ]
    start_replicator replicator

    ask rewrite "$(pod "$image")"
    assert_rewritten "$image"
    ask_until allowed wait "$(pod "$image")"
    assert_rewritten "$image"
    [ "$(sent_to_target)" = "$before" ] || die "the target was sent something again"
    assert_same_image "$image" "$(replica_of "$image")"
}
