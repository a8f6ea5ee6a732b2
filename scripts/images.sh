# shellcheck shell=bash
# Images, made, pushed and compared with tools that are not ours: umoci and skopeo. Part of lib.sh.

# start_source_and_target: the two registries, and what skopeo needs to reach them.
start_source_and_target() {
    start_registry source
    start_registry target
    mkdir -p "$WORK/skopeo" "$WORK/images"
    credentials source target >"$WORK/skopeo/auth.json"
}

# random_layer FILE MIB: a layer of random bytes, which no compression makes smaller.
random_layer() {
    local folder
    folder="$(mktemp -d -p "$WORK")"
    head -c "$2M" /dev/urandom >"$folder/data-$(basename "$1")"
    tar -C "$folder" -cf "$1" .
    rm -rf "$folder"
}

# make_image NAME MIB [PLATFORM...]: an OCI layout in $WORK/images/NAME with an index over the
# platforms (default: amd64 and arm64), tagged `all`. Each platform has MIB of its own and a
# layer that all images share.
make_image() {
    local layout="$WORK/images/$1" mib=$2 platform platforms=("${@:3}")
    [ ${#platforms[@]} -gt 0 ] || platforms=(amd64 arm64)
    [ -e "$WORK/images/shared.tar" ] || random_layer "$WORK/images/shared.tar" 1
    umoci init --layout "$layout"
    for platform in "${platforms[@]}"; do
        random_layer "$layout-$platform.tar" "$mib"
        umoci new --image "$layout:$platform"
        umoci config --image "$layout:$platform" --os linux --architecture "$platform"
        umoci raw add-layer --image "$layout:$platform" "$WORK/images/shared.tar"
        umoci raw add-layer --image "$layout:$platform" "$layout-$platform.tar"
        rm "$layout-$platform.tar"
    done
    tag_index "$layout"
}

# tag_index LAYOUT: makes one index of the layout's images, each of which is tagged with its
# platform, and tags it `all`. umoci makes images but no index over them.
tag_index() {
    local layout=$1 index digest
    index="$(jq -c '{
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.index.v1+json",
        manifests: [.manifests[] | {
            mediaType, digest, size,
            platform: {os: "linux", architecture: .annotations["org.opencontainers.image.ref.name"]}
        }]
    }' "$layout/index.json")"
    digest="$(printf '%s' "$index" | sha256sum | cut -d ' ' -f 1)"
    printf '%s' "$index" >"$layout/blobs/sha256/$digest"
    jq -c --arg digest "sha256:$digest" --argjson size "${#index}" '.manifests = [{
        mediaType: "application/vnd.oci.image.index.v1+json", digest: $digest, size: $size,
        annotations: {"org.opencontainers.image.ref.name": "all"}
    }]' "$layout/index.json" >"$layout/index.json.new"
    mv "$layout/index.json.new" "$layout/index.json"
}

# skopeo_copy FROM TO: every platform, byte for byte, signatures aside.
skopeo_copy() {
    skopeo --insecure-policy --tmpdir "$WORK/skopeo" copy --quiet --all --preserve-digests \
        --authfile "$WORK/skopeo/auth.json" \
        --src-cert-dir "$WORK/tls/client" --dest-cert-dir "$WORK/tls/client" \
        "$1" "$2" >>"$WORK/skopeo/log" 2>&1 || die_with_log skopeo "skopeo copy $1 $2"
}

# repository_of REFERENCE: without tag and digest.
repository_of() { printf '%s' "$1" | sed -E 's/@.*//; s/:[^/:]*$//'; }

# by_digest REFERENCE: without the tag where there is a digest; skopeo takes only one of them.
by_digest() {
    case $1 in
    *@*) printf '%s@%s' "$(repository_of "$1")" "${1#*@}" ;;
    *) printf '%s' "$1" ;;
    esac
}

# raw_manifest REFERENCE: the manifest's bytes on stdout; fails where there is none.
raw_manifest() {
    skopeo --insecure-policy inspect --raw --authfile "$WORK/skopeo/auth.json" \
        --cert-dir "$WORK/tls/client" "docker://$(by_digest "$1")"
}

exists() { raw_manifest "$1" >/dev/null 2>&1; }

digest_of() { printf 'sha256:%s' "$(raw_manifest "$1" | sha256sum | cut -d ' ' -f 1)"; }

# publish NAME REPOSITORY:TAG MIB [PLATFORM...]: makes an image and pushes it to the source;
# its reference goes to stdout.
publish() {
    local reference
    reference="$(address_of source)/$2"
    make_image "$1" "${@:3}"
    skopeo_copy "oci:$WORK/images/$1:all" "docker://$reference"
    rm -rf "$WORK/images/$1"
    printf '%s' "$reference"
}

# replica_of REFERENCE: where its replica belongs, by the rule in README: the whole source
# path under the target, and `_` for the port's colon, which no host name has.
replica_of() {
    local host="${1%%/*}"
    printf '%s/mirror/%s/%s' "$(address_of target)" "${host/:/_}" "${1#*/}"
}

# assert_same_image SOURCE TARGET: index and children are the same bytes, and a client that
# checks every digest can pull the target whole.
assert_same_image() {
    local source=$1 target=$2 child folder
    folder="$(mktemp -d -p "$WORK")"
    raw_manifest "$source" >"$folder/source" || die "skopeo cannot read the source $source"
    raw_manifest "$target" >"$folder/target" || die "skopeo cannot read the target $target"
    cmp "$folder/source" "$folder/target" || die "$target differs from $source"
    for child in $(jq -r '.manifests // [] | .[].digest' "$folder/source"); do
        raw_manifest "$(repository_of "$source")@$child" >"$folder/source-child" ||
            die "the source lacks $child of $source"
        raw_manifest "$(repository_of "$target")@$child" >"$folder/target-child" ||
            die "the target lacks $child of $target"
        cmp "$folder/source-child" "$folder/target-child" || die "$child differs at the target"
    done
    skopeo_copy "docker://$(by_digest "$target")" "dir:$folder/pulled"
    rm -rf "$folder"
}
