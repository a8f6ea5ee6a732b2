# shellcheck shell=bash
# What the end-to-end tests share beyond scripts/lib.sh. $HOST is the host of policies under test,
# kwctl or policy-host; scripts/e2e.sh runs the files on each.

# shellcheck source=scripts/lib.sh
. "$BATS_TEST_DIRNAME/../scripts/lib.sh"
export HOST="${HOST:-policy-host}"

# Registries, a replicator that knows both, and a host that knows the replicator.
start_everything() {
    work_begin
    start_source_and_target
    configure_replicator replicator "$WORK/skopeo/auth.json"
    start_replicator replicator
    configure_host replicator
}

# Where a test failed, the logs of its parts tell why.
show_logs() {
    local log
    [ -z "${BATS_TEST_COMPLETED:-}" ] || return 0
    for log in "$WORK"/*/log; do
        [ -s "$log" ] || continue
        echo "--- $(basename "$(dirname "$log")")"
        # The registries write four lines for a request; the access log's is enough.
        grep -vE '^time=.*level=(info|warning)' "$log" | tail -n 10 | cut -c 1-500
    done
}

# The last answer of the host, which all assertions are about.
answer=''
take_answer() { answer=$1; }
patch_of_answer() { patch_of "$answer"; }

# ask MODE POD [DRY_RUN [REPLICATOR [ON_UNAVAILABLE]]]
ask() {
    local file
    file="$(mktemp -p "$BATS_TEST_TMPDIR")"
    request "${3:-false}" <<<"$2" >"$file"
    answer="$(evaluate "$HOST" "$file" "$(settings_for "${4:-replicator}" "$1" "${5:-deny}")")"
}

allowed() { jq -e '.allowed == true' <<<"$answer" >/dev/null; }
assert_allowed() { allowed || die "refused: $answer"; }
assert_refused() { ! allowed || die "not refused: $answer"; }
message() { jq -r '.status.message // ""' <<<"$answer"; }
warnings() { jq -r '.warnings // [] | .[]' <<<"$answer"; }

# assert_says TEXT PATTERN...: each pattern (extended, any case) is in the text.
assert_says() {
    local text=$1 pattern
    shift
    for pattern; do
        grep -qiE -- "$pattern" <<<"$text" || die "/$pattern/ is not in: $text"
    done
}

# The answer's patch as lines `path value`, the annotation aside, sorted.
replacements() {
    patch_of_answer | jq -r '.[]
        | select(.path | startswith("/metadata/annotations") | not) | "\(.op) \(.path) \(.value)"' |
        LC_ALL=C sort
}

# The same for a Pod whose images all go to the target; the arguments are those of `pod`.
expected_replacements() {
    local places=(/spec/containers/0/image /spec/initContainers/0/image
        /spec/ephemeralContainers/0/image /spec/volumes/0/image/reference)
    local i=0 source
    for source; do
        printf 'replace %s %s\n' "${places[i]}" "$(replica_of "$source")"
        i=$((i + 1))
    done | LC_ALL=C sort
}

assert_rewritten() {
    assert_allowed
    diff <(expected_replacements "$@") <(replacements) || die "not the expected patch"
}

assert_unchanged() {
    assert_allowed
    [ "$(patch_of_answer)" = "[]" ] || die "changed: $(patch_of_answer)"
}

# ask_until CONDITION ask's arguments: asks until the condition holds of the answer.
ask_until() {
    local condition=$1 deadline=$((SECONDS + 60))
    shift
    while :; do
        ask "$@" || die "no answer"
        ! $condition || return 0
        ((SECONDS < deadline)) || die "after 60 s still: $answer"
        sleep 0.2
    done
}
