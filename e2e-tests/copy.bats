#!/usr/bin/env bats
# `image-replicator copy`: the engine without the policy.
# Runs once: it is not about the host of policies.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    work_begin
    start_source_and_target
    configure_replicator replicator "$WORK/skopeo/auth.json"
    publish web shop/web:1.0 2 >"$WORK/images/reference"
}
teardown_file() { work_end; }
setup() { image="$(cat "$WORK/images/reference")"; }
teardown() { show_logs; }

copy() { "$BIN/image-replicator" copy "$@" --config "$WORK/replicator/config.yaml"; }

@test "copy: every platform, byte for byte" {
    local target
    target="$(address_of target)/manual/web:1.0"
    copy "$image" "$target"
    assert_same_image "$image" "$target"
}

@test "copy again: nothing is sent" {
    local target before
    target="$(address_of target)/manual/web:1.0"
    before="$(requests_at target 'PUT|POST|PATCH')"
    copy "$image" "$target"
    [ "$(requests_at target 'PUT|POST|PATCH')" -eq "$before" ]
}

@test "copy by digest to a tag" {
    local target
    target="$(address_of target)/manual/by-digest:1.0"
    copy "$(repository_of "$image")@$(digest_of "$image")" "$target"
    assert_same_image "$image" "$target"
}

@test "copy of what is not there: fails, and says which side and why" {
    run copy "$(address_of source)/shop/nothing:1.0" "$(address_of target)/manual/nothing:1.0"
    [ "$status" -ne 0 ]
    assert_says "$output" source "$(address_of source)" shop/nothing:1.0 '404|not found|no such|unknown'
}

@test "copy of no reference: fails at once, and says what is wrong" {
    run copy 'not an image' "$(address_of target)/manual/nothing:1.0"
    [ "$status" -ne 0 ]
    assert_says "$output" 'not an image'
}
