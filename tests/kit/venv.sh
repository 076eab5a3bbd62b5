# Sourced by the scripts beside it: $python is one that has what requirements.txt lists.
# shellcheck shell=sh
venv=target/kit-venv
wanted=$(cat tests/kit/requirements.txt)
if [ "$(cat "$venv/installed" 2> /dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    mkdir -p target
    python3 -m venv "$venv" || fail 'python3 has no venv module (Debian: apt-get install python3-venv)'
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement tests/kit/requirements.txt || fail 'the Python packages cannot be installed'
    printf '%s\n' "$wanted" > "$venv/installed"
fi
# shellcheck disable=SC2034 # whoever sources this uses it
python=$PWD/$venv/bin/python
