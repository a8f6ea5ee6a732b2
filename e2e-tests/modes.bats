#!/usr/bin/env bats
# What the three modes do to a Pod, and that replicas are the source's images to the byte.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    start_everything
    # By tag, by digest, by both, and by tag in an image volume.
    local web prepare debug model
    web="$(publish web shop/web:1.0 2)"
    prepare="$(publish prepare shop/prepare:1.0 1)"
    debug="$(publish debug shop/debug:1.0 1)"
    model="$(publish model shop/model:7 1)"
    prepare="$(repository_of "$prepare")@$(digest_of "$prepare")"
    debug="$debug@$(digest_of "$debug")"
    printf '%s\n' "$web" "$prepare" "$debug" "$model" >"$WORK/images/references"
}
teardown_file() { work_end; }
setup() { mapfile -t four <"$WORK/images/references"; }
teardown() { show_logs; }

@test "dry run: the Pod is rewritten as it would be, and nothing starts" {
    local image before_source before_target before_copies
    image="$(publish dry shop/dry:1.0 1)"
    before_source="$(requests_at source)"
    before_target="$(requests_at target)"
    before_copies="$(copy_metrics)"

    ask rewrite "$(pod "$image")" true
    assert_rewritten "$image"
    ask wait "$(pod "$image")" true
    assert_rewritten "$image"
    ask keep "$(pod "$image")" true
    assert_unchanged

    # Time enough for a worker to have begun.
    sleep 1
    [ "$(requests_at source)" -eq "$before_source" ]
    [ "$(requests_at target)" -eq "$before_target" ]
    diff <(printf '%s\n' "$before_copies") <(copy_metrics)
}

# The figures of copies and of the ledger; those of answers may change.
copy_metrics() {
    status_of replicator /metrics | grep -E '^image_replicator_(cop|replicas)' | LC_ALL=C sort
}

@test "wait: refused with every image and how far it is, then allowed, and the target holds the same bytes" {
    local image
    ask wait "$(pod "${four[@]}")"
    assert_refused
    for image in "${four[@]}"; do
        assert_says "$(message)" "$image"
    done
    assert_says "$(message)" '[0-9]+ ?%|wait|copying|pending' 'again'

    ask_until allowed wait "$(pod "${four[@]}")"
    assert_rewritten "${four[@]}"
    for image in "${four[@]}"; do
        assert_same_image "$image" "$(replica_of "$image")"
    done
}

@test "an image by tag and digest has its tag at the target, too" {
    ask_until allowed wait "$(pod "${four[@]}")"
    assert_same_image "${four[2]}" "$(replica_of "${four[2]%@*}")"
}

@test "an image by digest has a tag at the target, so that no garbage collection takes it" {
    ask_until allowed wait "$(pod "${four[@]}")"
    local digest=${four[1]#*@}
    exists "$(repository_of "$(replica_of "${four[1]}")"):digest-${digest/:/-}"
}

@test "rewrite: allowed at once; all four places are replaced, and the annotation keeps the sources" {
    ask rewrite "$(pod "${four[@]}")"
    assert_rewritten "${four[@]}"
    local annotation image
    annotation="$(patch_of_answer | jq -r '.[]
        | select(.path == "/metadata/annotations/image-replicator.io~1source-images").value')"
    for image in "${four[@]}"; do
        assert_says "$annotation" "$image"
    done
}

@test "rewrite: an image that nobody asked for before is copied" {
    local image
    image="$(publish fresh shop/fresh:1.0 1)"
    ask rewrite "$(pod "$image")"
    assert_rewritten "$image"
    wait_until 30 "the replica of $image" exists "$(replica_of "$image")"
    assert_same_image "$image" "$(replica_of "$image")"
}

@test "keep: the source stays until the replica is there" {
    local image
    image="$(publish kept shop/kept:1.0 1)"
    ask keep "$(pod "$image")"
    assert_unchanged
    assert_says "$(warnings)" "$image"
    has_patch() { [ "$(patch_of_answer)" != "[]" ]; }
    ask_until has_patch keep "$(pod "$image")"
    assert_rewritten "$image"
    assert_same_image "$image" "$(replica_of "$image")"
}

@test "a Pod that was rewritten passes a second time unchanged, in every mode" {
    local mode once_rewritten
    ask rewrite "$(pod "${four[@]}")"
    pod "${four[@]}" >"$BATS_TEST_TMPDIR/pod.json"
    once_rewritten="$(apply_patch "$BATS_TEST_TMPDIR/pod.json" "$(patch_of_answer)")"
    for mode in rewrite wait keep; do
        ask "$mode" "$once_rewritten"
        assert_unchanged
    done
}

@test "a replica that is there is not copied again" {
    ask_until allowed wait "$(pod "${four[@]}")"
    local before
    before="$(requests_at target 'PUT|POST|PATCH')"
    ask rewrite "$(pod "${four[@]}")"
    ask wait "$(pod "${four[@]}")"
    assert_allowed
    sleep 1
    [ "$(requests_at target 'PUT|POST|PATCH')" -eq "$before" ]
}
