#!/usr/bin/env bash
# Copies images with every client on PATH, side by side: `just bench-copy`. Raw figures go to
# target/bench-copy/, the tables to docs/benchmarks.md.
#
# By environment: SHAPES, RUNS, LAYER_MIB (the large layer's size, from which others follow),
# DELAYS (round trips in ms) and TLS (on, off). What is above the first delay runs with the first
# of TLS only. A run with RUNS below 5 leaves docs/benchmarks.md as it is.
set -euo pipefail

export TMPDIR="${TMPDIR:-/dev/shm}"
here="$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/bench-registries.sh
. "$here/bench-registries.sh"
# shellcheck source=scripts/bench-images.sh
. "$here/bench-images.sh"
# shellcheck source=scripts/bench-serve.sh
. "$here/bench-serve.sh"

SHAPES="${SHAPES:-one-layer many-layers two-platforms warm twenty serve-100}"
RUNS="${RUNS:-5}"
LAYER_MIB="${LAYER_MIB:-5120}"
DELAYS="${DELAYS:-0 20}"
TLS="${TLS:-on off}"
OUT="$ROOT/target/bench-copy"
export BIN

# `time` is a word of the shell as well.
type -P time python3 >/dev/null || die "GNU time and Python 3 are needed: Debian's time and python3"
trap work_end EXIT

# clients SHAPE: ours, its peers that are on PATH, and the floor where starting it costs nothing.
clients() {
    local client
    [ "$1" != twenty ] || echo 'image-replicator serve'
    echo image-replicator
    for client in skopeo crane regctl; do
        ! command -v "$client" >/dev/null || echo "$client"
    done
    [ "$1" != one-layer ] || echo curl
}

# combinations: lines of TLS and delay.
combinations() {
    local tls delay
    for tls in $TLS; do
        for delay in $DELAYS; do
            [ "$tls" != "${TLS%% *}" ] && [ "$delay" != "${DELAYS%% *}" ] || echo "$tls $delay"
        done
    done
}

# Both storages are memory: the large layer is there twice.
assert_room() {
    local need_mib=$((2 * LAYER_MIB + 4096)) free_mib memory_mib
    free_mib="$(df --output=avail -m "$TMPDIR" | tail -n 1)"
    memory_mib="$(awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)"
    [ "$(stat -f -c %T "$TMPDIR")" = tmpfs ] || die "$TMPDIR is no tmpfs; set TMPDIR"
    ((free_mib >= need_mib && memory_mib >= need_mib)) ||
        die "$need_mib MiB of memory and of $TMPDIR are needed; set LAYER_MIB below $LAYER_MIB"
}

# configure_clients: for every place, what each client must know.
configure_clients() {
    local place places=()
    mkdir "$WORK/clients"
    for place in "$WORK"/{source,target}*/port; do places+=("$(basename "$(dirname "$place")")"); done
    credentials "${places[@]}" | tee "$WORK/skopeo/auth.json" >"$WORK/clients/config.json"
    configure_replicator replicator "$WORK/skopeo/auth.json"
    for place in "${places[@]}"; do
        case $place in
        source | target) ;; # They are in the configuration.
        *-plain*) printf '  "%s":\n    plain_http: true\n' "$(address_of "$place")" ;;
        *) printf '  "%s":\n    ca: %s\n' "$(address_of "$place")" "$WORK/tls/ca.pem" ;;
        esac
    done >"$WORK/clients/registries.yaml"
    sed -i "/^registries:/r $WORK/clients/registries.yaml" "$WORK/replicator/config.yaml"
    echo '  referrers: {enabled: false}' >>"$WORK/replicator/config.yaml"
    for place in "${places[@]}"; do
        jq -n --arg address "$(address_of "$place")" --rawfile ca "$WORK/tls/ca.pem" \
            --rawfile user "$WORK/$place/user" --rawfile password "$WORK/$place/password" \
            --arg tls "$([[ $place = *-plain* ]] && echo disabled || echo enabled)" \
            '{($address): {tls: $tls, regcert: $ca, user: $user, pass: $password, reqConcurrent: 6}}'
    done | jq -s '{hosts: add}' >"$WORK/clients/regctl.json"
}

# copies_by_client CLIENT IMAGES TLS DELAY_MS: the figures on stdout as copies_by_serve has them.
copies_by_client() {
    local repository pairs=() started source target
    source="$(address_of "$(place source "$3" "$4")")"
    target="$(address_of "$(place target "$3" "$4")")"
    while read -r repository _; do
        pairs+=("$source/$repository:1" "$target/$repository:1")
    done <"$2"
    started="$(now_ms)"
    command time --quiet --format '%U %S %M' --output "$WORK/clients/time" \
        timeout 900 "$ROOT/scripts/bench-client.sh" "$1" "$3" "${pairs[@]}" \
        >>"$WORK/clients/log" 2>&1 || return 1
    echo "$(($(now_ms) - started))" \
        "$(awk '{print ($1 + $2) * 1000, $3}' "$WORK/clients/time")"
}

