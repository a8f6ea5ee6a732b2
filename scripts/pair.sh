#!/usr/bin/env bash
# Two replicators on one PostgreSQL with real copies: `just pair`. Shows that each image is copied
# once, that one goes on where the other is killed, and how much faster two are than one.
#
# By environment: COPIES and ROUND_TRIP_MS.
set -euo pipefail

export TMPDIR="${TMPDIR:-/dev/shm}"
here="$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/postgres.sh
. "$here/postgres.sh"
# shellcheck source=scripts/many.sh
. "$here/many.sh"

COPIES="${COPIES:-500}"
# So far away that a copy waits most of its time: then neither registries nor cores are the limit.
ROUND_TRIP_MS="${ROUND_TRIP_MS:-50}"
LEDGER=postgres

trap work_end EXIT

# seconds_to_last WHERE: from the kill to the end of the last of those copies.
seconds_to_last() { query "SELECT (MAX(ended_at_ms) - $killed_ms) / 1000 FROM copies $1"; }

work_begin
start_many "$ROUND_TRIP_MS" "$COPIES"
make_postgres
configure_far one
configure_far two

begin_anew one
ask_both one one source-far "$COPIES"
wait_until 600 "all replicas by one" all_present "$COPIES"
alone="$(copies_per_second)"
echo "one replicator: $COPIES images, $alone copies/s"
stop_service one

begin_anew one two
ask_both one two source-far "$COPIES"
wait_until 600 "all replicas by two" all_present "$COPIES"
assert_each_copied_once "$COPIES"
together="$(copies_per_second)"
echo "two replicators: $together copies/s," \
    "$(awk "BEGIN {printf \"%.2f\", $together / $alone}") times those of one; each image once, $(shares)"
stop_service one
stop_service two

begin_anew one two
ask_both one two source-far "$COPIES"
wait_until 600 "half of the replicas" some_present $((COPIES / 2))
kill_service one
killed_ms="$(date +%s%3N)"
wait_until 600 "all replicas by the one that is left" all_present "$COPIES"
taken_over="WHERE source IN (SELECT source FROM replicas WHERE claims > 1)"
echo "one of two killed after $((COPIES / 2)) copies:" \
    "the $(query "SELECT COUNT(DISTINCT source) FROM copies $taken_over") that it had under way" \
    "were there $(seconds_to_last "$taken_over") s later, all $COPIES $(seconds_to_last '') s later;" \
    "$(shares)"
assert_good_end
mapfile -t numbers < <(seq 0 $((COPIES - 1)))
assert_whole source-far "${numbers[@]}"
echo "all whole, none counted twice"
