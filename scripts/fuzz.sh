#!/usr/bin/env bash
# Fuzzes what reads strangers' words: `fuzz.sh TARGET SECONDS`, or `fuzz.sh all SECONDS`, two
# targets at a time. libFuzzer by the stable compiler and a C++ compiler; no cargo-fuzz, no nightly.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT="$PWD"
WORK="$ROOT/target/fuzz"
# Memory that a target may take, and the longest that one input may: a parser needs far less.
LIMITS=(-rss_limit_mb=1024 -timeout=10)

die() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

targets() { sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"$/\1/p' fuzz/Cargo.toml; }

build() {
    command -v c++ >/dev/null || die "libFuzzer needs a C++ compiler; run scripts/install-tools.sh"
    # From its folder, as cargo looks for the flags there.
    (cd fuzz && CARGO_TARGET_DIR="$WORK" cargo build --quiet --release ${CI:+--locked} "$@")
}

# one TARGET SECONDS: what is found new stays in target/fuzz, to go on with the next time.
one() {
    local target=$1 seconds=$2 host
    host="$(rustc -vV | sed -n 's/^host: //p')"
    mkdir -p "$WORK/corpus/$target"
    "$WORK/$host/release/$target" "${LIMITS[@]}" -max_total_time="$seconds" -print_final_stats=1 \
        -artifact_prefix="$WORK/$target-" "$WORK/corpus/$target" "fuzz/corpus/$target" \
        >"$WORK/$target.log" 2>&1 || {
        grep -vE '^#' "$WORK/$target.log" | tail -n 30 >&2
        die "$target; its input is $WORK/$target-*, all of it in $WORK/$target.log"
    }
    printf '%-16s %10d inputs in %d s\n' "$target" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$WORK/$target.log")" "$seconds"
}

case "${1:-}" in
one) one "$2" "$3" ;;
all)
    build
    targets | xargs -P 2 -I TARGET "$ROOT/scripts/fuzz.sh" one TARGET "$2"
    ;;
*)
    targets | grep -qxF -- "${1:-}" || die "there is no target '${1:-}'; there are: $(targets | xargs)"
    build --bin "$1"
    one "$1" "$2"
    ;;
esac
