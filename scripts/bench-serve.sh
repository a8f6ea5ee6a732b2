# shellcheck shell=bash
# `image-replicator serve` in the benchmark, asked by triggers as a policy's host asks. Part of
# bench-copy.sh.

# copies_by_serve IMAGES TLS DELAY_MS WORKERS SOURCE: triggers all images of that list and waits
# until all are copied. The figures go to stdout: wall ms, CPU ms, peak KiB; fails where a copy did.
# One source gets all workers but one.
copies_by_serve() {
    local images=$1 workers=$4 source=$5 target total pid cpu started deadline ended=0 running most=0
    target="$(address_of "$(place target "$2" "$3")")"
    total="$(wc -l <"$images")"
    rm -f "$WORK"/replicator/ledger.db*
    sed -i "s|^  root:.*|  root: $target/mirror|; s/^  workers:.*/  workers: $workers/" \
        "$WORK/replicator/config.yaml"
    start_replicator replicator
    pid="$(cat "$WORK/replicator/pid")"
    trigger_urls "$images" "$source" >"$WORK/clients/triggers"

    forget_requests
    cpu="$(cpu_ms "$pid")"
    started="$(now_ms)" deadline=$((SECONDS + 600))
    curl_at replicator --max-time 60 --config "$WORK/clients/triggers" >/dev/null || return 1
    while [ "$ended" -lt "$total" ]; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
        read -r ended running < <(progress_of_serve)
        [ "$running" -le "$most" ] || most=$running
    done
    echo "$(($(now_ms) - started)) $(($(cpu_ms "$pid") - cpu))" \
        "$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status")"
    echo "$most of $total copies were under way at once" >&2
    [ "$(metric_of_serve 'copies_total{result="copied"}')" -eq "$total" ] &&
        [ "$most" -ge "$((workers - 1 < total ? workers - 1 : total))" ]
}

# trigger_urls IMAGES SOURCE: a curl configuration, for one connection, that triggers them all.
trigger_urls() {
    local repository
    while read -r repository _; do
        printf 'url = "%s"\n' "$(trigger_url bench "$2" "$repository")"
    done <"$1"
}

metric_of_serve() {
    status_of replicator /metrics |
        awk -v name="image_replicator_$1" '$1 == name {value = $2} END {print value + 0}'
}

# Copies that ended, by whatever result, and that run.
progress_of_serve() {
    status_of replicator /metrics | awk '/^image_replicator_copies_total/ {ended += $2}
        /^image_replicator_copies_running / {running = $2} END {print ended + 0, running + 0}'
}

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# cpu_ms PID: user and system time so far.
cpu_ms() {
    awk -v ticks="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); print int(($12 + $13) * 1000 / ticks)}' \
        "/proc/$1/stat"
}
