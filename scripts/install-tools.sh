#!/usr/bin/env bash
# Installs what building, testing and the demo need, as far as it is missing. Idempotent.
# Expects Debian 12 or the like, and Rust's stable toolchain by rustup.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# Where `just` and `make` look first: tools that belong to this checkout alone.
TOOLS="$ROOT/target/tools"
export PATH="$TOOLS/bin:${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

die() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# apt_install PACKAGE...
apt_install() {
    command -v apt-get >/dev/null || die "no apt-get here; install by hand: $*"
    echo "installing by apt-get: $*"
    # A new machine has no package lists, an old one outdated ones: fetch them where it fails.
    apt_quietly install "$@" || { apt_quietly update && apt_quietly install "$@"; } ||
        die "apt-get install $*"
}

apt_quietly() {
    local command=$1
    shift
    local options=(-qq)
    [ "$command" = update ] || options+=(-y --no-install-recommends)
    as_root env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" "$command" "$@" >/dev/null
}

# install_without_service PACKAGE: Debian starts docker-registry on port 5000, PostgreSQL on 5432,
# Prometheus on 9090.
# We start our own on loopback, and take nobody's port: the system's is kept from starting, now
# and at boot, if it is us who install it.
install_without_service() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        apt_install "$1"
    else
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
        apt_install "$1"
        as_root rm -f "$policy"
        trap - EXIT
    fi
    as_root update-rc.d "$1" disable >/dev/null 2>&1 || true
}

debian_packages() {
    local packages=() command package
    while read -r command package; do
        command -v "$command" >/dev/null || packages+=("$package")
    done <<'LIST'
skopeo skopeo
umoci umoci
bats bats
htpasswd apache2-utils
jq jq
openssl openssl
curl curl
cc gcc
LIST
    [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}"
    command -v docker-registry >/dev/null || install_without_service docker-registry
    # Its programs are in no PATH.
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || install_without_service postgresql
    # Of it we run promtool alone.
    command -v promtool >/dev/null || install_without_service prometheus
}

# For the module: the target by rustup, else Debian's own compiler with the sources of its
# standard library. scripts/build-policy.sh takes what is there.
wasm_target() {
    if rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip1; then
        echo "wasm32-wasip1: rustup has it"
    elif rustup target add wasm32-wasip1 2>/dev/null; then
        echo "wasm32-wasip1: added by rustup"
    else
        echo "wasm32-wasip1: rustup cannot get it; taking Debian's packages"
        dpkg -s rustc-web cargo-web rust-web-src wasi-libc lld >/dev/null 2>&1 ||
            apt_install rustc-web cargo-web rust-web-src wasi-libc lld
    fi
}

# `just` comes ready-made as a Python package; into a folder of its own, so that neither a venv
# nor the system's Python is touched.
install_just() {
    echo "installing just"
    { command -v pip >/dev/null && pip install --quiet --root-user-action ignore --target "$TOOLS" rust-just; } ||
        cargo install --quiet --locked just ||
        die "neither pip nor cargo could install just"
}

command -v cargo >/dev/null || die "no cargo; install Rust's stable toolchain (https://rustup.rs)"
debian_packages
wasm_target
command -v just >/dev/null || install_just
if ! command -v cargo-nextest >/dev/null; then
    echo "installing cargo-nextest; it is built from source, which takes some minutes"
    cargo install --quiet --locked cargo-nextest || die "cargo could not install cargo-nextest"
fi
echo "all tools are there"
