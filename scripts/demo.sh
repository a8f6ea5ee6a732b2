#!/usr/bin/env bash
# The whole path on real parts: a Pod goes through policy.wasm, its images travel from one
# registry to another, and a third party's tool proves that they arrived. `make demo` builds what
# this needs; here are only the steps. Ends with 0 if and only if everything was as it should be.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
LOGS="$ROOT/target/demo-logs"

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' PLAIN=$'\e[0m'
else
    BOLD='' PLAIN=''
fi

step_number=0
step() {
    step_number=$((step_number + 1))
    printf '\n%s%d. %s%s\n' "$BOLD" "$step_number" "$1" "$PLAIN"
}
say() { printf '   %s\n' "$*"; }

# `finished` says whether the end was reached: set -e stops without a word.
finished=no
end() {
    local status=$?
    trap - EXIT
    if [ "$finished" = no ]; then
        printf '\n%sThe demo FAILED in step %d.%s\n' "$BOLD" "$step_number" "$PLAIN" >&2
        if [ -n "${WORK:-}" ] && save_logs "$LOGS"; then
            printf 'The logs of all parts are in %s\n' "$LOGS" >&2
        fi
        [ "$status" -ne 0 ] || status=1
    fi
    work_end || true
    exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# answer_to MODE: the host's answer to the demo's Pod.
answer_to() { evaluate "$host" "$WORK/request.json" "$(settings_for replicator "$1")"; }

host=policy-host
command -v kwctl >/dev/null && host=kwctl
[ -e "$MODULE" ] || die "no $MODULE; run: make policy.wasm"
for binary in image-replicator policy-host; do
    [ -x "$BIN/$binary" ] || die "no $BIN/$binary; run: just build"
done
rm -rf "$LOGS"
work_begin

step "Two registries, each with TLS and a password of its own"
start_source_and_target
say "source: $(address_of source)   where the images come from; the internet, in your case"
say "target: $(address_of target)   the registry that you control; empty"

step "Four images for two platforms, pushed to the source by umoci and skopeo"
web="$(publish web shop/web:1.0 3)"
prepare="$(publish prepare shop/prepare:1.0 2)"
prepare="$(repository_of "$prepare")@$(digest_of "$prepare")"
debug="$(publish debug shop/debug:1.0 2)"
debug="$debug@$(digest_of "$debug")"
model="$(publish model shop/model:7 4)"
sources=("$web" "$prepare" "$debug" "$model")
say "by tag:          $web"
say "by digest:       $prepare"
say "by tag + digest: $debug"
say "by tag:          $model"

step "The replicator"
configure_replicator replicator "$WORK/skopeo/auth.json"
start_replicator replicator
configure_host replicator
say "listens on $(address_of replicator), knows both registries' passwords"

step "A Pod asks to be created"
pod "${sources[@]}" >"$WORK/pod.json"
request false <"$WORK/pod.json" >"$WORK/request.json"
say "container web, init container prepare, ephemeral container debug, image volume model"
say "It goes through policy.wasm ($(wc -c <"$MODULE") bytes) in $host, mode 'rewrite'."
started=$SECONDS
answer="$(answer_to rewrite)"
jq -e '.allowed == true and (.patch | length > 0)' <<<"$answer" >/dev/null ||
    die "the Pod was not admitted with a patch: $answer"
say "Admitted, with this patch; the copies have begun:"
patch_of "$answer" | jq -r '.[] | "     \(.op) \(.path)\n         \(.value)"'

step "The Pod after the patch runs from the target alone"
apply_patch "$WORK/pod.json" "$(patch_of "$answer")" >"$WORK/patched.json"
mapfile -t targets < <(jq -r '.spec | .containers[0].image, .initContainers[0].image,
    .ephemeralContainers[0].image, .volumes[0].image.reference' "$WORK/patched.json")
for i in "${!sources[@]}"; do
    [ "${targets[i]}" = "$(replica_of "${sources[i]}")" ] ||
        die "${sources[i]} became ${targets[i]}, not $(replica_of "${sources[i]}")"
    say "${sources[i]}"
    say "  -> ${targets[i]}"
done

step "Waiting for the copies, as mode 'wait' does: refused until all replicas are whole"
shown=''
while :; do
    answer="$(answer_to wait)"
    jq -e .allowed <<<"$answer" >/dev/null && break
    message="$(jq -r .status.message <<<"$answer")"
    if [ "$message" != "$shown" ]; then
        say "refused:"
        fold -s -w 90 <<<"$message" | sed 's/^/     /'
        shown="$message"
    fi
    ((SECONDS - started < 120)) || die "the replicas are not there after 120 s: $message"
    sleep 0.2
done
say "Admitted: every replica is there, $((SECONDS - started)) s after the Pod first asked."

step "The proof, by skopeo: same digests, all platforms, every layer"
for i in "${!sources[@]}"; do
    assert_same_image "${sources[i]}" "${targets[i]}"
    found="$(raw_manifest "${targets[i]}" |
        jq -r '[.manifests[].platform | "\(.os)/\(.architecture)"] | join(" and ")')"
    [ "$found" = "linux/amd64 and linux/arm64" ] || die "${targets[i]} has only: $found"
    say "identical: ${targets[i]%@*}"
    say "           $(digest_of "${targets[i]}"), with $found"
done

finished=yes
cat <<SUMMARY

${BOLD}It works.${PLAIN} What you saw:
   A Pod named ${#sources[@]} images of a source registry. The policy, a wasm module in ${host},
   asked the replicator about each, and changed the Pod to name replicas in your own registry.
   The replicator copied all ${#sources[@]}, every platform and every byte, and mode 'wait' let the
   Pod in once they were whole. skopeo found the same digests at the target as at the source.
   All parts ran on this machine only, and are stopped and removed again.
   Next: README.md tells how to deploy it. Time: $SECONDS s without the build.
SUMMARY
