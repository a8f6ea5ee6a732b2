#!/usr/bin/env bats
# The image as scripts/image.sh makes it: from registry to registry by its own binary, and run
# as its user from what a client unpacks.
# Runs once: it is not about the host of policies.
#
# BINARIES has what is in it, by architecture: by default the debug binary, which needs libraries
# of this machine. `just image` gives static ones, which need nothing.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    work_begin
    start_source_and_target
    configure_replicator replicator "$WORK/skopeo/auth.json"
    if [ -z "${BINARIES:-}" ]; then
        strip -o "$WORK/debug-binary" "$BIN/image-replicator"
        BINARIES="$(dpkg --print-architecture)=$WORK/debug-binary"
    fi
    export BINARIES
    make_layout first
}
teardown_file() { work_end; }
setup() { image="$(address_of source)/image-replicator:1"; }
teardown() { show_logs; }

# make_layout NAME: the image, in $WORK/images/NAME; its digest goes to NAME.digest.
make_layout() {
    # shellcheck disable=SC2086,SC2153 # one word for each; ROOT is scripts/lib.sh's
    "$ROOT/scripts/image.sh" "$WORK/images/$1" $BINARIES >"$WORK/images/$1.digest"
}

copy() { "$BIN/image-replicator" copy "$@" --config "$WORK/replicator/config.yaml"; }

# shellcheck disable=SC2086 # one word for each architecture
architectures() { printf '%s\n' $BINARIES | cut -d = -f 1; }

# unpack ARCHITECTURE: pulls it from the target; its root is $WORK/bundle-ARCHITECTURE/rootfs.
unpack() {
    skopeo --insecure-policy --override-arch "$1" copy --quiet --authfile "$WORK/skopeo/auth.json" \
        --src-cert-dir "$WORK/tls/client" "docker://$(replica_of "$image")" "oci:$WORK/images/pulled:$1"
    umoci unpack --image "$WORK/images/pulled:$1" "$WORK/bundle-$1"
}

# emulator_of ARCHITECTURE: the program that runs it here, if this machine cannot (qemu-user-static).
emulator_of() {
    local machine=x86_64
    [ "$1" != arm64 ] || machine=aarch64
    [ "$1" = "$(dpkg --print-architecture)" ] || command -v "qemu-$machine-static"
}

# furnish ARCHITECTURE: adds what the kubelet mounts, and what a debug or a foreign binary needs.
furnish() {
    local root="$WORK/bundle-$1/rootfs" library
    mkdir -p "$root$WORK"
    cp /etc/hosts "$root/etc/hosts"
    cp -r "$WORK/tls" "$WORK/skopeo" "$WORK/replicator" "$root$WORK"
    # Whom the image trusts is one of its files: with our authority in it the configuration needs none.
    cat "$WORK/tls/ca.pem" >>"$root/etc/ssl/certs/ca-certificates.crt"
    sed -i 's|^    ca: .*|    requests_at_once: 8|' "$root$WORK/replicator/config.yaml"
    chown -R 65532:65532 "$root$WORK"
    for library in $(emulator_of "$1") \
        $(ldd "$root/usr/local/bin/image-replicator" 2>/dev/null | grep -oE '/[^ ]+'); do
        install -D "$library" "$root$library"
    done
}

# enter ARCHITECTURE: makes `in_image` the command that runs the image's binary in its root, as its
# user, without this machine's environment.
enter() {
    in_image=(env -i "$(command -v chroot)" --userspec=65532:65532 "$WORK/bundle-$1/rootfs")
    # shellcheck disable=SC2207 # one word, or none
    in_image+=($(emulator_of "$1") /usr/local/bin/image-replicator)
}

@test "image: the same files make the same image" {
    make_layout second
    diff -r "$WORK/images/first" "$WORK/images/second"
    diff "$WORK/images/first.digest" "$WORK/images/second.digest"
}

@test "image: its own binary copies it whole, and finds nothing wrong with the copy" {
    skopeo_copy "oci:$WORK/images/first" "docker://$image"
    [ "$(digest_of "$image")" = "$(cat "$WORK/images/first.digest")" ]
    copy "$image" "$(replica_of "$image")"
    assert_same_image "$image" "$(replica_of "$image")"
    "$BIN/image-replicator" verify "$(replica_of "$image")" --config "$WORK/replicator/config.yaml"
}

@test "image: it has the binary, certificates, a user, and nothing else" {
    [ "$(id -u)" -eq 0 ] || skip "only root unpacks what is root's"
    local architecture expected
    expected="$(printf '%s\n' . ./etc ./etc/group ./etc/passwd ./etc/ssl ./etc/ssl/certs \
        ./etc/ssl/certs/ca-certificates.crt ./tmp ./usr ./usr/local ./usr/local/bin \
        ./usr/local/bin/image-replicator)"
    for architecture in $(architectures); do
        unpack "$architecture"
        diff <(echo "$expected") <(cd "$WORK/bundle-$architecture/rootfs" && find . | LC_ALL=C sort)
        # Nobody but root can change it.
        [ -z "$(find "$WORK/bundle-$architecture/rootfs" -not -name tmp \( -not -user 0 -or -perm /022 \))" ]
    done
}

@test "image: the Containerfile starts the same, as the same user" {
    local config instruction="$ROOT/Containerfile"
    of_last() { sed -n "/^FROM scratch/,\$s/^$1 //p" "$instruction"; }
    config="$(skopeo --insecure-policy inspect --config --cert-dir "$WORK/tls/client" \
        --authfile "$WORK/skopeo/auth.json" "docker://$(replica_of "$image")")"
    diff <(jq -S . <<<"$(of_last ENTRYPOINT)") <(jq -S .config.Entrypoint <<<"$config")
    diff <(jq -S . <<<"$(of_last CMD)") <(jq -S .config.Cmd <<<"$config")
    [ "$(of_last USER) $(of_last ENV) $(of_last WORKDIR)" = \
        "$(jq -r '"\(.config.User) \(.config.Env[0]) \(.config.WorkingDir)"' <<<"$config")" ]
    jq -r '.config.Labels | to_entries[] | select(.key | endswith(".version") | not)
        | "\(.key)=\"\(.value)\""' <<<"$config" | while read -r label; do
        grep -qF "$label" "$instruction" || die "the Containerfile has no $label"
    done
}

@test "image: from its own root, as its own user, it copies and serves" {
    [ "$(id -u)" -eq 0 ] || skip "only root may change the root"
    local architecture config="$WORK/replicator/config.yaml" status
    for architecture in $(architectures); do
        furnish "$architecture"
        enter "$architecture"
        "${in_image[@]}" --version
        "${in_image[@]}" copy --config "$config" "$image" \
            "$(address_of target)/from/$architecture:1"
        assert_same_image "$image" "$(address_of target)/from/$architecture:1"

        status="$(cat "$WORK/replicator/status-port")"
        launch replicator "${in_image[@]}" serve --config "$config"
        wait_until 30 "/healthz" curl --silent --fail "http://127.0.0.1:$status/healthz"
        wait_until 30 "/readyz" curl --silent --fail "http://127.0.0.1:$status/readyz"
        stop_service replicator
        run ! listens_on "$status"
        [ -s "$WORK/bundle-$architecture/rootfs$WORK/replicator/ledger.db" ]
    done
}
