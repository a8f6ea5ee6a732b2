# shellcheck shell=bash
# The registries of the benchmark, near and far, with TLS and without. Part of bench-copy.sh.
#
# One storage a side. A place is one way to reach it, a service as in lib.sh: `source`,
# `source-plain` without TLS, `source-20ms` and `source-plain-20ms` behind a proxy that delays.

# place SIDE TLS DELAY_MS: the name of that service.
place() {
    local name=$1
    [ "$2" = on ] || name+=-plain
    [ "$3" = 0 ] || name+="-$3ms"
    printf '%s' "$name"
}

# start_places: the two registries and all ways to them that $TLS and $DELAYS need.
start_places() {
    local side tls delay
    start_source_and_target
    for side in source target; do
        start_plain_twin "$side"
        while read -r tls delay; do
            [ "$delay" = 0 ] || start_proxy "$(place "$side" "$tls" "$delay")" \
                "$(place "$side" "$tls" 0)" "$delay"
        done < <(combinations)
    done
}

# start_plain_twin SIDE: the same storage and password by plain HTTP.
start_plain_twin() {
    local twin="$WORK/$1-plain"
    mkdir "$twin"
    free_port >"$twin/port"
    cp "$WORK/$1/user" "$WORK/$1/password" "$twin"
    sed "/^  tls:/d; s/^  addr:.*/  addr: 127.0.0.1:$(cat "$twin/port")/" \
        "$WORK/$1/config.yml" >"$twin/config.yml"
    launch_and_wait "$1-plain" docker-registry serve "$twin/config.yml"
}

# Nothing at the target; what the next client asks is counted from here.
wipe_target() {
    rm -rf "${WORK:?}"/target/storage/*
    forget_requests
}

# The target as after a copy of everything: the same repositories, by hard links.
fill_target() {
    wipe_target
    cp -al "$WORK/source/storage/." "$WORK/target/storage/"
}

forget_requests() {
    local log
    for log in "$WORK"/{source,target}{,-plain}/log; do : >"$log"; done
}

# requests_of SIDE: over all ways to it.
requests_of() { echo $(($(requests_at "$1") + $(requests_at "$1-plain"))); }

# reads_of DIGEST: how often the source gave this blob.
reads_of() {
    cat "$WORK"/source{,-plain}/log | grep -cE "\"GET /v2/[^ ]+/blobs/$1 HTTP/[0-9.]+\" 2" || true
}

# at_target REPOSITORY DIGEST: the tag `1` there is this manifest. The registry took it
# only with all that it names, and took each blob only by its digest.
at_target() {
    local digest
    digest="$(curl_at target "https://$(address_of target)/v2/$1/manifests/1" --header "$ACCEPT" |
        sha256sum | cut -d ' ' -f 1)"
    [ "sha256:$digest" = "$2" ]
}

ACCEPT='Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'
