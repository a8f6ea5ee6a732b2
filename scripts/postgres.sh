# shellcheck shell=bash
# A private PostgreSQL of Debian's package, as the service `postgres`. For scripts with lib.sh.

# Its programs, of the newest version; they are not on PATH.
POSTGRES_PROGRAMS="$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)"

# Its programs refuse to run as root. No function: the process that is launched is to be its first.
AS_POSTGRES=()
[ "$(id -u)" != 0 ] || AS_POSTGRES=(setpriv --reuid=nobody --regid=nogroup --clear-groups)

# make_postgres: a cluster, running.
make_postgres() {
    local folder="$WORK/postgres"
    [ -n "$POSTGRES_PROGRAMS" ] || die "PostgreSQL is not installed; run scripts/install-tools.sh"
    mkdir -p "$folder"
    free_port >"$folder/port"
    chmod a+x "$WORK"
    mkdir "$folder/cluster"
    [ "$(id -u)" != 0 ] || chown nobody:nogroup "$folder/cluster"
    "${AS_POSTGRES[@]}" "$POSTGRES_PROGRAMS/initdb" --auth=trust --username=postgres --encoding=UTF8 \
        --locale=C --pgdata="$folder/cluster/data" >"$folder/log" 2>&1 ||
        die_with_log postgres "initdb failed"
    start_postgres
}

start_postgres() {
    launch_and_wait postgres "${AS_POSTGRES[@]}" "$POSTGRES_PROGRAMS/postgres" \
        -D "$WORK/postgres/cluster/data" -p "$(port_of postgres)" -h 127.0.0.1 \
        -k "$WORK/postgres/cluster"
    wait_until 20 "PostgreSQL takes connections" postgres_answers
}

postgres_answers() { postgres_query postgres 'SELECT 1' >/dev/null 2>&1; }

# kill_postgres: as a power cut does, all its processes at once.
kill_postgres() {
    local first processes
    first="$(head -n 1 "$WORK/postgres/cluster/data/postmaster.pid")"
    mapfile -t processes < <(pgrep -P "$first")
    kill -KILL "$first" "${processes[@]}" 2>/dev/null || true
    wait_until 10 "PostgreSQL's processes are gone" all_gone "$first" "${processes[@]}"
    kill_service postgres
}

# all_gone PID...: whether none of them runs.
all_gone() { ! kill -0 "$@" 2>/dev/null; }

postgres_url() { printf 'postgres://postgres@127.0.0.1:%s/%s' "$(port_of postgres)" "$1"; }

# postgres_query DATABASE SQL: its rows.
postgres_query() {
    PGOPTIONS='-c client_min_messages=warning' "$POSTGRES_PROGRAMS/psql" -X -q -A -t -v ON_ERROR_STOP=1 -U postgres -h 127.0.0.1 \
        -p "$(port_of postgres)" -d "$1" -c "$2"
}
