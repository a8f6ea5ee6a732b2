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
# shellcheck source=scripts/many.sh
. "$here/many.sh"

SEED="${SEED:-1}"
KILLS="${KILLS:-200}"
LEDGER="${LEDGER:-sqlite}"
VICTIM="${VICTIM:-replicator}"
ASKED_A_KILL=2
# A kill comes so long after the questions, at most: a copy takes about as long.
LATEST_MS=400

[ "$VICTIM" = replicator ] || [ "$LEDGER" = postgres ] || die "only PostgreSQL can be killed apart"
trap work_end EXIT
RANDOM=$SEED

# ask_some KILL: new images, those that were taken on to $WORK/asked.
ask_some() {
    local i first=$(($1 * ASKED_A_KILL))
    for ((i = first; i < first + ASKED_A_KILL; i++)); do
        ! ask_for replicator source "$i" || echo "$i" >>"$WORK/asked"
    done
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

open_uploads() { find "$WORK/target/storage" -path '*/_uploads/*' -name startedat | wc -l; }

# purge_uploads: lets the target's own purge run. It comes from 0 to 59 minutes after the start, by
# the second of the clock at which that is: so the registry is started until it is at once.
purge_uploads() {
    stop_service target
    # `age` is that of sessions which nobody can be using any more.
    sed -i '/^  delete:/a\  maintenance: {uploadpurging: {enabled: true, age: 1s, interval: 24h, dryrun: false}}' \
        "$WORK/target/config.yml"
    wait_until 600 "the target's purge of uploads" begins_to_purge
    wait_until 20 "the end of the target's purge" grep -q 'Purge uploads finished' "$WORK/target/log"
}

# begins_to_purge: starts the target, which goes on only if it purges at once.
begins_to_purge() {
    launch_and_wait target docker-registry serve "$WORK/target/config.yml"
    wait_until 5 "the target's word on its purge" grep -q 'Starting upload purge in' "$WORK/target/log"
    ! grep -q 'Starting upload purge in 0s' "$WORK/target/log" || return 0
    : >"$WORK/target/log"
    kill_service target
    sleep 0.8
    return 1
}

work_begin
start_source_and_target
publish_many $((KILLS * ASKED_A_KILL))
credentials source target >"$WORK/credentials.json"
configure_replicator replicator "$WORK/credentials.json"
if [ "$LEDGER" = postgres ]; then
    make_postgres
    share_ledger replicator
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
mapfile -t asked <"$WORK/asked"
wait_until 180 "all replicas present; asked for ${#asked[@]}" all_present "${#asked[@]}"
assert_good_end
left="$(open_uploads)"
purge_uploads
[ "$(open_uploads)" = 0 ] || die "$(open_uploads) uploads are open after the target's purge"
assert_whole source "${asked[@]}"
echo "$LEDGER, $VICTIM killed $KILLS times with seed $SEED: ${#asked[@]} images asked for," \
    "all present and whole, none counted twice;" \
    "$(query "SELECT SUM(claims) FROM replicas") claims;" \
    "$left uploads left open, which the target's own purge ended"
