#!/bin/sh
# checkov's opinion of terraform/ and images/. It is 300 MB, hence a verb of its own.
set -eu

cd "$(dirname "$0")/../.."
venv=target/checkov-venv
[ -x "$venv/bin/checkov" ] || {
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check checkov==3.3.30
}
exec "$venv/bin/checkov" --config-file tests/kit/checkov.yaml
