#!/usr/bin/env bats
# The real binary on what the Helm chart makes: charts/tests/folder.py puts it on disk as pods see it.
# Runs once: it is not about the host of policies.

bats_require_minimum_version 1.5.0
load helpers
# shellcheck source=scripts/postgres.sh
. "$ROOT/scripts/postgres.sh"

setup_file() { work_begin; }
teardown_file() { work_end; }
teardown() { show_logs; }

# lay_out VARIANT: what its pods see is in $WORK/VARIANT.
lay_out() {
    mkdir -p "$WORK/$1"
    PATH="$ROOT/target/tools/bin:$PATH" PYTHONPATH="$ROOT/target/tools/python" \
        python3 "$ROOT/charts/tests/folder.py" "$1" "$WORK/$1"
}

@test "chart: the configuration of each variant is read, and allows what helm test asks about" {
    local file variant arguments
    for file in "$ROOT"/charts/image-replicator/ci/*.yaml; do
        variant="$(basename "$file" .yaml)"
        lay_out "$variant"
        mapfile -t arguments <"$WORK/$variant/test"
        "$BIN/image-replicator" "${arguments[@]}" || die "$variant: ended with $?"
    done
}

@test "chart: the policy takes the settings of each variant, and leaves its own namespace alone" {
    local file variant seen=0
    mkdir -p "$WORK/host"
    echo '{}' >"$WORK/host/config.json"
    echo '{}' >"$WORK/host/sources.yaml"
    pod nginx:1 | request false | jq '.namespace = "image-replicator"' >"$WORK/request.json"
    for file in "$ROOT"/charts/image-replicator/ci/*.yaml; do
        variant="$(basename "$file" .yaml)"
        lay_out "$variant"
        # Without a CA there is no policy yet.
        [ "$variant" != cert-manager ] || continue
        take_answer "$(evaluate "$HOST" "$WORK/request.json" "$(cat "$WORK/$variant/settings")")"
        assert_allowed
        [ "$(replacements)" = '' ]
        seen=$((seen + 1))
    done
    [ "$seen" -ge 8 ]
}

# serve VARIANT: starts its replicator, on ports of our own.
serve() {
    local name=$1 arguments
    free_port >"$WORK/$name/port"
    free_port >"$WORK/$name/status-port"
    sed -i "s/0\.0\.0\.0:8443/127.0.0.1:$(port_of "$name")/
            s/0\.0\.0\.0:9090/127.0.0.1:$(cat "$WORK/$name/status-port")/" "$WORK/$name/config.yaml"
    mapfile -t arguments <"$WORK/$name/serve"
    launch_and_wait "$name" "$BIN/image-replicator" "${arguments[@]}"
    wait_until 20 "$name is not ready" is_ready "$name"
}

# ask_front VARIANT CURL-ARGUMENT...: the status code for who trusts what the policy server trusts.
ask_front() {
    local name=$1 address
    address="$(cat "$WORK/$name/address")"
    curl --silent --show-error --cacert "$WORK/$name/ca.pem" --write-out '%{http_code}' \
        --output /dev/null --connect-to "$address:127.0.0.1:$(port_of "$name")" \
        "${@:2}" "https://$address/v2/"
}

@test "chart: the front answers with the certificate and password that the policy server has" {
    lay_out small
    serve small
    [ "$(ask_front small --netrc-file "$WORK/small/netrc")" = 200 ]
    [ "$(ask_front small)" = 401 ]
}

postgres_asks_for_passwords() { ! postgres_answers; }

@test "chart: PostgreSQL's user and password come from the environment" {
    make_postgres
    postgres_query postgres "CREATE USER app PASSWORD 'of-the-secret'"
    postgres_query postgres 'CREATE DATABASE ledger OWNER app'
    sed -i 's/trust$/scram-sha-256/' "$WORK/postgres/cluster/data/pg_hba.conf"
    kill -HUP "$(head -n 1 "$WORK/postgres/cluster/data/postmaster.pid")"
    wait_until 20 "PostgreSQL does not ask for passwords" postgres_asks_for_passwords

    lay_out ha
    sed -i "s|^ledger:.*|ledger: postgres://127.0.0.1:$(port_of postgres)/ledger?sslmode=disable|" \
        "$WORK/ha/config.yaml"
    PGUSER=app PGPASSWORD=of-the-secret serve ha
    ! PGUSER=app PGPASSWORD=another timeout 20 "$BIN/image-replicator" serve \
        --config "$WORK/ha/config.yaml" >"$WORK/ha/refused" 2>&1 || die "any password will do"
    assert_says "$(cat "$WORK/ha/refused")" 'password authentication failed'
}
