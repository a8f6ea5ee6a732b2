# shellcheck shell=bash
# The images of the benchmark, of random bytes, at the source. Part of bench-copy.sh.
#
# $WORK/bench/SHAPE has a line for each image of a shape: its repository and its digest; the tag is
# `1`. $WORK/bench/SHAPE.mib tells their size. They are built by hand: umoci would compress
# gigabytes of random bytes for nothing.

# Sizes follow from the large layer's, so that a short run is short in each shape.
part_of_layer() { echo $((LAYER_MIB / $1 > 0 ? LAYER_MIB / $1 : 1)); }

# publish_shape SHAPE: makes and pushes what it copies, unless it is there.
publish_shape() {
    local i layer base layers=()
    mkdir -p "$WORK/bench"
    [ ! -e "$WORK/bench/$1" ] || return 0
    echo "making the images of $1" >&2
    case $1 in
    one-layer) push_image "$1" "$1" "$(manifest amd64 "$(layer "$LAYER_MIB")")" ;;
    one-layer-far) push_image "$1" "$1" "$(manifest amd64 "$(layer "$(part_of_layer 5)")")" ;;
    many-layers)
        for ((i = 0; i < 100; i++)); do layers+=("$(layer 1)"); done
        push_image "$1" "$1" "$(manifest amd64 "${layers[@]}")"
        ;;
    two-platforms)
        base="$(layer "$(part_of_layer 20)")"
        layer="$(layer "$(part_of_layer 80)")"
        push_image "$1" "$1" "$(index "$(manifest amd64 "$base" "$layer")" \
            "$(manifest arm64 "$base" "$(layer "$(part_of_layer 80)")")")"
        ;;
    twenty)
        base="$(layer "$(part_of_layer 80)")"
        jq -r .digest <<<"$base" >"$WORK/bench/twenty-base"
        for ((i = 1; i <= 20; i++)); do
            push_image "$1" "$1-$i" "$(manifest amd64 "$base" "$(layer 8)")"
        done
        ;;
    serve-100)
        for ((i = 1; i <= 100; i++)); do
            push_image "$1" "$1-$i" "$(manifest amd64 "$(layer 16)")"
        done
        ;;
    *) die "no such shape: $1" ;;
    esac
    du -m --summarize --apparent-size "$WORK/layout" | cut -f 1 >"$WORK/bench/$1.mib"
    rm -rf "$WORK/layout"
}

# blob MEDIA_TYPE: stores stdin in the layout; its descriptor goes to stdout.
blob() {
    local file digest
    mkdir -p "$WORK/layout/blobs/sha256"
    file="$(mktemp -p "$WORK/layout")"
    digest="$(tee "$file" | sha256sum | cut -d ' ' -f 1)"
    jq -cn --arg type "$1" --arg digest "sha256:$digest" --argjson size "$(stat -c %s "$file")" \
        '{mediaType: $type, digest: $digest, size: $size}'
    mv "$file" "$WORK/layout/blobs/sha256/$digest"
}

# layer MIB: the descriptor of a new one.
layer() { head -c "$1M" /dev/urandom | blob application/vnd.oci.image.layer.v1.tar; }

# manifest ARCHITECTURE LAYER...: the descriptor, with its platform, of an image's manifest.
manifest() {
    local architecture=$1 layers config
    layers="$(printf '%s\n' "${@:2}" | jq -cs .)"
    config="$(jq -c --arg architecture "$architecture" '{architecture: $architecture, os: "linux",
        config: {}, rootfs: {type: "layers", diff_ids: map(.digest)}}' <<<"$layers" |
        blob application/vnd.oci.image.config.v1+json)"
    jq -cj --argjson config "$config" '{schemaVersion: 2, config: $config, layers: .,
        mediaType: "application/vnd.oci.image.manifest.v1+json"}' <<<"$layers" |
        blob application/vnd.oci.image.manifest.v1+json |
        jq -c --arg architecture "$architecture" '.platform = {architecture: $architecture, os: "linux"}'
}

# index MANIFEST...: the descriptor of an index over them.
index() {
    printf '%s\n' "$@" | jq -csj '{schemaVersion: 2, manifests: .,
        mediaType: "application/vnd.oci.image.index.v1+json"}' |
        blob application/vnd.oci.image.index.v1+json
}

# push_image SHAPE REPOSITORY DESCRIPTOR: to the source, without delay.
push_image() {
    echo '{"imageLayoutVersion": "1.0.0"}' >"$WORK/layout/oci-layout"
    jq -n --argjson descriptor "$3" '{schemaVersion: 2, manifests: [$descriptor
        | .annotations = {"org.opencontainers.image.ref.name": "1"}]}' >"$WORK/layout/index.json"
    skopeo_copy "oci:$WORK/layout:1" "docker://$(address_of source)/bench/$2:1"
    printf 'bench/%s %s\n' "$2" "$(jq -r .digest <<<"$3")" >>"$WORK/bench/$1"
}
