# The verbs. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help run build test test-many check conformance entrypoint test-static claude-cli size clean

SHELL := /bin/sh
CARGO ?= cargo
SORTIE := target/release/sortie
STATIC_TARGET := x86_64-unknown-linux-gnu
STATIC := target/$(STATIC_TARGET)/static/sortie-entrypoint

# What the user gave travels in the environment, as it was typed: neither make nor sh may read a `$$`,
# a quote or a `$$(…)` of theirs. `value` does not expand, and unexported, the originals are expanded by nobody.
unexport TASK CMD INPUTS
export SORTIE_MAKE_TASK := $(value TASK)
export SORTIE_MAKE_CMD := $(value CMD)
export SORTIE_MAKE_INPUTS := $(value INPUTS)

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r verb text; do printf '  make %-12s %s\n' "$$verb" "$$text"; done

run: $(if $(wildcard $(SORTIE)),build-quietly,build) ## run a task: TASK=file.toml, or CMD='shell command' with INPUTS='name=path …'
	@$(SORTIE) run --from-make

build: ## build the program: target/release/sortie
	$(CARGO) build --release --package sortie

.PHONY: build-quietly
build-quietly:
	@$(CARGO) build --quiet --release --package sortie

test: ## run the tests; needs Rust, make and a C compiler, no network once the crates are fetched
	$(CARGO) test --workspace

test-many: ## run the slow tests: ten thousand tasks, a run that costs too much
	$(CARGO) test --workspace --test e2e -- --ignored --nocapture

check: ## formatting, lints, documentation, dependency guards
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --quiet
	tests/guards.sh

# Built as `make test` builds it: another choice of packages would build every dependency once more.
conformance: ## let Google's own clients and other servers judge the emulator and the bucket client
	$(CARGO) test --workspace --no-run --quiet
	tests/conformance/run.sh target/debug/sortie

# An explicit target keeps the flags off build scripts and macros. Without the second one a static binary would look
# for randomness in /dev, which an image may lack.
entrypoint: ## build the static entrypoint for images
	RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"' $(CARGO) build --profile static --target $(STATIC_TARGET) --package sortie-entrypoint
	@ls -l $(STATIC)

test-static: entrypoint ## run the static entrypoint in an empty root directory
	SORTIE_STATIC_ENTRYPOINT=$(CURDIR)/$(STATIC) $(CARGO) test --workspace --features sortie-entrypoint/static-test --test static_root

claude-cli: ## let the real Claude Code CLI, which is fetched, judge what is made of it
	test -x target/claude-cli/venv/bin/python || python3 -m venv target/claude-cli/venv
	PYTHON=target/claude-cli/venv/bin/python tests/claude/fetch_cli.sh target/claude-cli
	SORTIE_CLAUDE_CLI=$(CURDIR)/target/claude-cli/claude $(CARGO) test --workspace --features sortie/real-cli,sortie-claude/real-cli --test real_cli --test real_claude

clean: ## remove what was built
	$(CARGO) clean
	rm -rf .venv
