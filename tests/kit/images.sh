#!/bin/sh
# Builds every image for real and runs tasks in it, through sortie and its emulator.
#
#     tests/kit/images.sh PATH-TO-SORTIE PATH-TO-STATIC-ENTRYPOINT
#
# Nothing is pulled: the images are built from a Debian that is made here, of this machine's own package sources.
set -eu

cd "$(dirname "$0")/../.."

fail() {
    echo "images: $1" >&2
    exit 1
}

[ $# -eq 2 ] || fail "say where sortie and the static entrypoint are: $0 target/debug/sortie target/…/sortie-entrypoint"
SORTIE=$(realpath "$1")
SORTIE_STATIC_ENTRYPOINT=$(realpath "$2")

tests/kit/install.sh podman runc mmdebstrap docker-registry cc:gcc python3

scratch=$(mktemp -d)
unset CONTAINER_HOST CONTAINER_CONNECTION
export CONTAINERS_CONF="$scratch/containers.conf" CONTAINERS_STORAGE_CONF="$scratch/storage.conf"
clean() {
    status=$?
    # In our own storage alone, whatever this machine has beside it.
    [ ! -e "$scratch/storage.conf" ] || podman rm --all --force > /dev/null 2>&1 || true
    umount "$scratch/graph/overlay" 2> /dev/null || true
    rm -rf "$scratch"
    exit "$status"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Containers of our own, beside whatever this machine has; and limits that a machine without CAP_SYS_RESOURCE can set.
cat > "$scratch/containers.conf" << 'EOF'
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
EOF
cat > "$scratch/storage.conf" << EOF
[storage]
driver = "overlay"
graphroot = "$scratch/graph"
runroot = "$scratch/run"
EOF
# Nothing of the caller's may decide.
for name in $(env | sed -n 's/^\(SORTIE_[A-Za-z0-9_]*\)=.*/\1/p'); do
    [ "$name" = SORTIE_STATIC_ENTRYPOINT ] || unset "$name"
done
export SORTIE SORTIE_EMULATOR_IDLE=2min SORTIE_STATIC_ENTRYPOINT SORTIE_CONTAINER_TOOL=podman SCRATCH="$scratch"

# What a slim Debian image leaves out, too.
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
for sources in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    [ ! -s "$sources" ] || break
done
echo "== a Debian ($suite)"
mmdebstrap --quiet --variant=minbase \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    "$suite" "$scratch/debian.tar" "$sources"
podman import --quiet "$scratch/debian.tar" debian-bare > /dev/null
rm "$scratch/debian.tar"

# Where this machine trusts more than Debian does, builds must, too.
mkdir "$scratch/debian"
if bundle=$(sed -n 's/^cert *= *//p' /etc/pip.conf 2> /dev/null) && [ -n "$bundle" ]; then
    cp "$bundle" "$scratch/debian/machine.crt"
    printf 'FROM debian-bare\nCOPY machine.crt /etc/machine.crt\nRUN printf "[global]\\ncert = /etc/machine.crt\\n" > /etc/pip.conf\n' > "$scratch/debian/Dockerfile"
else
    printf 'FROM debian-bare\n' > "$scratch/debian/Dockerfile"
fi
podman build --quiet --tag debian-here "$scratch/debian" > /dev/null

echo '== the images'
images/build.sh --debian debian-here 2> "$scratch/build.log" || {
    tail -n 40 "$scratch/build.log" >&2
    fail 'the images cannot be built'
}

echo '== tasks in them'
python3 tests/kit/images.py -v
