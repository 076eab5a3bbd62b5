#!/bin/sh
# Writes what the binaries are made of, as CycloneDX JSON: the host, and the static entrypoint with the target and the
# features that `make entrypoint` builds. The same commit gives the same bytes.
set -eu
cd "$(dirname "$0")/.."
command -v cargo-cyclonedx >/dev/null || {
    echo 'cargo-cyclonedx is missing: cargo install --locked cargo-cyclonedx' >&2
    exit 1
}
target=x86_64-unknown-linux-gnu
out=target/sbom
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
mkdir -p "$out"
# It knows no `--locked`.
cargo metadata --locked --format-version 1 >/dev/null
for package in sortie:host sortie-entrypoint:entrypoint; do
    crate=${package#*:}
    cargo cyclonedx --quiet --manifest-path "$crate/Cargo.toml" --format json --spec-version 1.5 --target "$target" \
        --no-build-deps --override-filename sbom
    python3 tests/sbom.py "$crate/sbom.json" "${package%:*}" "$target" >"$out/$crate.json"
    # It writes one beside each of our crates.
    find . -name target -prune -o -name sbom.json -exec rm {} +
done
ls -l "$out"
