#!/usr/bin/env bash
# Runs the bats files (all, or those given) on each host of policies: policy-host, and kwctl where
# it is on PATH. Files that say that they are not about the host run once. Ends with a line of
# counts.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
LOG="$ROOT/target/e2e.log"

need bats
[ -e "$MODULE" ] || die "no $MODULE; run: make policy.wasm"
for binary in image-replicator policy-host; do
    [ -x "$BIN/$binary" ] || die "no $BIN/$binary; run: just build"
done
files=("$@")
[ ${#files[@]} -gt 0 ] || files=("$ROOT"/e2e-tests/*.bats)
hosts=(policy-host)
broken=no
if command -v kwctl >/dev/null; then hosts+=(kwctl); fi

# A test that hangs is ended, with its name in the log.
export BATS_TEST_TIMEOUT=300
export HOST
mkdir -p "$(dirname "$LOG")"
: >"$LOG"
for HOST in "${hosts[@]}"; do
    echo "--- end-to-end tests on $HOST"
    # grep -L: the files that do not say so.
    [ "$HOST" = "${hosts[0]}" ] || mapfile -t files < <(grep -L '^# Runs once' "${files[@]}")
    [ ${#files[@]} -gt 0 ] || continue
    bats --tap --timing "${files[@]}" 2>&1 |
        sed -u "s/^\(not \)\?ok [0-9]* /&$HOST: /" | tee -a "$LOG" || broken=yes
done

count() { grep -cE "$1" "$LOG" || true; }
skipped="$(count '^ok .* # skip')"
passed="$(($(count '^ok ') - skipped))"
failed="$(count '^not ok ')"
echo "$passed passed, $failed failed, $skipped skipped" | tee -a "$LOG"
[ "$broken" = no ] && [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
