# The verbs. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help run build config test test-many test-kill test-faults bench bench-compare test-bench check fuzz deny audit sbom conformance entrypoint size test-static claude-cli image test-images test-contract check-kit checkov test-registry clean

SHELL := /bin/sh
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
SORTIE := $(TARGET)/release/sortie
STATIC_TARGET := x86_64-unknown-linux-gnu
STATIC := $(TARGET)/$(STATIC_TARGET)/static/sortie-entrypoint

# What the user gave travels in the environment, as it was typed: neither make nor sh may read a `$$`,
# a quote or a `$$(…)` of theirs. `value` does not expand, and unexported, the originals are expanded by nobody.
unexport TASK CMD INPUTS
export SORTIE_MAKE_TASK := $(value TASK)
export SORTIE_MAKE_CMD := $(value CMD)
export SORTIE_MAKE_INPUTS := $(value INPUTS)

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r verb text; do printf '  make %-13s %s\n' "$$verb" "$$text"; done

# Without sortie.toml it is local mode; but who has applied the kit here has said where to run.
run: $(if $(wildcard $(SORTIE)),build-quietly,build) ## run a task: TASK=file.toml, or CMD='shell command' with INPUTS='name=path …'
	@[ -e sortie.toml ] || [ -z "$(wildcard terraform/terraform.tfstate terraform/.terraform/terraform.tfstate)" ] || { \
		outputs=$$(terraform -chdir=terraform output -json) || exit; \
		case $$outputs in \
		*sortie_toml*) $(MAKE) --no-print-directory config ;; \
		*) echo 'note: terraform has a state here, and no settings in it, so this runs on this machine; terraform -chdir=terraform apply makes them' >&2 ;; \
		esac; }
	@$(SORTIE) run --from-make

build: ## build the program: target/release/sortie
	$(CARGO) build --locked --release --package sortie

.PHONY: build-quietly
build-quietly:
	@$(CARGO) build --locked --quiet --release --package sortie

config: ## make sortie.toml from what `terraform apply` has made
	@terraform -chdir=terraform output -raw sortie_toml > sortie.toml.new && grep -q '^bucket = ' sortie.toml.new && mv sortie.toml.new sortie.toml || \
		{ rm -f sortie.toml.new; echo 'there are no settings yet: terraform -chdir=terraform apply' >&2; exit 1; }
	@echo 'sortie.toml is made: commit it, and type make run TASK=examples/wordcount.toml'

test: ## run the tests; needs Rust, make and a C compiler, no network once the crates are fetched
	$(CARGO) test --locked --workspace

test-many: ## run the slow tests: ten thousand tasks, a run that costs too much
	$(CARGO) test --locked --workspace --test e2e -- --ignored --nocapture

test-kill: ## kill sortie and its tasks all over a run, fill disks, starve, cancel: SORTIE_KILL_ROUNDS, SORTIE_KILL_SEED
	$(CARGO) test --locked --workspace --test kill -- --ignored --nocapture

test-faults: ## break every call in every way, and hold docs/faults.md against what comes of it: UPDATE=1 writes it anew
	$(CARGO) test --locked --workspace --test faults -- --ignored

bench: entrypoint ## measure each phase against the others' way: BENCH='pack again send container home start batches scaling', BENCH_LARGE=1 BENCH_DIR=place
	SORTIE_STATIC_ENTRYPOINT=$(STATIC) $(CARGO) bench --locked --quiet --package sortie --bench phases

test-bench: entrypoint ## let the bench run, once and not optimised: what it prints then means nothing
	BENCH='start again' BENCH_QUICK=1 BENCH_HISTORY=$(TARGET)/bench-test.jsonl SORTIE_STATIC_ENTRYPOINT=$(STATIC) $(CARGO) bench --locked --quiet --profile dev --package sortie --bench phases
	A=$$(git rev-parse HEAD) B=$$(git rev-parse HEAD) BENCH_HISTORY=$(TARGET)/bench-test.jsonl $(CARGO) bench --locked --quiet --profile dev --package sortie --bench phases

bench-compare: ## print what two commits took, as `make bench` has kept it: A=commit B=commit
	$(CARGO) bench --locked --quiet --package sortie --bench phases

check: ## formatting, lints, documentation, dependency guards
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --quiet
	tests/guards.sh

