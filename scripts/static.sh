#!/usr/bin/env bash
# The replicator as static files, which need nothing of the system that they run on:
#   static.sh [amd64] [arm64]           builds, by default for this machine; tells ARCHITECTURE=FILE
#   static.sh --tools [amd64] [arm64]   installs what that takes, as root, on Debian
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# machine_of ARCHITECTURE: as compilers call it.
machine_of() {
    case $1 in
    amd64) echo x86_64 ;;
    arm64) echo aarch64 ;;
    *)
        echo "FAILED: the architecture is amd64 or arm64, not $1" >&2
        return 1
        ;;
    esac
}

# install_tools ARCHITECTURE: Rust's target, and a C compiler with musl for AWS-LC and SQLite.
install_tools() {
    local machine packages=("musl-dev:$1")
    machine="$(machine_of "$1")"
    rustup target add "$machine-unknown-linux-musl"
    if [ "$1" != "$(dpkg --print-architecture)" ]; then
        dpkg --add-architecture "$1"
        packages+=("gcc-$machine-linux-gnu" "libc6-dev-$1-cross")
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${packages[@]}" >/dev/null
}

# build ARCHITECTURE: where it was built is not part of the file, since paths of sources are cut.
build() {
    local machine target variable folder cargo=(cargo)
    machine="$(machine_of "$1")"
    target="$machine-unknown-linux-musl"
    variable="${target//-/_}"
    cargo fetch --locked --quiet --target "$target"
    local flags="--remap-path-prefix=$PWD=/image-replicator"
    local cflags="-ffile-prefix-map=$PWD=/image-replicator"
    for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
        flags+=" --remap-path-prefix=${folder%/}=/crates"
        cflags+=" -ffile-prefix-map=${folder%/}=/crates"
    done
    # Writes the list of dependencies into the file, where scanners find it.
    if command -v cargo-auditable >/dev/null; then cargo+=(auditable); fi
    env "CC_$variable=$machine-linux-musl-gcc" "CFLAGS_$variable=$cflags" \
        "CARGO_TARGET_${variable^^}_LINKER=$machine-linux-gnu-gcc" \
        "CARGO_TARGET_${variable^^}_RUSTFLAGS=$flags" \
        "${cargo[@]}" build --locked --release -p image-replicator --target "$target"
    echo "$1=${CARGO_TARGET_DIR:-target}/$target/release/image-replicator"
}

step=build
if [ "${1:-}" = --tools ]; then
    step=install_tools
    shift
fi
[ $# -gt 0 ] || set -- "$(dpkg --print-architecture)"
for architecture; do "$step" "$architecture"; done
