#!/usr/bin/env bash
# One client copies images, one after the other: what bench-copy.sh takes the time of.
#
# bench-client.sh CLIENT TLS SOURCE TARGET [SOURCE TARGET]...: TLS is on or off. Each client copies
# all platforms, by digest, six blobs at once, with what `configure_clients` wrote.
set -euo pipefail

here="$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/curl.sh
. "$here/curl.sh"
# shellcheck source=scripts/bench-registries.sh
. "$here/bench-registries.sh"

client=$1 tls=$2
shift 2
scheme=https
[ "$tls" = on ] || scheme=http

# Without the referrers, for which no peer looks by default.
by_image_replicator() {
    "$BIN/image-replicator" copy --no-referrers --config "$WORK/replicator/config.yaml" --log error "$1" "$2" >/dev/null
}

# Six layers at once is its fixed number.
by_skopeo() {
    local verify=true
    [ "$tls" = on ] || verify=false
    skopeo --insecure-policy --tmpdir "$WORK/skopeo" copy --quiet --all --preserve-digests \
        --authfile "$WORK/skopeo/auth.json" \
        --src-cert-dir "$WORK/tls/client" --dest-cert-dir "$WORK/tls/client" \
        --src-tls-verify="$verify" --dest-tls-verify="$verify" "docker://$1" "docker://$2"
}

by_crane() {
    SSL_CERT_FILE="$WORK/tls/ca.pem" DOCKER_CONFIG="$WORK/clients" crane copy --jobs 6 "$1" "$2"
}

by_regctl() { REGCTL_CONFIG="$WORK/clients/regctl.json" regctl image copy "$1" "$2" >/dev/null; }

# The floor, for an image with one large layer: what a copy costs where nothing is checked, hashed,
# looked up or tried again.
by_curl() {
    local from to manifest digest location
    from="$scheme://${1%%/*}/v2/$(path_of "$1")" to="$scheme://${2%%/*}/v2/$(path_of "$2")"
    manifest="$WORK/clients/manifest"
    curl_at source "$from/manifests/${1##*:}" --header "$ACCEPT" >"$manifest"
    for digest in $(jq -r '.config.digest, .layers[].digest' "$manifest"); do
        location="$(curl_at target "$to/blobs/uploads/" --request POST --header 'Content-Length: 0' \
            --output /dev/null --write-out '%header{location}')"
        # Nobody waits for leave to send.
        curl_at source "$from/blobs/$digest" |
            curl_at target "$location&digest=$digest" --upload-file - --header 'Expect:' \
                --header 'Content-Type: application/octet-stream'
    done
    curl_at target "$to/manifests/${2##*:}" --request PUT --data-binary "@$manifest" \
        --header "Content-Type: $(jq -r .mediaType "$manifest")"
}

# path_of REFERENCE: the repository without registry and tag.
path_of() {
    local path="${1#*/}"
    printf '%s' "${path%:*}"
}

while [ $# -gt 0 ]; do
    "by_${client//-/_}" "$1" "$2"
    shift 2
done
