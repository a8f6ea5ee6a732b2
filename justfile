# The one entry: `just` lists the recipes, `make demo` and `make test` need nothing before them.

set shell := ["bash", "-euo", "pipefail", "-c"]

export PATH := justfile_directory() / "target/tools/bin" + ":" + env("CARGO_HOME", home_directory() / ".cargo") / "bin" + ":" + env("PATH")
# The recipes for the native binaries and for bats agree on where they are.
export CARGO_TARGET_DIR := justfile_directory() / "target"

# In CI a Cargo.lock that does not fit the manifests is a mistake to be seen.
locked := if env("CI", "") == "" { "" } else { "--locked" }
nextest_profile := if env("CI", "") == "" { "default" } else { "ci" }

_list:
    @just --list --unsorted

# From a bare machine to replicated images, with the proof
demo: tools build policy
    scripts/demo.sh

# Everything that must pass before a change lands
test: tools lint chart alerts policy unit build _last
    @echo "--- closing lines"
    @grep -E '^ *Summary ' target/unit.log
    @tail -n 1 target/e2e.log

# End-to-end tests mostly wait, so fuzzing has what they leave of the processors.
[parallel]
_last: e2e (fuzz "all" "30")

# Install what is missing: Debian packages, wasm target, just, cargo-nextest, helm
tools:
    scripts/install-tools.sh

# Format
fmt:
    cargo fmt --all
    cargo fmt --manifest-path fuzz/Cargo.toml

# Formatting, clippy for both targets, dependencies, shell scripts
lint: && _lint-module _deny _shellcheck
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    cargo metadata {{ locked }} --manifest-path fuzz/Cargo.toml --format-version 1 >/dev/null
    cargo clippy {{ locked }} --workspace --all-targets -- -D warnings

# Clippy sees code for the module's target only where rustup has that target.
_lint-module:
    @if rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip1; then \
        cargo clippy {{ locked }} -p image-replicator-policy --lib --target wasm32-wasip1 -- -D warnings; \
    else echo "clippy for wasm32-wasip1: skipped, rustup does not have the target"; fi

# Licences, sources, bans. Older releases cannot read deny.toml.
_deny:
    @version="$(cargo deny --version 2>/dev/null | cut -d ' ' -f 2)" || true; \
    if [ -z "$version" ]; then echo "cargo deny: skipped, not installed"; \
    elif [ "$(printf '%s\n' 0.18.2 "$version" | sort -V | head -n 1)" != 0.18.2 ]; then \
        echo "cargo deny: skipped, $version is older than 0.18.2"; \
    else cargo deny check bans licenses sources; fi

# What became known of our dependencies; its database comes from the network
advisories:
    cargo deny check advisories

# The workflows of .github, by zizmor and actionlint
lint-workflows:
    scripts/lint-workflows.sh

_shellcheck:
    @if command -v shellcheck >/dev/null; then \
        shellcheck -x scripts/*.sh e2e-tests/*.bash e2e-tests/*.bats .ci/run; \
    else echo "shellcheck: skipped, not installed"; fi

# Alerts, tested on made-up series, and the dashboard's queries
alerts:
    scripts/alerts.sh

# Unit and property tests
unit:
    mkdir -p target
    cargo nextest run {{ locked }} --workspace --profile {{ nextest_profile }} 2>&1 | tee target/unit.log

# Copies with random faults at random points: `just faults SEED=7 N=10000`
faults SEED=env("SEED", "1") N=env("N", "1000"):
    FAULTS_SEED={{ trim_start_match(SEED, "SEED=") }} FAULTS_COPIES={{ trim_start_match(N, "N=") }} \
        cargo test {{ locked }} -p copy --test faults -- --nocapture

# Parsers on random input: `just fuzz TARGET SECONDS`, or `all` two at a time
fuzz TARGET="all" SECONDS="60":
    nice -n 19 scripts/fuzz.sh {{ TARGET }} {{ SECONDS }}

# Kills at random points: `SEED=7 KILLS=200 LEDGER=postgres VICTIM=postgres just kill`
kill: build
    scripts/kill.sh

# The module: ./policy.wasm
policy:
    scripts/build-policy.sh

# The module with its metadata, for a registry; needs kwctl
annotated-policy: policy
    kwctl annotate -m metadata.yml -u README.md -o annotated-policy.wasm policy.wasm

# The native binaries: image-replicator and policy-host. With the tests' own dependencies, so
# that cargo resolves features as `unit` does and builds nothing twice.
build:
    cargo build {{ locked }} --workspace --bins --tests

# The chart's tests, all or those named: `just chart test_access`
chart *NAMES:
    cd charts/tests && PYTHONPATH={{ justfile_directory() / "target/tools/python" }} PYTHONDONTWRITEBYTECODE=1 \
        python3 -m unittest {{ NAMES }}

# End-to-end tests on real registries, for all files or those given
e2e *FILES: build policy
    scripts/e2e.sh {{ FILES }}

# The status page in a real Chromium, which is installed if it is missing; pictures in target/page
page: build policy
    scripts/install-tools.sh page
    scripts/e2e.sh e2e-tests/page.bats

# Two replicators on one PostgreSQL with real copies, one of them killed; some 5 minutes
pair: build
    scripts/pair.sh

# `scripts/static.sh --tools amd64 arm64` installs what it takes.
# The image from static binaries in target/image, and its test: `just image amd64 arm64`
image *ARCHITECTURES: build
    rm -rf target/image
    binaries="$(scripts/static.sh {{ ARCHITECTURES }})"; \
        scripts/image.sh target/image $binaries && \
        BINARIES="$binaries" bats e2e-tests/image.bats

# What a trigger costs, alone and under the load of a large cluster; WRITE=1 puts it into docs/
bench-front:
    cargo build --release -p image-replicator --bins --examples
    @{ scripts/machine.sh && echo && target/release/examples/bench_front target/release/image-replicator calls; } | \
        scripts/table.sh bench-calls docs/benchmarks.md
    @{ scripts/machine.sh && target/release/examples/bench_front target/release/image-replicator cluster; } | \
        scripts/table.sh bench-front docs/scale.md

# Copies/s of many small images with one replicator and with two; WRITE=1 puts it into docs/
bench-ledger:
    cargo build --release -p image-replicator
    BIN=target/release scripts/bench-ledger.sh | scripts/table.sh bench-ledger docs/scale.md

# How long a plan over a made-up year of 100,000 images takes
bench-retention:
    cargo nextest run --workspace --bin image-replicator --no-capture of_a_year_of_100_000_images

# What an evaluation costs, beside a policy that does nothing; and the module's size
bench-policy: policy
    cargo build --release -p policy-host --example bench_policy
    target/release/examples/bench_policy policy.wasm

# Peak memory of a large copy, and a burst of reviews for one image
measure: policy
    cargo build --release -p image-replicator -p policy-host
    BIN=target/release scripts/measure.sh

# Copies beside skopeo, crane, regctl and curl, into docs/benchmarks.md; some 40 minutes
bench-copy:
    cargo build --release -p image-replicator
    BIN=target/release scripts/bench-copy.sh

# Write policy.wasm.lock
lock: policy
    scripts/lock.sh write

# Compare policy.wasm.lock with the sources, and with the module where the compiler is the same
lock-check: policy
    scripts/lock.sh check

# Remove all that was built
clean:
    cargo clean
    rm -f policy.wasm annotated-policy.wasm
