#!/usr/bin/env bats
# The replicator is not there: onUnavailable decides, and people are told.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    start_everything
    stop_service replicator
}
teardown_file() { work_end; }
teardown() { show_logs; }

@test "deny: the Pod is refused; the message names the replicator, every image and the setting" {
    local mode
    for mode in rewrite wait keep; do
        ask "$mode" "$(pod one.example/a:1 two.example/b:1)" false replicator deny
        assert_refused
        assert_says "$(message)" "$(address_of replicator)" 'onUnavailable' 'one.example/a:1' 'two.example/b:1'
    done
}

@test "allow: the Pod passes unchanged, with a warning" {
    local mode
    for mode in rewrite wait keep; do
        ask "$mode" "$(pod one.example/a:1 two.example/b:1)" false replicator allow
        assert_unchanged
        assert_says "$(warnings)" "$(address_of replicator)"
    done
}

@test "a Pod without images of others passes: nothing had to be asked" {
    ask wait "$(pod "$(address_of target)/mirror/one.example/a:1")"
    assert_unchanged
}

@test "it is back: the next Pod is answered" {
    start_replicator replicator
    ask rewrite "$(pod one.example/a:1)"
    assert_rewritten one.example/a:1
    stop_service replicator
}
