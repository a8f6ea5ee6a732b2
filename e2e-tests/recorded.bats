#!/usr/bin/env bats
# All kinds and operations on recorded sessions: no registry and no replicator is needed. What the
# policy asks is held against the session to the letter, by the host.
# The variables in the filters are jq's.
# shellcheck disable=SC2016

bats_require_minimum_version 1.5.0
load helpers

REQUEST="$ROOT/e2e-tests/requests/pod.json"
BUSYBOX=registry.corp/mirror/docker.io/library/busybox:1.37
NGINX=registry.corp/mirror/docker.io/library/nginx:1.27
SHA=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef

# settings_with [MORE]: requests/settings.yaml as JSON, with what is in MORE.
settings_with() {
    local more='{}'
    [ $# -eq 0 ] || more=$1
    sed -n 's/^\([a-z]*\): \(.*\)$/\1\t\2/p' "$ROOT/e2e-tests/requests/settings.yaml" |
        jq -Rnc --argjson more "$more" '[inputs | split("\t") | {(.[0]): .[1]}] | add + $more'
}

# replay SESSION REQUEST [MORE_SETTINGS]: takes the host's answer.
replay() {
    local command=("$BIN/policy-host") errors="$BATS_TEST_TMPDIR/errors"
    [ "$HOST" = policy-host ] || command=("$HOST")
    answer="$("${command[@]}" run --request-path "$2" --settings-json "$(settings_with "${@:3}")" \
        --replay-host-capabilities-interactions "$ROOT/e2e-tests/sessions/$1.yaml" \
        "$MODULE" 2>"$errors")" || die "$HOST gave no answer: $(cat "$errors")"
    # An exchange that was recorded but not asked for.
    ! grep -q 'did not ask for' "$errors" || die "$(cat "$errors")"
}

# request_with FILTER [ARGUMENTS]: requests/pod.json, changed by a jq filter; prints its path.
request_with() {
    local file
    file="$(mktemp -p "$BATS_TEST_TMPDIR")"
    jq "${@:2}" "$1" "$REQUEST" >"$file"
    printf '%s' "$file"
}

# workload GROUP KIND PATH [OPERATION]: the pod as the template of such an object; PATH is jq's.
workload() {
    request_with '.kind = {group: $group, version: "v1", kind: $kind}
        | .operation = $operation
        | .object = ({apiVersion: "v1", kind: $kind, metadata: {name: "w", namespace: "shop"}}
            | setpath($path | split("."); $ARGS.named.pod))
        | if $operation == "UPDATE" then .oldObject = (.object | setpath(($path | split("."))
            + ["spec", "containers", 0, "image"]; "nginx:1.26")) else . end' \
        --arg group "$1" --arg kind "$2" --arg path "$3" --arg operation "${4:-CREATE}" \
        --argjson pod "$(jq '.object | {metadata: {labels: {app: "w"}}, spec}' "$REQUEST")"
}

# changes: the patch as `path value`, sorted; the annotation's value aside.
changes() {
    patch_of_answer | jq -r '.[] | if .path | contains("annotations") then .path
        else "\(.path) \(.value | if type == "string" then . else tojson end)" end' | LC_ALL=C sort
}

# The arguments are the lines of `changes`.
assert_changes() {
    assert_allowed
    diff <(printf '%s\n' "$@") <(changes) || die "not the expected patch"
}

@test "a Pod: both images are rewritten" {
    replay present "$REQUEST"
    assert_changes /metadata/annotations "/spec/containers/0/image $NGINX" \
        "/spec/initContainers/0/image $BUSYBOX"
}

@test "the README's line works as written" {
    local line
    line="$(grep -m 1 '^kwctl run ' "$ROOT/README.md")"
    line="${line/policy.wasm/$MODULE}"
    [ "$HOST" != policy-host ] || line="${line/kwctl/$BIN/policy-host}"
    cd "$ROOT"
    # The line has no quotes: words are all there is to it.
    # shellcheck disable=SC2086
    take_answer "$($line 2>/dev/null)"
    assert_changes /metadata/annotations "/spec/containers/0/image $NGINX" \
        "/spec/initContainers/0/image $BUSYBOX"
}

@test "every workload passes untouched unless it is asked for, and then its template is rewritten" {
    local group kind path pointer
    while read -r group kind path; do
        [ "$group" != - ] || group=''
        replay nothing "$(workload "$group" "$kind" "$path")"
        assert_unchanged
        replay present "$(workload "$group" "$kind" "$path")" "{\"kinds\": [\"$kind\"]}"
        pointer="/${path//.//}"
        assert_changes "$pointer/metadata/annotations" "$pointer/spec/containers/0/image $NGINX" \
            "$pointer/spec/initContainers/0/image $BUSYBOX"
    done <<'KINDS'
- PodTemplate template
- ReplicationController spec.template
apps DaemonSet spec.template
apps Deployment spec.template
apps ReplicaSet spec.template
apps StatefulSet spec.template
batch Job spec.template
batch CronJob spec.jobTemplate.spec.template
KINDS
}

@test "UPDATE: only the image that changed is looked at" {
    replay one-changed "$(workload apps Deployment spec.template UPDATE)" '{"kinds": ["Deployment"]}'
    assert_changes /spec/template/metadata/annotations "/spec/template/spec/containers/0/image $NGINX"
    replay one-changed "$(request_with '.operation = "UPDATE" | .oldObject = .object
        | .oldObject.spec.containers[0].image = "nginx:1.26"')" '{"imagePullSecrets": ["pull"]}'
    assert_changes /metadata/annotations "/spec/containers/0/image $NGINX"
}

@test "UPDATE of a Job: its template is fixed, and passes" {
    replay nothing "$(workload batch Job spec.template UPDATE)" '{"kinds": ["Job"]}'
    assert_unchanged
}

@test "UPDATE that changes no image, of what is being deleted, of a mirror Pod: passes" {
    replay nothing "$(request_with '.operation = "UPDATE" | .oldObject = .object
        | .object.metadata.finalizers = []')"
    assert_unchanged
    replay nothing "$(request_with '.operation = "UPDATE"
        | .oldObject = (.object | .metadata.deletionTimestamp = "2026-01-01T00:00:00Z")')"
    assert_unchanged
    replay nothing "$(request_with '.object.metadata.annotations = {"kubernetes.io/config.mirror": "x"}')"
    assert_unchanged
}

@test "a debug container of a running Pod is rewritten, and nothing else" {
    replay one-changed "$(request_with '.operation = "UPDATE" | .subResource = "ephemeralcontainers"
        | .oldObject = .object
        | .object.spec.ephemeralContainers = [{name: "debug", image: "nginx:1.27"}]')" \
        '{"imagePullSecrets": ["pull"]}'
    assert_changes /metadata/annotations "/spec/ephemeralContainers/0/image $NGINX"
}

@test "DELETE and CONNECT pass" {
    replay nothing "$(request_with '.operation = "DELETE" | .oldObject = .object | .object = null')"
    assert_unchanged
    replay nothing "$(request_with '.operation = "CONNECT" | .subResource = "exec"
        | .object = {kind: "PodExecOptions", apiVersion: "v1"}')"
    assert_unchanged
}

@test "a dry run asks, and starts nothing" {
    replay plan "$(request_with '.dryRun = true')"
    assert_changes /metadata/annotations "/spec/containers/0/image $NGINX" \
        "/spec/initContainers/0/image $BUSYBOX"
}

@test "wait: refused with how far each image is" {
    replay under-way "$REQUEST" '{"mode": "wait"}'
    assert_refused
    assert_says "$(message)" 'nginx:1.27 \(container web\): copying 43 %, 2 of 5 layers' \
        'busybox:1.37 \(init container prepare\): present' 'tries again'
}

@test "the replicator cannot be reached: deny names it" {
    replay not-there "$REQUEST"
    assert_refused
    assert_says "$(message)" replicator.example:8443 onUnavailable nginx:1.27 busybox:1.37
}

@test "pin, pull secrets: digests next to the tags, and the secret once" {
    replay present "$REQUEST" '{"pin": true, "imagePullSecrets": ["pull", "pull"]}'
    assert_allowed
    [ "$(changes | grep -c '@sha256:')" -eq 2 ]
    assert_says "$(changes)" '/spec/imagePullSecrets \[\{"name":"pull"\}\]'
}

@test "namespaces, images and Pods that are left alone" {
    replay nothing "$(request_with '.namespace = "kube-system"')"
    assert_unchanged
    replay nothing "$REQUEST" '{"ignoreImages": ["docker.io/library/*"]}'
    assert_unchanged
    local opted_out
    opted_out="$(request_with '.object.metadata.annotations = {"example.com/opt-out": "true"}')"
    replay nothing "$opted_out" '{"optOutAnnotation": "example.com/opt-out"}'
    assert_unchanged
    assert_says "$(warnings)" example.com/opt-out
    # Without the setting there is no opting out.
    replay present "$opted_out"
    assert_says "$(changes)" "$NGINX"
}

@test "rules: the first that has the image counts, and its number is told" {
    replay nothing "$REQUEST" '{"rules": [{"images": "docker.io/library/busybox", "skip": true},
        {"images": "quay.io/**"}, {"images": "**", "deny": true}]}'
    assert_refused
    assert_says "$(message)" 'nginx:1.27 .*: not allowed by rule 3' 'busybox:1.37 .*: left alone by rule 1'
}

