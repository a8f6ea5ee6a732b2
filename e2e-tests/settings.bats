#!/usr/bin/env bats
# Settings that cannot work are refused before any Pod is, with the key and what is right.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    work_begin
    mkdir -p "$WORK/host"
    echo '{}' >"$WORK/host/config.json"
    echo '{}' >"$WORK/host/sources.yaml"
    pod one.example/a:1 | request false >"$WORK/request.json"
}
teardown_file() { work_end; }

# refuses SETTINGS PATTERN...: the host ends with an error that says all of it.
refuses() {
    local output
    if output="$(evaluate "$HOST" "$WORK/request.json" "$1" 2>&1)"; then
        die "taken: $1: $output"
    fi
    shift
    assert_says "$output" "$@"
}

@test "unknown key: named, with the nearest right one" {
    refuses '{"replicatr": "r.example:8443", "target": "t.example/mirror"}' replicatr "replicator"
}

@test "a missing key is named" {
    refuses '{"target": "t.example/mirror"}' "replicator"
    refuses '{"replicator": "r.example:8443"}' "target"
}

@test "a mode that is none: all three are named" {
    refuses '{"replicator": "r.example:8443", "target": "t.example/mirror", "mode": "quick"}' \
        mode quick rewrite wait keep
}

@test "onUnavailable takes deny or allow" {
    refuses '{"replicator": "r.example:8443", "target": "t.example/mirror", "onUnavailable": "maybe"}' \
        onUnavailable maybe deny allow
}

@test "a URL is no address of a replicator" {
    refuses '{"replicator": "https://r.example:8443", "target": "t.example/mirror"}' "replicator" https
}

@test "a value of the wrong type: the key is named" {
    refuses '{"replicator": 7, "target": "t.example/mirror"}' "replicator"
}
