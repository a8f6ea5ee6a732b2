#!/usr/bin/env bats
# The status page in a real Chromium, while 200 images are copied, some fail, and one registry has
# had too many requests. Pictures of it stay in target/page. Skipped where Chromium is missing.
# Runs once: it is not about the host of policies.

bats_require_minimum_version 1.5.0
load helpers
# shellcheck source=scripts/many.sh
. "$BATS_TEST_DIRNAME/../scripts/many.sh"

COPIES=200
IMAGES=5
LEDGER=sqlite
PICTURES="$ROOT/target/page"

has_browser() { command -v chromium >/dev/null && command -v chromedriver >/dev/null; }

setup_file() {
    has_browser || return 0
    work_begin
    # So slow that people see bars, and so far away that copies go on while they look.
    start_source_and_target
    start_proxy source-far source 60 2
    credentials source target source-far >"$WORK/credentials.json"
    publish_many "$COPIES"
    mkdir "$WORK/limited"
    free_port >"$WORK/limited/port"
    launch_and_wait limited "$ROOT/scripts/limited-registry.py" "$(port_of limited)"
    mkdir "$WORK/silent"
    free_port >"$WORK/silent/port"
    configure_replicator replicator "$WORK/credentials.json"
    printf 'page-token-%s' "$(openssl rand -hex 12)" >"$WORK/replicator/token"
    sed -i "s|$(address_of source)|$(address_of source-far)|; s|^status:|&\n  token: $WORK/replicator/token|; \
        s|^registries:|&\n  \"$(address_of limited)\": {plain_http: true}\n  \"$(address_of silent)\": {plain_http: true}|" \
        "$WORK/replicator/config.yaml"
    start_replicator replicator
}
teardown_file() { [ -z "${WORK:-}" ] || work_end; }
setup() { has_browser || skip "chromium and chromedriver are not installed; just page installs them"; }
teardown() { show_logs; }

url() { printf 'http://127.0.0.1:%s/' "$(cat "$WORK/replicator/status-port")"; }

# fail_some: images that are not there, of a registry that is not there, and of one that is no help.
fail_some() {
    local name
    for name in none/1 none/2 none/3; do
        curl_at replicator --output /dev/null "$(trigger_url shop source-far "shop/$name")"
    done
    curl_at replicator --output /dev/null "$(trigger_url cart limited hostile/app)"
    curl_at replicator --output /dev/null "$(trigger_url cart limited team/app)"
    curl_at replicator --output /dev/null "$(trigger_url team silent team/app)"
}

# nothing_waits: all that can be copied is, and nothing is worked on.
nothing_waits() {
    some_present "$COPIES" && [ "$(query 'SELECT COUNT(*) FROM replicas WHERE turn IS NOT NULL OR lease_owner IS NOT NULL')" = 0 ]
}

@test "while copies run, the page shows bars and answers a search" {
    fail_some
    mapfile -t numbers < <(seq 0 $((COPIES - 1)))
    ask_for replicator source-far "${numbers[@]}"
    "$BATS_TEST_DIRNAME/browser.py" busy "$(url)" "$PICTURES" >&3
}

@test "afterwards its figures are the ledger's, and with the token a failed copy is tried again" {
    wait_until 120 "all that can be copied" nothing_waits
    "$BATS_TEST_DIRNAME/browser.py" quiet "$(url)" "$PICTURES" "$WORK/replicator/ledger.db" \
        "$(cat "$WORK/replicator/token")" >&3
}

@test "an open page does not keep the replicator from ending, and finds it again" {
    local lib=". '$ROOT/scripts/lib.sh'"
    "$BATS_TEST_DIRNAME/browser.py" outage "$(url)" "$PICTURES" \
        "$lib; stop_service replicator" "$lib; start_replicator replicator" >&3
}
