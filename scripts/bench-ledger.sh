#!/usr/bin/env bash
# Copies a second of many small images, with one replicator and with two: `just bench-ledger`.
# The ledgers are on disk (TMPDIR), and so are the registries. The table goes to stdout.
#
# By environment: COPIES and ROUND_TRIP_MS.
set -euo pipefail

here="$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/postgres.sh
. "$here/postgres.sh"
# shellcheck source=scripts/many.sh
. "$here/many.sh"

COPIES="${COPIES:-500}"
ROUND_TRIP_MS="${ROUND_TRIP_MS:-50}"

trap work_end EXIT

# measure WHERE LEDGER REPLICATOR [OTHER]: a line of the table.
measure() {
    local where=$1 name source=source
    LEDGER=$2
    shift 2
    [ "$where" = near ] || source="source-far"
    begin_anew "$@"
    ask_both "$1" "${2:-$1}" "$source" "$COPIES"
    wait_until 600 "all replicas by $*" all_present "$COPIES"
    assert_good_end
    echo "| $LEDGER | $# | $where | $(copies_per_second) |"
    for name; do stop_service "$name"; done
}

"$here/machine.sh"
work_begin
start_many "$ROUND_TRIP_MS" "$COPIES"
make_postgres
echo "- $COPIES images, 4 workers in each replicator; far is a round trip of $ROUND_TRIP_MS ms"
echo
echo '| ledger | replicators | registries | copies/s |'
echo '| --- | --- | --- | --- |'
for where in near far; do
    for name in replicator one two; do "configure_$where" "$name"; done
    measure $where sqlite replicator
    measure $where postgres one
    measure $where postgres one two
done