fuzz: ## make up bytes of strangers: FUZZ_SECONDS=20 for each target; needs cargo-fuzz
	fuzz/run.sh

deny: ## judge the dependencies' licences, duplicates and sources; needs cargo-deny
	$(CARGO) deny --locked check bans licenses sources
	@# Of its licences one is not allowed, and nothing of it is given away.
	$(CARGO) deny --locked --manifest-path fuzz/Cargo.toml --config deny.toml check bans sources

audit: ## ask what is known against the dependencies; needs cargo-deny, and reaches for the RustSec database
	tests/audit.sh

sbom: ## write down what the binaries are made of, into target/sbom/; needs cargo-cyclonedx
	tests/sbom.sh

# Built as `make test` builds it: another choice of packages would build every dependency once more. What the end to end
# tests ask of their emulators, and are answered, is judged too: where they have just run with a record of that, RECORD says
# where it is.
conformance: ## let Google's own clients and other servers judge the emulator and the bucket client
	$(CARGO) test --locked --workspace --no-run --quiet
	tests/conformance/run.sh target/debug/sortie
	d=$(RECORD); [ -n "$$d" ] || { d=$$(mktemp -d) && chmod 1777 "$$d" && SORTIE_EMULATOR_RECORD=$$d $(CARGO) test --locked --quiet --workspace --test e2e; } && tests/conformance/run.sh judge "$$d"; s=$$?; [ -n "$(RECORD)" ] || rm -rf "$$d"; exit $$s

# An explicit target keeps the flags off build scripts and macros. Without the second one a static binary would look
# for randomness in /dev, which an image may lack.
entrypoint: ## build the static entrypoint for images
	@[ -e $(STATIC).map ] || touch entrypoint/src/main.rs # cargo knows nothing of the linker's map
	RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"' $(CARGO) rustc --locked --profile static --target $(STATIC_TARGET) \
		--package sortie-entrypoint --bin sortie-entrypoint -- -C link-arg=-Wl,-Map=$(STATIC).map
	@ls -l $(STATIC)

size: entrypoint ## print what each dependency costs the static entrypoint, and fail above the budget
	tests/size.py $(STATIC)

test-static: entrypoint ## run the static entrypoint in an empty root directory
	SORTIE_STATIC_ENTRYPOINT=$(STATIC) $(CARGO) test --locked --workspace --features sortie-entrypoint/static-test --test static_root

claude-cli: ## let the real Claude Code CLI, which is fetched, judge what is made of it
	test -x target/claude-cli/venv/bin/python || python3 -m venv target/claude-cli/venv
	PYTHON=target/claude-cli/venv/bin/python tests/claude/fetch_cli.sh target/claude-cli
	SORTIE_CLAUDE_CLI=$(CURDIR)/target/claude-cli/claude $(CARGO) test --locked --workspace --features sortie/real-cli,sortie-claude/real-cli --test real_cli --test real_claude

image: entrypoint ## build the kit's images with docker or podman, and print their sizes: IMAGES='base …', DEBIAN=image for base
	@SORTIE_STATIC_ENTRYPOINT=$(STATIC) images/build.sh $(if $(DEBIAN),--debian $(DEBIAN)) $(IMAGES)

test-images: entrypoint ## build every image for real, and run tasks in them; as root it installs podman where it is missing
	$(CARGO) test --locked --workspace --no-run --quiet
	tests/kit/images.sh target/debug/sortie $(STATIC)

test-contract: ## apply the kit to the emulator and run its jobs: PROVIDER=installer of a stand-in for Google's
	$(CARGO) test --locked --workspace --no-run --quiet
	tests/kit/contract.sh target/debug/sortie $(PROVIDER)

check-kit: ## let a checker judge the kit: CHECKER=its path
	tests/kit/check.sh $(CHECKER)

checkov: ## let checkov judge the kit; it is 300 MB
	tests/kit/checkov.sh

test-registry: entrypoint ## put the entrypoint into images of a real registry, and run them; as root it installs what is missing
	tests/kit/install.sh docker-registry podman runc busybox:busybox-static
	SORTIE_STATIC_ENTRYPOINT=$(STATIC) $(CARGO) test --locked --workspace --features sortie-registry/docker-registry --test docker_registry

clean: ## remove what was built
	$(CARGO) clean
	rm -rf .venv
