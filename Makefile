# The targets that users of Kubewarden policies know. All work is done by the justfile; this only
# brings `just` where it is missing.

export PATH := $(CURDIR)/target/tools/bin:$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

# Phony, the files too: what they are built from is cargo's to know.
.PHONY: demo test policy.wasm annotated-policy.wasm fmt lint e2e-tests lock lock-check clean just

demo test fmt lint lock lock-check clean: just
	@just $@

policy.wasm: just
	@just policy

annotated-policy.wasm: just
	@just annotated-policy

e2e-tests: just
	@just e2e

just:
	@command -v just >/dev/null || scripts/install-tools.sh
