#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS each (20 if unset), beginning with its seeds and what earlier runs have found.
# What crashes one lies in fuzz/artifacts/<target> afterwards; it becomes a regression test.
set -eu
cd "$(dirname "$0")"
seconds=${FUZZ_SECONDS:-20}
targets=$(sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"$|\1|p' Cargo.toml)
command -v cargo-fuzz >/dev/null || {
    echo 'cargo-fuzz is missing: cargo install --locked cargo-fuzz' >&2
    exit 1
}
# A tree of its own, whatever the caller's is: it is built with other flags. They are not stable ones, and the compiler
# is.
unset CARGO_TARGET_DIR
export RUSTC_BOOTSTRAP=1
cargo metadata --locked --format-version 1 >/dev/null
cargo fuzz build --fuzz-dir . 2>build.log || {
    cat build.log >&2
    exit 1
}
for target in $targets; do
    mkdir -p "corpus/$target" "artifacts/$target"
    log=$(cargo fuzz run --fuzz-dir . "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 2>&1) || {
        printf '%s\n' "$log" | tail -n 80 >&2
        echo "fuzz: $target has found something" >&2
        exit 1
    }
    printf '%-10s %s\n' "$target" "$(printf '%s\n' "$log" | sed -n 's/^Done //p')"
done
