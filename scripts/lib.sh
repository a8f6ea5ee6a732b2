# shellcheck shell=bash
# Real parts on loopback: registries, images and replicators for the demo and the e2e tests.
#
# A service is a folder $WORK/NAME with the files port, pid, log, user and password: state lives
# in files, not in variables, since bats runs every test in a process of its own. Everything
# listens on 127.0.0.1 only, and everything is gone after `work_end`.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
BIN="${BIN:-$ROOT/target/debug}"
MODULE="${MODULE:-$ROOT/policy.wasm}"

# shellcheck source=scripts/curl.sh
. "$ROOT/scripts/curl.sh"
# shellcheck source=scripts/images.sh
. "$ROOT/scripts/images.sh"

# --- messages ------------------------------------------------------------------------------

# Ends the script (in bats: the test) with a reason.
die() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# Ends it with the reason and the last lines of a service's log.
die_with_log() {
    local name=$1
    shift
    printf -- '--- the last lines of %s:\n' "$WORK/$name/log" >&2
    tail -n 20 "$WORK/$name/log" >&2 || true
    die "$*"
}

# need COMMAND...: all of them are there, or a word on how to get them.
need() {
    local command missing=()
    for command; do
        command -v "$command" >/dev/null || missing+=("$command")
    done
    [ ${#missing[@]} -eq 0 ] || die "not found: ${missing[*]}; run scripts/install-tools.sh"
}

# wait_until SECONDS WHAT COMMAND...: tries until the command succeeds.
wait_until() {
    local seconds=$1 what=$2 deadline=$((SECONDS + $1))
    shift 2
    until "$@"; do
        ((SECONDS < deadline)) || die "waited $seconds s in vain: $what"
        sleep 0.1
    done
}

# --- the work folder -----------------------------------------------------------------------

work_begin() {
    need docker-registry skopeo umoci htpasswd jq openssl curl
    WORK="$(mktemp -d "${TMPDIR:-/tmp}/image-replicator.XXXXXX")"
    export WORK
    make_certificates
}

# Stops every service and removes every file. Safe to call twice.
work_end() {
    [ -d "${WORK:-}" ] || return 0
    local pid_file
    # All at once: PostgreSQL, for one, waits for those who are connected to it.
    for pid_file in "$WORK"/*/pid; do
        [ ! -e "$pid_file" ] || stop_service "$(basename "$(dirname "$pid_file")")" 3>&- &
    done
    wait
    rm -rf "$WORK"
}

# save_logs FOLDER: keeps the logs, but no key and no password, beyond `work_end`.
save_logs() {
    local log
    mkdir -p "$1"
    for log in "$WORK"/*/log; do
        [ -e "$log" ] && cp "$log" "$1/$(basename "$(dirname "$log")").log"
    done
}

# --- ports and processes -------------------------------------------------------------------

port_of() { cat "$WORK/$1/port"; }

# The name under which clients know a service: host and port.
address_of() { printf 'localhost:%s' "$(port_of "$1")"; }

listens_on() { (exec 9<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port that nobody listens on, and that this function has not given before.
free_port() {
    local port
    mkdir -p "$WORK/ports"
    while :; do
        # Below the range from which the kernel takes the ports of clients.
        port="$(shuf -i 20000-29999 -n 1)"
        if ! listens_on "$port" && mkdir "$WORK/ports/$port" 2>/dev/null; then
            printf '%s' "$port"
            return
        fi
    done
}

# launch NAME COMMAND...: runs it in the background.
launch() {
    local name=$1
    shift
    # Bats waits for whoever holds its descriptor 3.
    "$@" >>"$WORK/$name/log" 2>&1 </dev/null 3>&- &
    printf '%s' "$!" >"$WORK/$name/pid"
    # The shell need not tell how it ended; what ended by now is no job any more.
    disown 2>/dev/null || true
}

is_running() {
    local state
    # A zombie does not run: nobody may be there to reap it in a container.
    state="$(sed 's/.*) //; s/ .*//' "/proc/$(cat "$WORK/$1/pid")/stat" 2>/dev/null)" &&
        [ "$state" != Z ]
}

# launch_and_wait NAME COMMAND...: runs it and waits until its port answers.
launch_and_wait() {
    local name=$1 deadline=$((SECONDS + 20))
    launch "$@"
    until listens_on "$(port_of "$name")"; do
        is_running "$name" || die_with_log "$name" "$name ended at once"
        ((SECONDS < deadline)) || die_with_log "$name" "$name does not listen after 20 s"
        sleep 0.05
    done
}

# Asks a service to end, and makes it end if it does not: after the time that Kubernetes gives.
stop_service() {
    local name=$1 tries
    is_running "$name" || return 0
    kill -TERM "$(cat "$WORK/$name/pid")" 2>/dev/null || true
    for ((tries = 0; tries < 300; tries++)); do
        is_running "$name" || return 0
        sleep 0.1
    done
    kill_service "$name"
}

# What a crash or the kernel's out-of-memory killer does.
kill_service() {
    kill -KILL "$(cat "$WORK/$1/pid")" 2>/dev/null || true
    while is_running "$1"; do sleep 0.02; done
}

# --- certificates and passwords ------------------------------------------------------------

# One private authority and one certificate for all services. The leaf is signed by the
# authority and no authority itself: what strict clients ask for.
make_certificates() {
    local tls="$WORK/tls"
    mkdir -p "$tls/client"
    cat >"$tls/authority.conf" <<'CONF'
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = image-replicator test authority
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
CONF
    cat >"$tls/leaf.conf" <<'CONF'
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
CONF
    {
        openssl req -x509 -config "$tls/authority.conf" -days 2 -nodes \
            -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
            -keyout "$tls/authority.key" -out "$tls/ca.pem"
        openssl req -new -config "$tls/authority.conf" -subj /CN=localhost -nodes \
            -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
            -keyout "$tls/server.key" -out "$tls/server.csr"
        openssl x509 -req -in "$tls/server.csr" -days 2 -extfile "$tls/leaf.conf" \
            -CA "$tls/ca.pem" -CAkey "$tls/authority.key" -CAcreateserial -out "$tls/server.crt"
    } >"$tls/log" 2>&1 || die_with_log tls "openssl made no certificates"
    # skopeo reads authorities from a folder of *.crt files.
    cp "$tls/ca.pem" "$tls/client/ca.crt"
}

# make_account NAME: a user with a random password, and files that know both: for the service
# (htpasswd) and for curl (netrc).
make_account() {
    local folder="$WORK/$1"
    printf '%s-user' "$1" >"$folder/user"
    openssl rand -hex 12 | tr -d '\n' >"$folder/password"
    # The password comes by stdin: argv is for all to read. Cost 5 is the least, for speed.
    htpasswd -niB -C 5 "$(cat "$folder/user")" <"$folder/password" >"$folder/htpasswd"
    printf 'machine localhost login %s password %s\n' \
        "$(cat "$folder/user")" "$(cat "$folder/password")" >"$folder/netrc"
}

# credentials SERVICE[=PASSWORD]...: a docker config.json on stdout. A password that is given
# stands instead of the right one.
credentials() {
    local entry name password
    for entry; do
        name="${entry%%=*}"
        password="$(cat "$WORK/$name/password")"
        [ "$entry" = "$name" ] || password="${entry#*=}"
        printf '%s\t%s\n' "$(address_of "$name")" \
            "$(printf '%s:%s' "$(cat "$WORK/$name/user")" "$password" | base64 -w 0)"
    done | jq -Rn '{auths: ([inputs | split("\t") | {(.[0]): {auth: .[1]}}] | add)}'
}

# --- registries ----------------------------------------------------------------------------

# start_registry NAME: a docker-registry with TLS and a password, empty.
start_registry() {
    local name=$1 folder="$WORK/$1"
    mkdir -p "$folder/storage"
    free_port >"$folder/port"
    make_account "$name"
    cat >"$folder/config.yml" <<CONF
version: 0.1
log: {level: info}
storage:
  filesystem: {rootdirectory: "$folder/storage"}
  delete: {enabled: true}
http:
  addr: 127.0.0.1:$(port_of "$name")
  secret: "$(openssl rand -hex 16)"
  tls: {certificate: "$WORK/tls/server.crt", key: "$WORK/tls/server.key"}
auth:
  htpasswd: {realm: "$name", path: "$folder/htpasswd"}
CONF
    launch_and_wait "$name" docker-registry serve "$folder/config.yml"
}

# requests_at REGISTRY [METHODS]: how many requests its access log holds, by method or all.
requests_at() { grep -cE "\"(${2:-[A-Z]+}) /v2/" "$WORK/$1/log" || true; }

# start_proxy NAME SERVICE ROUND_TRIP_MS [MIB_PER_SECOND]: a slow way to a service, as one of its own.
start_proxy() {
    mkdir "$WORK/$1"
    free_port >"$WORK/$1/port"
    cp "$WORK/$2/user" "$WORK/$2/password" "$WORK/$1"
    launch_and_wait "$1" "$ROOT/scripts/delay-proxy.py" \
        "$(port_of "$1")" "$(port_of "$2")" "${@:3}"
}

# --- the replicator ------------------------------------------------------------------------

# configure_replicator NAME CREDENTIALS: all but starting it. CREDENTIALS is a docker
# config.json for the registries; every namespace gets every image.
configure_replicator() {
    local name=$1 credentials=$2 folder="$WORK/$1"
    mkdir -p "$folder"
    free_port >"$folder/port"
    free_port >"$folder/status-port"
    make_account "$name"
    cat >"$folder/config.yaml" <<CONF
front:
  listen: 127.0.0.1:$(port_of "$name")
  certificate: $WORK/tls/server.crt
  key: $WORK/tls/server.key
  callers: $folder/htpasswd
status:
  listen: 127.0.0.1:$(cat "$folder/status-port")
ledger: sqlite:$folder/ledger.db
target:
  root: $(address_of target)/mirror
  naming: nested
  credentials: registries
registries:
  "$(address_of source)":
    ca: $WORK/tls/ca.pem
  "$(address_of target)":
    ca: $WORK/tls/ca.pem
credentials:
  registries: $credentials
rules:
  - name: all
    sources: "**"
    credentials: registries
copy:
  workers: 4
CONF
}

start_replicator() {
    launch_and_wait "$1" "$BIN/image-replicator" serve --config "$WORK/$1/config.yaml"
    wait_until 20 "$1 is not ready; its log: $WORK/$1/log" is_ready "$1"
}

# trigger_url NAMESPACE REGISTRY REPOSITORY [REPLICATOR]: where the replicator is asked to begin a
# copy of that repository's tag `1`.
trigger_url() {
    printf 'https://%s/v2/v1/start/%s/tag/%s/%s/manifests/1' \
        "$(address_of "${4:-replicator}")" "$1" "$(address_of "$2" | tr : _)" "$3"
}

# status_of REPLICATOR PATH: a page of the second listener.
status_of() {
    curl --silent --show-error --fail --max-time 5 \
        "http://127.0.0.1:$(cat "$WORK/$1/status-port")$2"
}

is_ready() { status_of "$1" /readyz >/dev/null 2>&1; }

# --- the policy's host ---------------------------------------------------------------------

# configure_host REPLICATOR...: which certificates and passwords the host has for them.
configure_host() {
    local name
    mkdir -p "$WORK/host"
    credentials "$@" >"$WORK/host/config.json"
    for name; do
        printf '{"%s": [{"type": "Path", "path": "%s"}]}\n' "$(address_of "$name")" "$WORK/tls/ca.pem"
    done | jq -s '{source_authorities: add}' >"$WORK/host/sources.yaml"
}

# settings_for REPLICATOR MODE [ON_UNAVAILABLE]: the policy's settings on stdout.
settings_for() {
    jq -cn --arg replicator "$(address_of "$1")" --arg target "$(address_of target)/mirror" \
        --arg mode "$2" --arg unavailable "${3:-deny}" \
        '{replicator: $replicator, target: $target, mode: $mode, onUnavailable: $unavailable}'
}

# pod CONTAINER [INIT [EPHEMERAL [VOLUME]]]: a Pod on stdout with an image in each place.
pod() {
    jq --args '
        .spec.containers[0].image = $ARGS.positional[0]
        | if $ARGS.positional[1] then .spec.initContainers[0].image = $ARGS.positional[1]
          else del(.spec.initContainers) end
        | if $ARGS.positional[2] then .spec.ephemeralContainers[0].image = $ARGS.positional[2]
          else del(.spec.ephemeralContainers) end
        | if $ARGS.positional[3] then .spec.volumes[0].image.reference = $ARGS.positional[3]
          else del(.spec.volumes, .spec.containers[0].volumeMounts) end
    ' "$@" <"$ROOT/e2e-tests/fixtures/pod.json"
}

# request DRY_RUN: the Pod on stdin as an AdmissionRequest on stdout; DRY_RUN is true or false.
request() {
    jq --slurpfile request "$ROOT/e2e-tests/fixtures/request.json" --argjson dry_run "$1" \
        '. as $pod | $request[0] | .object = $pod | .dryRun = $dry_run'
}

# evaluate HOST REQUEST SETTINGS: the AdmissionResponse on stdout. HOST is kwctl or policy-host.
evaluate() {
    local command=("$BIN/policy-host")
    [ "$1" = policy-host ] || command=("$1")
    "${command[@]}" run --request-path "$2" --settings-json "$3" \
        --sources-path "$WORK/host/sources.yaml" --docker-config-json-path "$WORK/host" \
        "$MODULE" 2>>"$WORK/host/log" || die_with_log host "$1 gave no answer"
}

# start_policy_server HOST REPLICATOR MODE [OPTION...]: a policy server as the service `server`, by
# plain HTTP unless options name a certificate. HOST is policy-host, or kwctl for the real
# policy-server where that is on PATH, too.
start_policy_server() {
    local folder="$WORK/server"
    mkdir -p "$folder"
    policies_file "$2" "$3" >"$folder/policies.yaml"
    serve_policies "$1" "${@:4}"
}

# serve_policies HOST [OPTION...]: with the policies in $WORK/server/policies.yaml.
serve_policies() {
    local folder="$WORK/server" command
    free_port >"$folder/port"
    command=("$BIN/policy-host" serve --listen "127.0.0.1:$(port_of server)")
    if [ "$1" = kwctl ] && command -v policy-server >/dev/null; then
        # It asks for the module's metadata.
        kwctl annotate --metadata-path "$ROOT/metadata.yml" --output-path "$folder/policy.wasm" "$MODULE"
        sed -i "s|file://$MODULE|file://$folder/policy.wasm|" "$folder/policies.yaml"
        command=(policy-server --addr 127.0.0.1 --port "$(port_of server)"
            --readiness-probe-port "$(free_port)" --ignore-kubernetes-connection-failure
            --policies-download-dir "$folder" --sigstore-cache-dir "$folder/sigstore")
    fi
    launch_and_wait server "${command[@]}" --policies "$folder/policies.yaml" \
        --sources-path "$WORK/host/sources.yaml" --docker-config-json-path "$WORK/host" "${@:2}"
}

# policies_file REPLICATOR MODE: a policy server's list of policies on stdout, with ours.
policies_file() {
    jq -n --arg path "file://$MODULE" --argjson settings "$(settings_for "$1" "$2")" \
        '{"image-replicator": {module: $path, allowedToMutate: true, settings: $settings,
            hostCapabilities: ["oci/v1/oci_manifest"]}}'
}

# patch_of RESPONSE: its JSON patch on stdout, [] where there is none.
patch_of() { jq -r '.patch // "W10="' <<<"$1" | base64 -d; }

# apply_patch OBJECT PATCH: the object as the API server would store it.
apply_patch() { jq --argjson patch "$2" -f "$ROOT/scripts/apply-patch.jq" "$1"; }
