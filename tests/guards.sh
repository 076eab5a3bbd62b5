#!/bin/sh
# Rules that the compiler cannot hold: which crates may meet which, and words that must not stand in the tree.
set -eu
cd "$(dirname "$0")/.."
failed=0

fail() {
    echo "guard: $1" >&2
    failed=1
}

# absent CRATE-REGEX PACKAGE WHY
absent() {
    tree=$(cargo tree --locked --quiet --edges normal --prefix none --package "$2")
    if found=$(echo "$tree" | grep -E "^($1) v"); then
        fail "$2 depends on $(echo "$found" | sort -u | tr '\n' ' '): $3"
    fi
}

absent 'clap|gcp_auth|h2|openssl|native-tls|aws-lc-rs|chrono' sortie-entrypoint 'the static entrypoint stays small'
absent 'openssl|native-tls|aws-lc-rs' sortie 'ring is the one TLS provider'
absent 'sortie-wire|sortie-archive' sortie-emulator 'a wrong field name must not stand on both sides and pass'
absent 'clap|sortie-emulator|sortie-sandbox' sortie-wire 'wire knows no command line and no server'
absent 'clap|sortie-emulator|openssl|native-tls|aws-lc-rs' sortie-registry 'one HTTP stack, no command line'
absent 'tokio|reqwest|clap|sortie-wire' sortie-claude 'a Claude run is bytes and directories'
absent 'tokio|reqwest|sortie-wire' sortie-archive 'the format knows no network'

# words REGEX WHY
words() {
    if found=$(git grep -nIE "$1" -- ':!tests/guards.sh' ':!*Cargo.lock' ':!.ci'); then
        fail "$2:
$found"
    fi
}

words '\b(todo|unimplemented)!' 'left undone'
words '\b(TODO|FIXME|XXX)\b' 'left undone'
words '\.\./(shared|\.library)' 'the repository stands alone'
words '(crates\.io|pypi\.org|deb\.debian\.org|registry\.npmjs)' 'registries are reached through their clients, by no name'

# The emulator must not know sortie's names.
if found=$(grep -rnE '"(inputs|runs)/|SORTIE_' emulator/src); then
    fail "the emulator knows sortie's names:
$found"
fi

# Where `unsafe` may stand. That each block says why it is sound, and does one thing, is clippy's to see.
unsafe='emulator/src/run/launch.rs
entrypoint/src/glibc.rs
entrypoint/src/spawn.rs
host/src/core_files.rs
host/src/local/supervise.rs
sandbox/src/kernel.rs'
found=$(git grep -lE '\bunsafe +(\{|fn|impl|trait|extern)' -- '*.rs' || true)
if [ "$found" != "$unsafe" ]; then
    fail "unsafe stands in other files than are listed here:
$found"
fi

exit $failed
