#!/usr/bin/env bats
# Two replicators on one PostgreSQL: they share the work, and one goes on where the other is killed.
# Runs once: it is not about the host of policies.

bats_require_minimum_version 1.5.0
load helpers
# Making them takes longest.
IMAGES=4
# shellcheck source=scripts/postgres.sh
. "$BATS_TEST_DIRNAME/../scripts/postgres.sh"
# shellcheck source=scripts/many.sh
. "$BATS_TEST_DIRNAME/../scripts/many.sh"

LEDGER=postgres
# Half of them, twenty, are several times what both replicators have under way at once.
COPIES=40

setup_file() {
    work_begin
    # So slow that a kill meets copies in their middle.
    start_many 20 "$COPIES"
    make_postgres
    configure_far one
    configure_far two
}
teardown_file() { work_end; }
teardown() { show_logs; }

@test "two replicators, each asked for half of the images: each image is copied once" {
    begin_anew one two
    ask_both one two source-far "$COPIES"
    wait_until 60 "all replicas" all_present "$COPIES"
    assert_each_copied_once "$COPIES"
    stop_service one
    stop_service two
}

@test "one of two replicators is killed midway: the other does all, what the first had under way once its lease is over" {
    local numbers
    begin_anew one two
    ask_both one two source-far "$COPIES"
    wait_until 60 "some of the replicas" some_present $((COPIES / 4))
    kill_service one
    [ "$(query "SELECT COUNT(*) FROM replicas WHERE state = 'present'")" -lt "$COPIES" ] ||
        die "all was done before the kill; nothing was shown"
    # A lease of 30 s, and the copies.
    wait_until 90 "all replicas" all_present "$COPIES"
    assert_good_end
    mapfile -t numbers < <(seq 0 $((COPIES - 1)))
    assert_whole source-far "${numbers[@]}"
}