VERIFY='{"rules": [{"images": "docker.io/library/nginx", "verify": {"githubActions": {"owner": "nginx"}}},
    {"images": "**", "skip": true}]}'

@test "a good signature: what was verified is asked for and pinned" {
    replay signed "$REQUEST" "$VERIFY"
    assert_changes /metadata/annotations "/spec/containers/0/image $NGINX@$SHA"
}

@test "unsigned, and a signature that could not be looked at, are told apart" {
    replay unsigned "$REQUEST" "$VERIFY"
    assert_refused
    [ "$(jq .status.code <<<"$answer")" -eq 403 ]
    assert_says "$(message)" 'not signed as rule 1 asks: no signatures found'
    replay signature-unseen "$REQUEST" "$VERIFY"
    assert_refused
    [ "$(jq .status.code <<<"$answer")" -eq 503 ]
    assert_says "$(message)" 'could not be looked at' oci/v2/verify
}

@test "references into the target: known, unknown, allowed" {
    local direct
    direct="$(request_with 'del(.object.spec.initContainers)
        | .object.spec.containers[0].image = $image' --arg image "$NGINX")"
    replay nothing "$direct"
    assert_unchanged
    replay known "$direct" '{"targetReferences": "known"}'
    assert_unchanged
    replay unknown "$direct" '{"targetReferences": "known"}'
    assert_refused
    assert_says "$(message)" 'not found: the replicator has made no such replica'
}

@test "hostile answers are refused: another image, another place" {
    local one
    one="$(request_with 'del(.object.spec.initContainers)')"
    replay another-image "$one" '{"mode": "rewrite"}'
    assert_refused
    assert_says "$(message)" 'about another image, docker.io/library/evil:1'
    replay outside "$one"
    assert_refused
    assert_says "$(message)" 'outside of the policy'
}
