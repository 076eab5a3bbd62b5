#!/bin/sh
# Runs somebody's checker over the kit, with a Python that has what it needs.
#
#     tests/kit/check.sh PATH-TO-CHECK_KIT
set -eu

cd "$(dirname "$0")/../.."

fail() {
    echo "kit: $1" >&2
    exit 1
}

[ $# -eq 1 ] || fail "say where the checker is: $0 PATH"
command -v terraform > /dev/null || fail 'terraform is needed'
tests/kit/sources.sh
. tests/kit/venv.sh
PYTHON=$python exec "$1" terraform
