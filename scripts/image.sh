#!/usr/bin/env bash
# The replicator's image, without a container engine:
#   image.sh LAYOUT ARCHITECTURE=BINARY...       an OCI image layout, tagged with the version: an
#                                                index over the architectures, or one image alone
#   image.sh --root FOLDER ARCHITECTURE=BINARY   what is in it, for the Containerfile
# The same files make the same digests: order, owners and times are fixed. What varies is this
# machine's CA certificates (CA_CERTIFICATES) and gzip, and the commit's time (SOURCE_DATE_EPOCH).
set -euo pipefail
umask 022

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CA_CERTIFICATES="${CA_CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}"

# The binary, whom it runs as, whom it trusts, and where SQLite sorts what is large. No libc, no
# shell, no package.
make_root() {
    local folder=$1 binary=$2
    install -D -m 755 "$binary" "$folder/usr/local/bin/image-replicator"
    install -D -m 644 "$CA_CERTIFICATES" "$folder/etc/ssl/certs/ca-certificates.crt"
    echo 'nonroot:x:65532:65532::/:/sbin/nologin' >"$folder/etc/passwd"
    echo 'nonroot:x:65532:' >"$folder/etc/group"
    install -d -m 1777 "$folder/tmp"
}

if [ "${1:-}" = --root ]; then
    make_root "$2" "${3#*=}"
    exit
fi

layout=$1
shift
epoch="${SOURCE_DATE_EPOCH:-$(git -C "$ROOT" log -1 --format=%ct)}"
version="$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)"
labels="$(jq -n --arg version "$version" '{
    "org.opencontainers.image.title": "Image Replicator",
    "org.opencontainers.image.source": "https://github.com/image-replicator/image-replicator",
    "org.opencontainers.image.licenses": "Apache-2.0",
    "org.opencontainers.image.version": $version
}')"

digest_of() { printf 'sha256:%s' "$(sha256sum "$1" | cut -d ' ' -f 1)"; }

# blob FILE TYPE: moves a file into the layout; its descriptor goes to stdout.
blob() {
    local digest
    digest="$(digest_of "$1")"
    jq -n --arg type "$2" --arg digest "$digest" --argjson size "$(stat -c %s "$1")" \
        '{mediaType: $type, digest: $digest, size: $size}'
    mv "$1" "$layout/blobs/sha256/${digest#sha256:}"
}

# image ARCHITECTURE BINARY: layer, config and manifest; the manifest's descriptor goes to stdout.
image() {
    local architecture=$1 layer config
    make_root "$work/root" "$2"
    tar --create --file "$work/layer.tar" --directory "$work/root" --format=ustar --sort=name \
        --mtime="@$epoch" --owner=0 --group=0 --numeric-owner etc tmp usr
    rm -r "$work/root"
    jq -n --arg architecture "$architecture" --arg layer "$(digest_of "$work/layer.tar")" \
        --arg created "$(date --utc --date="@$epoch" +%Y-%m-%dT%H:%M:%SZ)" --argjson labels "$labels" '{
        created: $created, architecture: $architecture, os: "linux",
        config: {
            User: "65532:65532",
            Env: ["PATH=/usr/local/bin"],
            Entrypoint: ["/usr/local/bin/image-replicator"],
            Cmd: ["serve", "--config", "/etc/image-replicator/config.yaml"],
            WorkingDir: "/",
            Labels: $labels
        },
        rootfs: {type: "layers", diff_ids: [$layer]},
        history: [{created: $created, created_by: "scripts/image.sh"}]
    }' >"$work/config.json"
    gzip --no-name "$work/layer.tar"
    layer="$(blob "$work/layer.tar.gz" application/vnd.oci.image.layer.v1.tar+gzip)"
    config="$(blob "$work/config.json" application/vnd.oci.image.config.v1+json)"
    jq -n --argjson config "$config" --argjson layer "$layer" --argjson annotations "$labels" '{
        schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
        config: $config, layers: [$layer], annotations: $annotations
    }' >"$work/manifest.json"
    blob "$work/manifest.json" application/vnd.oci.image.manifest.v1+json |
        jq --arg architecture "$architecture" '.platform = {os: "linux", architecture: $architecture}'
}

# index: the descriptors on stdin become one index, whose descriptor goes to stdout.
index() {
    jq -s --argjson annotations "$labels" '{
        schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
        manifests: ., annotations: $annotations
    }' >"$work/index.json"
    blob "$work/index.json" application/vnd.oci.image.index.v1+json
}

[ $# -gt 0 ] || { echo "FAILED: image.sh LAYOUT ARCHITECTURE=BINARY..." >&2; exit 1; }
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$layout/blobs/sha256"
for part; do image "${part%%=*}" "${part#*=}"; done >"$work/images"
if [ $# -gt 1 ]; then index <"$work/images"; else cat "$work/images"; fi |
    jq --arg version "$version" '{
        schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
        manifests: [. + {annotations: {"org.opencontainers.image.ref.name": $version}}]
    }' >"$layout/index.json"
printf '{"imageLayoutVersion": "1.0.0"}\n' >"$layout/oci-layout"
jq -r '.manifests[0].digest' "$layout/index.json"
