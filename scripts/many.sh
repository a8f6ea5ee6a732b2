# shellcheck shell=bash
# Many small images: asked for at one or more replicators, and found in their ledger. For scripts
# with lib.sh and postgres.sh.
#
# $LEDGER says where the ledger is: sqlite (a file of the service `replicator`) or postgres (the
# database `ledger`, which all replicators share).

# Different images, unless set; each has as many names as there are questions.
IMAGES="${IMAGES:-20}"

# publish_many COUNT: that many names `shop/app-NUMBER:1` at the source, of IMAGES images. A name is
# a folder in the registry's storage, and costs no push.
publish_many() {
    local i repositories="$WORK/source/storage/docker/registry/v2/repositories"
    for ((i = 0; i < IMAGES; i++)); do
        publish "image-$i" "image-$i:1" 2 amd64 >/dev/null
    done
    mkdir -p "$repositories/shop"
    for ((i = 0; i < $1; i++)); do
        cp -a "$repositories/image-$((i % IMAGES))" "$repositories/shop/app-$i"
    done
}

# ask_for REPLICATOR SOURCE NUMBER...: by one connection. Fails where one question is not taken on.
ask_for() {
    local url number
    url="$(trigger_url shop "$2" shop/app-NUMBER "$1")"
    for number in "${@:3}"; do
        printf 'url = "%s"\noutput = /dev/null\n' "${url/NUMBER/$number}"
    done | curl_at "$1" --fail-early --max-time 60 --config - 2>/dev/null
}

# share_ledger REPLICATOR...: these replicators use the database `ledger`, made anew.
share_ledger() {
    local name
    postgres_query postgres 'DROP DATABASE IF EXISTS ledger WITH (FORCE)'
    postgres_query postgres 'CREATE DATABASE ledger'
    for name; do
        sed -i "s|^ledger:.*|ledger: $(postgres_url ledger)|" "$WORK/$name/config.yaml"
    done
}

# start_many ROUND_TRIP_MS COUNT: source and target, so many images at the source, and for either a
# way that is so long: `source-far` and `target-far`.
start_many() {
    start_source_and_target
    start_proxy source-far source "$1"
    start_proxy target-far target "$1"
    credentials source target source-far target-far >"$WORK/credentials.json"
    publish_many "$2"
}

# configure_near NAME, configure_far NAME: a replicator that reaches them this way.
configure_near() { configure_replicator "$1" "$WORK/credentials.json"; }
configure_far() {
    configure_near "$1"
    sed -i "s|$(address_of source)|$(address_of source-far)|; s|$(address_of target)|$(address_of target-far)|" \
        "$WORK/$1/config.yaml"
}

# begin_anew REPLICATOR...: an empty target, and an empty ledger for these, which run then.
begin_anew() {
    local name
    rm -rf "${WORK:?}"/target/storage/*
    : >"$WORK/target/log"
    case $LEDGER in
    sqlite) rm -f "$WORK"/replicator/ledger.db* ;;
    postgres) share_ledger "$@" ;;
    esac
    for name; do start_replicator "$name"; done
}

# ask_both ONE OTHER SOURCE COUNT: so many images, every second one at either.
ask_both() {
    local asking odd even
    mapfile -t even < <(seq 0 2 $(($4 - 1)))
    mapfile -t odd < <(seq 1 2 $(($4 - 1)))
    ask_for "$1" "$3" "${even[@]}" &
    asking=$!
    ask_for "$2" "$3" "${odd[@]}" || die "$2 did not take all questions on"
    wait "$asking" || die "$1 did not take all questions on"
}

# query SQL: its rows, from whichever store.
query() {
    case $LEDGER in
    sqlite) python3 -c 'import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]): print(*row)' \
        "$WORK/replicator/ledger.db" "$1" ;;
    postgres) postgres_query ledger "$1" ;;
    esac
}

# assert_none WHAT SQL: the query finds nothing.
assert_none() {
    local count
    count="$(query "SELECT COUNT(*) FROM ($2) AS found")"
    [ "$count" = 0 ] || die "$1: $count"
}

# all_present COUNT: whether all that is in the ledger is there, and no less than COUNT.
all_present() {
    [ "$(query "SELECT COUNT(*) FROM replicas")" -ge "$1" ] &&
        [ "$(query "SELECT COUNT(*) FROM replicas WHERE state <> 'present'")" = 0 ]
}

# some_present COUNT: whether so many are there.
some_present() { [ "$(query "SELECT COUNT(*) FROM replicas WHERE state = 'present'")" -ge "$1" ]; }

# copies_per_second: from the first beginning to the last end.
copies_per_second() {
    query "SELECT ROUND(COUNT(*) * 1000.0 / (MAX(ended_at_ms) - MIN(began_at_ms)), 1) FROM copies"
}

# shares: who copied how many.
shares() {
    query "SELECT COUNT(*) FROM copies WHERE result = 'copied' GROUP BY replicator ORDER BY replicator" |
        paste -s -d + | sed 's/+/ and /; s/$/ by each/'
}

# assert_each_copied_once COUNT: by the ledger, in which more than one took part, and by the target,
# where nobody else writes.
assert_each_copied_once() {
    local pushed
    assert_good_end
    assert_none 'copies that were made in vain' "SELECT source FROM copies WHERE result <> 'copied'"
    [ "$(query "SELECT COUNT(*) FROM copies")" = "$1" ] || die "$(query "SELECT COUNT(*) FROM copies") copies of $1 images"
    [ "$(query "SELECT COUNT(DISTINCT replicator) FROM copies")" = 2 ] || die "only one replicator copied"
    pushed="$(grep -cE '"PUT /v2/mirror/[^ ]+/manifests/1 ' "$WORK/target/log" || true)"
    [ "$pushed" = "$1" ] || die "$pushed tags were set at the target for $1 images"
}

# assert_whole SOURCE NUMBER...: these are at the target what their images are at the source, of
# which SOURCE is the name that was asked for.
assert_whole() {
    local i place digests=() got
    place="$(address_of target)/mirror/$(address_of "$1" | tr : _)"
    for ((i = 0; i < IMAGES; i++)); do
        digests+=("$(digest_of "$(address_of source)/image-$i:1")")
    done
    for i in "${@:2}"; do
        got="$(digest_of "$place/shop/app-$i:1")"
        [ "$got" = "${digests[i % IMAGES]}" ] || die "app-$i is $got at the target, not ${digests[i % IMAGES]}"
    done
}

# assert_good_end: each replica is there and came of a copy, and no copy counted twice.
assert_good_end() {
    assert_none 'copies that counted twice' \
        "SELECT source FROM copies WHERE result = 'copied' GROUP BY source HAVING COUNT(*) > 1"
    # A copy that ended with its replicator, but for the word in the ledger, is found to be current.
    assert_none 'replicas without the copy that they came of' \
        "SELECT source FROM replicas WHERE source NOT IN (SELECT source FROM copies WHERE result IN ('copied', 'current'))"
    assert_none 'replicas in no good end' \
        "SELECT source FROM replicas WHERE state <> 'present' OR digest IS NULL OR lease_owner IS NOT NULL OR turn IS NOT NULL"
}
