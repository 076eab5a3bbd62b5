#!/bin/sh
# Installs what a test needs and this machine lacks.
#
#     tests/kit/install.sh COMMAND:PACKAGE…      PACKAGE alone, where the command has its name
set -eu

missing=
for wanted in "$@"; do
    command -v "${wanted%%:*}" > /dev/null || missing="$missing ${wanted#*:}"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" -eq 0 ] || {
    echo "these packages are needed:$missing" >&2
    exit 1
}
apt-get update -qq
# shellcheck disable=SC2086 # several packages
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