# images_of SHAPE DELAY_MS: the list of what it copies. The delay of a request shows as well in a
# layer that does not take minutes, and a warm copy reads no layer at all.
images_of() {
    case $1:$2 in
    one-layer:0) echo one-layer ;;
    one-layer:* | warm:*) echo one-layer-far ;;
    *) echo "$1" ;;
    esac
}

# measure SHAPE TLS DELAY_MS CLIENT RUN: one line of figures.
measure() {
    local shape=$1 tls=$2 delay=$3 client=$4 run=$5 images source prefix='' workers=4
    local figures asked reads=0 repository digest result=ok
    images="$WORK/bench/$(images_of "$shape" "$delay")"
    if [ "$shape" = warm ]; then fill_target; else wipe_target; fi
    : >"$WORK/clients/log"
    case $client in
    'image-replicator serve')
        source="$(place source "$tls" "$delay")"
        [ "$shape" != serve-100 ] || source=source-slow workers=101
        prefix="mirror/$(address_of "$source" | tr : _)/"
        figures="$(copies_by_serve "$images" "$tls" "$delay" "$workers" "$source" \
            2>>"$WORK/clients/log")" || result=failed
        ;;
    *) figures="$(copies_by_client "$client" "$images" "$tls" "$delay")" || result=failed ;;
    esac
    asked="$(requests_of source) $(requests_of target)"
    [ "$shape" != twenty ] || reads="$(reads_of "$(cat "$WORK/bench/twenty-base")")"
    [ "$client" != 'image-replicator serve' ] || stop_service replicator
    while read -r repository digest; do
        at_target "$prefix$repository" "$digest" 2>>"$WORK/clients/log" || result=failed
    done <"$images"
    [ "$result" = ok ] || tail -n 5 "$WORK/clients/log" >&2
    # shellcheck disable=SC2086  # Three figures and two; a client that ended early has none.
    write_row "$shape" "$tls" "$delay" "$(cat "$images.mib")" "$client" "$run" "$result" \
        ${figures:-0 0 0} $asked "$reads"
}

# write_row VALUE...
write_row() {
    local IFS=$'\t'
    echo "$*" | tee -a "$OUT/raw.tsv" >&2
}

# measure_shape SHAPE: the clients take turns, so that a slow minute of the machine meets all.
measure_shape() {
    local tls delay run client who
    mapfile -t who < <(clients "$1")
    while read -r tls delay; do
        publish_shape "$(images_of "$1" "$delay")"
        for ((run = 1; run <= RUNS; run++)); do
            for client in "${who[@]}"; do measure "$1" "$tls" "$delay" "$client" "$run"; done
        done
    done < <(combinations)
}

# The versions that the tables are of, as lines of Markdown.
machine() {
    local client
    "$here/machine.sh"
    printf -- '- %s' "$("$BIN/image-replicator" --version)"
    for client in $(clients one-layer); do
        case $client in
        image-replicator) ;;
        crane) printf ', crane %s' "$(crane version)" ;;
        regctl) printf ', regctl %s' "$(regctl version --format '{{or .VCSTag .VCSRef}}')" ;;
        *) printf ', %s' "$("$client" --version | sed -n '1s/ (.*//; 1p')" ;;
        esac
    done
    printf '; %s\n' "$(docker-registry --version)"
}

assert_room
mkdir -p "$OUT"
: >"$OUT/raw.tsv"
write_row shape tls delay_ms mib client run result wall_ms cpu_ms peak_kib \
    source_requests target_requests base_reads
work_begin
start_places
start_proxy source-slow source 0 4
configure_clients
for shape in $SHAPES; do
    case $shape in
    serve-100)
        publish_shape serve-100
        measure serve-100 on 0 'image-replicator serve' 1
        ;;
    *) measure_shape "$shape" ;;
    esac
done
jq -Rrs --arg machine "$(machine)" --arg runs "$RUNS" -f "$here/bench-table.jq" "$OUT/raw.tsv" \
    >"$OUT/tables.md"
if [ "$RUNS" -ge 5 ]; then
    WRITE=1 "$here/table.sh" bench-copy "$ROOT/docs/benchmarks.md" <"$OUT/tables.md" >/dev/null
else
    echo "written: target/bench-copy/tables.md, since RUNS is below 5"
fi
