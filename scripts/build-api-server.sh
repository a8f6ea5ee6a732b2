#!/usr/bin/env bash
# A real kube-apiserver for `just cluster`, as target/tools/bin/kube-apiserver: built from Debian's
# source package, since Debian has no binary of it. Installs that source, Go and etcd, as root on
# Debian; takes some fifteen minutes of a processor and 3 GiB. Where another one is on PATH, none is built.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
OUT="$ROOT/target/tools/bin/kube-apiserver"
GO=1.19

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# fetch_source FOLDER: the package's source, patched, as FOLDER/src/k8s.io/kubernetes.
fetch_source() {
    local sources=/etc/apt/sources.list.d/image-replicator-build.sources
    mkdir -p "$1/src/k8s.io"
    cat >"$sources" <<SOURCES
Types: deb-src
URIs: $(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources | head -n 1)
Suites: $(. /etc/os-release && echo "$VERSION_CODENAME")
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
    apt-get update -qq
    (cd "$1" && apt-get source -qq kubernetes)
    rm "$sources"
    mv "$1"/kubernetes-*/ "$1/src/k8s.io/kubernetes"
}

# generate_openapi: what the API server needs of its types, which upstream generates as it builds.
generate_openapi() {
    local inputs
    go build -o "$GOPATH/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    inputs="$(grep -rl --include=*.go '+k8s:openapi-gen=true' staging/src | xargs -n 1 dirname | sort -u |
        grep -vE 'sample-|code-generator|/testdata|_examples|kube-aggregator/pkg/apis/apiregistration$' |
        sed 's|^staging/src/|k8s.io/kubernetes/vendor/|' | paste -s -d ,)"
    "$GOPATH/openapi-gen" --logtostderr --input-dirs "$inputs" --report-filename /dev/null \
        --output-package k8s.io/kubernetes/pkg/generated/openapi --output-file-base zz_generated.openapi \
        --go-header-file hack/boilerplate/boilerplate.generatego.txt --output-base "$GOPATH/src"
}

command -v etcd >/dev/null || apt_install etcd-server
if command -v kube-apiserver >/dev/null || [ -x "$OUT" ]; then exit 0; fi
apt_install "golang-$GO-go" dpkg-dev golang-github-modern-go-reflect2-dev
GOPATH="$(mktemp -d)"
trap 'chmod -R u+w "$GOPATH"; rm -rf "$GOPATH"' EXIT
export GOPATH GO111MODULE=off CGO_ENABLED=0 GOCACHE="$GOPATH/cache" GOFLAGS=
PATH="/usr/lib/go-$GO/bin:$PATH"
fetch_source "$GOPATH"
cd "$GOPATH/src/k8s.io/kubernetes"
# The vendored one reads maps as Go did before 1.18, and ends the process.
rm -r vendor/github.com/modern-go/reflect2
cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/
version="$(sed -n '1s/.*really\([0-9.]*\)-.*/v\1/p' debian/changelog)"
generate_openapi
mkdir -p "$(dirname "$OUT")"
go build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(cut -d . -f 2 <<<"$version")" \
    -o "$OUT" ./cmd/kube-apiserver
echo "kube-apiserver $version: $OUT"
