#!/usr/bin/env bash
# One client copies images, one after the other: what bench-copy.sh takes the time of.
#
# bench-client.sh CLIENT TLS SOURCE TARGET [SOURCE TARGET]...: TLS is on or off. Each client copies
# all platforms, by digest, six blobs at once, with what `configure_clients` wrote.
set -euo pipefail

# shellcheck source=scripts/bench-registries.sh
. "$(dirname "${BASH_SOURCE[0]}")/bench-registries.sh"

client=$1 tls=$2
shift 2
scheme=https
[ "$tls" = on ] || scheme=http

by_image_replicator() {
    "$BIN/image-replicator" copy --config "$WORK/replicator/config.yaml" --log error "$1" "$2" >/dev/null
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

# The floor: what a copy costs where nothing is checked, hashed, looked up or tried again.
by_curl() {
    local from to manifests blobs child
    from="$scheme://${1%%/*}/v2/$(path_of "$1")" to="$scheme://${2%%/*}/v2/$(path_of "$2")"
    manifests="$(mktemp -d -p "$WORK/clients")"
    curl_at source "$from/manifests/${1##*:}" --header "$ACCEPT" >"$manifests/top"
    for child in $(jq -r '.manifests // [] | .[].digest' "$manifests/top"); do
        curl_at source "$from/manifests/$child" --header "$ACCEPT" >"$manifests/$child"
    done
    blobs="$(jq -r 'select(.layers) | .config.digest, .layers[].digest' "$manifests"/* | sort -u)"
    xargs -P 6 -I '{}' bash -c 'pipe_blob "$@"' pipe_blob "$from" "$to" '{}' <<<"$blobs"
    for child in $(jq -r '.manifests // [] | .[].digest' "$manifests/top"); do
        put_manifest "$manifests/$child" "$to/manifests/$child"
    done
    put_manifest "$manifests/top" "$to/manifests/${2##*:}"
    rm -r "$manifests"
}

# path_of REFERENCE: the repository without registry and tag.
path_of() {
    local path="${1#*/}"
    printf '%s' "${path%:*}"
}

# pipe_blob FROM TO DIGEST
pipe_blob() {
    set -euo pipefail
    local location
    location="$(curl_at target "$2/blobs/uploads/" --request POST --header 'Content-Length: 0' \
        --output /dev/null --write-out '%header{location}')"
    # Nobody waits for leave to send.
    curl_at source "$1/blobs/$3" | curl_at target "$location&digest=$3" --upload-file - --header 'Expect:' \
        --header 'Content-Type: application/octet-stream'
}

# put_manifest FILE URL
put_manifest() {
    curl_at target "$2" --request PUT --data-binary "@$1" --header "Content-Type: $(jq -r .mediaType "$1")"
}

export -f curl_at pipe_blob
while [ $# -gt 0 ]; do
    "by_${client//-/_}" "$1" "$2"
    shift 2
done
