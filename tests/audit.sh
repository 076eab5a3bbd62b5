#!/bin/sh
# Asks the RustSec database what is known against the dependencies. It is a git repository, which not every machine can
# reach: then nobody has looked, which is said, and the exit code is 75.
set -u
cd "$(dirname "$0")/.."
command -v cargo-deny >/dev/null || {
    echo 'cargo-deny is missing: cargo install --locked cargo-deny' >&2
    exit 1
}
if ! log=$(timeout 120 cargo deny --locked fetch db 2>&1); then
    printf '%s\n' "$log" >&2
    echo 'not audited: the RustSec database cannot be reached, so nobody has looked for advisories' >&2
    exit 75
fi
exec cargo deny --locked check advisories
