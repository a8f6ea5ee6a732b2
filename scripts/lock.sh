#!/usr/bin/env bash
# policy.wasm.lock: what the module was made of, by whom, and what came out.
#   lock.sh write   from ./policy.wasm and the sources as they are; the digest also goes into
#                   artifacthub-pkg.yml
#   lock.sh check   whether the sources are those of the lock; and, with the same compiler,
#                   whether ./policy.wasm is the lock's to the byte
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
LOCK=policy.wasm.lock
TARGET=wasm32-wasip1

die() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# Everything that the module is built from, unit tests aside, with digests, in an order that no
# locale changes.
inputs() {
    { find src crates/{protocol,workload}/src -type f -name '*.rs' ! -path '*/tests.rs' ! -path '*/tests/*' &&
        printf '%s\n' Cargo.lock Cargo.toml crates/{protocol,workload}/Cargo.toml; } |
        LC_ALL=C sort | xargs sha256sum |
        jq -Rn '[inputs | capture("^(?<digest>[0-9a-f]{64})  (?<path>.+)$")
            | {key: .path, value: "sha256:\(.digest)"}] | from_entries'
}

lock() {
    local version
    version="$(cargo metadata --no-deps --format-version 1 |
        jq -r '.packages[] | select(.name == "image-replicator-policy").version')"
    jq -n --arg version "$version" \
        --arg sha256 "$(sha256sum policy.wasm | cut -d ' ' -f 1)" \
        --argjson size "$(wc -c <policy.wasm)" \
        --arg target "$TARGET" --arg compiler "$(scripts/build-policy.sh --compiler)" \
        --argjson inputs "$(inputs)" \
        '{version: $version, sha256: $sha256, size_bytes: $size, target: $target,
          compiler: $compiler, inputs: $inputs}'
}

[ -e policy.wasm ] || die "no policy.wasm; run: make policy.wasm"
case ${1:-} in
write)
    lock >"$LOCK.new"
    mv "$LOCK.new" "$LOCK"
    # What Artifact Hub tells people to expect.
    sed -i "s/^digest: .*/digest: $(jq -r .sha256 "$LOCK")/" artifacthub-pkg.yml
    echo "$LOCK: written, and its digest into artifacthub-pkg.yml"
    ;;
check)
    [ -e "$LOCK" ] || die "no $LOCK; run: make lock"
    now="$(lock)"
    # Lines that are only in the lock begin with <, those only in the sources with >.
    diff <(jq -S .inputs "$LOCK") <(jq -S .inputs <<<"$now") ||
        die "the sources are not those of $LOCK; run: make lock"
    [ "$(jq -r .version "$LOCK")" = "$(jq -r .version <<<"$now")" ] ||
        die "$LOCK is of version $(jq -r .version "$LOCK"); run: make lock"
    if [ "$(jq -r .compiler "$LOCK")" != "$(jq -r .compiler <<<"$now")" ]; then
        echo "$LOCK: the sources agree; the module is not compared, as $(jq -r .compiler "$LOCK") made it"
    elif [ "$(jq -r .sha256 "$LOCK")" = "$(jq -r .sha256 <<<"$now")" ]; then
        echo "$LOCK: sources and module agree"
    else
        die "policy.wasm has sha256 $(jq -r .sha256 <<<"$now"), $LOCK says $(jq -r .sha256 "$LOCK")"
    fi
    ;;
*) die "usage: lock.sh write|check" ;;
esac
