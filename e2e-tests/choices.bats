#!/usr/bin/env bats
# What an operator can choose, where it matters that there is a replicator: digests that it
# reports, rules by source, workloads.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    start_everything
    publish web shop/web:1.0 1 >"$WORK/images/reference"
}
teardown_file() { work_end; }
setup() { image="$(cat "$WORK/images/reference")"; }
teardown() { show_logs; }

# choose MORE_SETTINGS REQUEST_FILTER: asks in mode wait about a Pod with the image.
choose() {
    local file
    file="$(mktemp -p "$BATS_TEST_TMPDIR")"
    pod "$image" | request false | jq "$2" >"$file"
    take_answer "$(evaluate "$HOST" "$file" \
        "$(settings_for replicator wait | jq -c --argjson more "$1" '. + $more')")"
}

# chosen MORE_SETTINGS [REQUEST_FILTER]: the same, until it is allowed.
chosen() {
    local deadline=$((SECONDS + 60))
    until choose "$1" "${2:-.}" && allowed; do
        ((SECONDS < deadline)) || die "after 60 s still: $(message)"
        sleep 0.2
    done
}

@test "pin: the digest that the replicator reports is the one at the target, and passes again" {
    local pinned
    chosen '{"pin": true}'
    pinned="$(replica_of "$image")@$(digest_of "$image")"
    [ "$(replacements)" = "replace /spec/containers/0/image $pinned" ]
    choose '{"pin": true}' ".object.spec.containers[0].image = \"$pinned\""
    assert_unchanged
}

@test "a rule's mode is the one that counts for its sources" {
    local slow
    slow="$(publish slow shop/slow:1.0 1)"
    choose "$(jq -cn --arg images "$(address_of source)/**" \
        '{rules: [{images: $images, mode: "keep"}]}')" ".object.spec.containers[0].image = \"$slow\""
    assert_unchanged
    assert_says "$(warnings)" 'left at its source' "$slow"
}

@test "a Deployment: its template is rewritten, and pods made from it pass" {
    chosen '{"kinds": ["Pod", "Deployment"]}' '.kind = {group: "apps", version: "v1", kind: "Deployment"}
        | .object = {apiVersion: "apps/v1", kind: "Deployment", metadata: {name: "d"},
            spec: {template: {metadata: {labels: {app: "d"}}, spec: .object.spec}}}'
    [ "$(patch_of_answer | jq -r '.[] | select(.path | endswith("/image")) | "\(.path) \(.value)"')" \
        = "/spec/template/spec/containers/0/image $(replica_of "$image")" ]
    choose '{}' ".object.spec.containers[0].image = \"$(replica_of "$image")\""
    assert_unchanged
}

@test "references into the target: a replica of the replicator's passes, pinned or not, and no other" {
    local replica
    replica="$(replica_of "$image")"
    chosen '{}'
    for reference in "$replica" "$replica@$(digest_of "$image")"; do
        choose '{"targetReferences": "known"}' ".object.spec.containers[0].image = \"$reference\""
        assert_unchanged
    done
    choose '{"targetReferences": "known", "mode": "keep"}' \
        ".object.spec.containers[0].image = \"$(address_of target)/mirror/made/by:hand\""
    assert_refused
    assert_says "$(message)" 'made/by:hand' 'not found'
    # Where references into the target are just allowed, nobody is asked.
    choose '{}' ".object.spec.containers[0].image = \"$(address_of target)/mirror/made/by:hand\""
    assert_unchanged
}
