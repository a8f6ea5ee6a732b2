#!/usr/bin/env bash
# Builds ./policy.wasm, with rustup's wasm32-wasip1 if it is there, else with Debian's compiler.
# `build-policy.sh --compiler` only names the compiler that would be taken.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
TARGET=wasm32-wasip1
BUILD=(-p image-replicator-policy --lib --profile policy --target "$TARGET")
[ -z "${CI:-}" ] || BUILD+=(--locked)

if rustup target list --installed 2>/dev/null | grep -qx "$TARGET"; then
    compiler="$(rustc --version)"
    cargo=(cargo)
elif [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d /usr/lib/wasm32-wasi ]; then
    compiler="$(/usr/bin/rustc --version), Debian"
    cargo=(env -u RUSTUP_TOOLCHAIN PATH=/usr/bin:/bin RUSTC=/usr/bin/rustc /usr/bin/cargo)
else
    echo "FAILED: no compiler for $TARGET; run scripts/install-tools.sh" >&2
    exit 1
fi
if [ "${1:-}" = --compiler ]; then
    printf '%s\n' "$compiler"
    exit
fi
echo "policy.wasm: $TARGET by $compiler"

# The module must not depend on where it was built: the paths of sources, which panics carry,
# are cut. Each folder of the registry's sources has a name that depends on the machine, and is
# there once they are fetched.
"${cargo[@]}" fetch --quiet ${CI:+--locked} --target "$TARGET"
flags="--remap-path-prefix=$PWD=/image-replicator"
for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
    flags+=" --remap-path-prefix=${folder%/}=/crates"
done
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="$flags"

case $compiler in
*Debian)
    # Debian ships no standard library for the target but its sources: built here with a flag
    # that cargo calls unstable. A folder of its own, as its files are another compiler's.
    output=target/debian
    RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_WASIP1_LINKER=wasm-ld \
        "${cargo[@]}" rustc "${BUILD[@]}" --target-dir "$output" \
        -Zbuild-std=std,panic_abort -- -Lnative=/usr/lib/wasm32-wasi
    ;;
*)
    output="${CARGO_TARGET_DIR:-target}"
    "${cargo[@]}" build "${BUILD[@]}"
    ;;
esac
cp "$output/$TARGET/policy/image_replicator_policy.wasm" policy.wasm
echo "policy.wasm: $(wc -c <policy.wasm) bytes, sha256 $(sha256sum policy.wasm | cut -d ' ' -f 1)"
