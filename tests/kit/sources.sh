#!/bin/sh
# The images are built anew when what they are made of changes: terraform/images.tf must watch every crate that the
# entrypoint is compiled from.
set -eu

cd "$(dirname "$0")/../.."
compiled=$(cargo tree --locked --package sortie-entrypoint --prefix none --edges normal,build | sed -n "s|.*($PWD/\([a-z]*\)).*|\1|p" | sort -u | tr '\n' ,)
watched=$(sed -n 's/.*fileset(local.sources, "{\(.*\)}\/src\/\*\*").*/\1/p' terraform/images.tf | tr , '\n' | sort | tr '\n' ,)
[ "$compiled" = "$watched" ] || {
    echo "kit: the entrypoint is compiled from ${compiled%,}, and terraform/images.tf watches ${watched%,}" >&2
    exit 1
}
