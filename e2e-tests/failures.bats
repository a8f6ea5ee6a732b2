#!/usr/bin/env bats
# A copy that cannot be: the Pod's message in mode wait and the log say which side, and why.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    start_everything
    credentials source=wrong target >"$WORK/skopeo/wrong-source.json"
    credentials source target=wrong >"$WORK/skopeo/wrong-target.json"
    configure_replicator wrong-source "$WORK/skopeo/wrong-source.json"
    configure_replicator wrong-target "$WORK/skopeo/wrong-target.json"
    start_replicator wrong-source
    start_replicator wrong-target
    configure_host replicator wrong-source wrong-target
    publish web shop/web:1.0 1 >"$WORK/images/reference"
}
teardown_file() { work_end; }
setup() { image="$(cat "$WORK/images/reference")"; }
teardown() { show_logs; }

# fails_with REPLICATOR IMAGE PATTERN...: asks until the refusal says all of it, and looks for
# the same in the log.
fails_with() {
    local replicator=$1 image=$2 pattern
    shift 2
    says_it() {
        local pattern
        for pattern in "${patterns[@]}"; do
            grep -qiE -- "$pattern" <<<"$(message)" || return 1
        done
    }
    patterns=("$image" "$@")
    ask_until says_it wait "$(pod "$image")" false "$replicator"
    assert_refused
    for pattern in "$@"; do
        grep -F "$image" "$WORK/$replicator/log" | grep -qiE -- "$pattern" ||
            die "/$pattern/ is not in a line about $image of $WORK/$replicator/log"
    done
}

@test "wrong password at the source" {
    fails_with wrong-source "$image" source "$(address_of source)" '401|password|credentials|unauthori[sz]ed'
}

@test "wrong password at the target" {
    fails_with wrong-target "$image" target "$(address_of target)" '401|password|credentials|unauthori[sz]ed'
}

@test "an image that the source does not have" {
    fails_with replicator "$(address_of source)/shop/nothing:1.0" source "$(address_of source)" '404|not found|no such|unknown'
}

@test "a registry that cannot be reached" {
    local nobody=nobody.invalid:5000
    fails_with replicator "$nobody/shop/web:1.0" source "$nobody" 'connect|lookup|reach'
}

@test "a registry on this machine that the configuration does not name" {
    local nobody
    nobody="localhost:$(free_port)"
    fails_with replicator "$nobody/shop/web:1.0" source "$nobody" 'registries'
}

@test "one bad image hides no other: the message lists each with its state" {
    ask_until allowed wait "$(pod "$image")"
    local missing unreachable
    missing="$(address_of source)/shop/missing:1.0"
    unreachable="localhost:$(free_port)/shop/web:1.0"
    ask wait "$(pod "$image" "$missing" "$unreachable")"
    assert_refused
    assert_says "$(message)" "$missing" "$unreachable"
}

@test "no password is in any log" {
    local secret
    for secret in source target replicator wrong-source wrong-target; do
        ! grep -rqF "$(cat "$WORK/$secret/password")" "$WORK"/{replicator,wrong-source,wrong-target,host}/log ||
            die "the password of $secret is in a log"
    done
}
