#!/bin/sh
# Builds sortie's images with docker or podman, whichever answers, and prints their sizes.
#
#     images/build.sh [--no-cache] [--debian IMAGE] [IMAGE…]
#
# IMAGE is entrypoint, base or claude-code, and all of them unless one is named; --debian is what base is built from.
# They are called sortie-entrypoint, sortie-base, sortie-claude-code. Whoever has the static entrypoint already says where
# in SORTIE_STATIC_ENTRYPOINT; SORTIE_CONTAINER_TOOL says docker or podman.
set -eu

images=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "images: $1" >&2
    exit 1
}

debian=
fresh=
wanted=
while [ $# -gt 0 ]; do
    case $1 in
        --debian) [ $# -ge 2 ] || fail '--debian wants an image'; debian=$2; shift ;;
        --no-cache) fresh=$1 ;;
        entrypoint | base | claude-code) wanted="$wanted $1" ;;
        *) fail "\`$1\` is none of entrypoint, base, claude-code" ;;
    esac
    shift
done

tool=${SORTIE_CONTAINER_TOOL:-}
for candidate in docker podman; do
    [ -n "$tool" ] || ! "$candidate" info > /dev/null 2>&1 || tool=$candidate
done
[ -n "$tool" ] || fail 'neither docker nor podman answers: install one, or start it'

binary=${SORTIE_STATIC_ENTRYPOINT:-}
if [ -z "$binary" ]; then
    make -C "$images/.." entrypoint >&2
    binary=$images/../target/x86_64-unknown-linux-gnu/static/sortie-entrypoint
fi
[ -f "$binary" ] || fail "there is no entrypoint at \`$binary\`"

# One date for everything that is written, whenever that is: then the same sources make the same image, in so far as the
# tool allows. podman also dates the files; docker does so only with an exporter of its own.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1577836800}
export SOURCE_DATE_EPOCH
case $(basename "$tool") in
    podman*) dated="--timestamp $SOURCE_DATE_EPOCH" ;;
    *) dated="--build-arg SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# build IMAGE [ARGUMENT…]: from its directory and the entrypoint, and nothing else that lies about.
build() {
    image=$1
    shift
    cp -R "$images/$image" "$scratch/$image"
    install -m 0755 "$binary" "$scratch/$image/sortie-entrypoint"
    # shellcheck disable=SC2086 # several words, or none
    "$tool" build --platform linux/amd64 $dated $fresh --tag "sortie-$image" "$@" "$scratch/$image" >&2
    printf '%-12s %10d bytes\n' "$image" "$("$tool" image inspect --format '{{.Size}}' "sortie-$image")"
}

for image in ${wanted:-entrypoint base claude-code}; do
    case $image in
        entrypoint) build entrypoint ;;
        base) build base ${debian:+--build-arg "DEBIAN=$debian"} ;;
        claude-code)
            case " ${wanted:-base} " in
                *' base '*) ;;
                *) build base ${debian:+--build-arg "DEBIAN=$debian"} ;;
            esac
            build claude-code
            ;;
    esac
done
