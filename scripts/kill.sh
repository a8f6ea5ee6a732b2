#!/usr/bin/env bash
# Kills a replicator, or the PostgreSQL below it, at random points again and again, and shows that
# nothing was lost: `just kill`.
#
# By environment: SEED, KILLS, LEDGER (sqlite, postgres) and VICTIM (replicator, postgres).
set -euo pipefail

export TMPDIR="${TMPDIR:-/dev/shm}"
here="$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/postgres.sh
. "$here/postgres.sh"

SEED="${SEED:-1}"
KILLS="${KILLS:-200}"
LEDGER="${LEDGER:-sqlite}"
VICTIM="${VICTIM:-replicator}"
# Different images; each has as many names as it takes to ask for new ones after each kill.
IMAGES=20
ASKED_A_KILL=2
# A kill comes so long after the questions, at most: a copy takes about as long.
LATEST_MS=400

[ "$VICTIM" = replicator ] || [ "$LEDGER" = postgres ] || die "only PostgreSQL can be killed apart"
trap work_end EXIT
RANDOM=$SEED

# make_images: IMAGES images, and at the source as many names for them as are asked for. A name is
# a folder in the registry's storage, and costs no push.
make_images() {
    local i names=$((KILLS * ASKED_A_KILL)) repositories="$WORK/source/storage/docker/registry/v2/repositories"
    for ((i = 0; i < IMAGES; i++)); do
        publish "image-$i" "image-$i:1" 2 amd64 >/dev/null
    done
    for ((i = 0; i < names; i++)); do
        mkdir -p "$repositories/shop"
        cp -a "$repositories/image-$((i % IMAGES))" "$repositories/shop/app-$i"
    done
}

# ask NUMBER: whether the replicator took the question on.
ask() {
    curl_at replicator --max-time 5 --output /dev/null "$(trigger_url shop source "shop/app-$1")" \
        2>/dev/null
}

# ask_some KILL: new images, those that were taken on to $WORK/asked.
ask_some() {
    local i first=$(($1 * ASKED_A_KILL))
    for ((i = first; i < first + ASKED_A_KILL; i++)); do
        ! ask "$i" || echo "$i" >>"$WORK/asked"
    done
}

# Whether all that is in the ledger is there: no less than what was asked for.
all_present() {
    local all present
    read -r all present < <(status_of replicator /metrics | awk '
        /^image_replicator_replicas\{/ {all += $2; if (/"present"/) present = $2}
        END {print all + 0, present + 0}')
    [ "$present" = "$all" ] && [ "$present" -ge "$(wc -l <"$WORK/asked")" ]
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

# assert_none WHAT SQL: the query counts nothing.
assert_none() {
    local count
    count="$(query "SELECT COUNT(*) FROM ($2) AS found")"
    [ "$count" = 0 ] || die "$1: $count"
}

start_victim() {
    case $VICTIM in
    replicator) start_replicator replicator ;;
    postgres) start_postgres ;;
    esac
}

kill_victim() {
    case $VICTIM in
    replicator) kill_service replicator ;;
    postgres) kill_postgres ;;
    esac
}

work_begin
start_source_and_target
make_images
credentials source target >"$WORK/credentials.json"
configure_replicator replicator "$WORK/credentials.json"
if [ "$LEDGER" = postgres ]; then
    make_postgres ledger
    sed -i "s|^ledger:.*|ledger: $(postgres_url ledger)|" "$WORK/replicator/config.yaml"
fi
: >"$WORK/asked"
start_replicator replicator
for ((kill = 0; kill < KILLS; kill++)); do
    ask_some "$kill" &
    asking=$!
    sleep "$(printf '0.%03d' $((RANDOM % LATEST_MS)))"
    kill_victim
    wait "$asking" || true
    start_victim
done
wait_until 180 "all replicas present; asked for $(wc -l <"$WORK/asked")" all_present

for ((i = 0; i < IMAGES; i++)); do
    digests+=("$(digest_of "$(address_of source)/image-$i:1")")
done
while read -r i; do
    same="${digests[i % IMAGES]}"
    got="$(digest_of "$(address_of target)/mirror/$(address_of source | tr : _)/shop/app-$i:1")"
    [ "$same" = "$got" ] || die "app-$i is $got at the target, $same at the source"
done <"$WORK/asked"
assert_none 'copies that counted twice' \
    "SELECT source FROM copies WHERE result = 'copied' GROUP BY source HAVING COUNT(*) > 1"
# A copy that ended with its replicator, but for the word in the ledger, is found to be current.
assert_none 'replicas without the copy that they came of' \
    "SELECT source FROM replicas WHERE source NOT IN (SELECT source FROM copies WHERE result IN ('copied', 'current'))"
assert_none 'replicas in no good end' \
    "SELECT source FROM replicas WHERE state <> 'present' OR digest IS NULL OR lease_owner IS NOT NULL OR turn IS NOT NULL"
echo "$LEDGER, $VICTIM killed $KILLS times with seed $SEED: $(wc -l <"$WORK/asked") images asked for," \
    "all present and whole, none counted twice;" \
    "$(query "SELECT SUM(claims) FROM replicas") claims;" \
    "$(find "$WORK/target/storage" -path '*/_uploads/*' -name startedat | wc -l) uploads left to the registry's own purge"
