#!/bin/sh
# Puts the real Claude Code CLI into a directory, as `claude`: it comes inside a Python wheel, of which the version and
# the content are pinned. What is there already is kept.
#
#     tests/claude/fetch_cli.sh DIRECTORY
#
# `PYTHON` names a Python that has pip, where `python3` is none.
set -eu

VERSION=0.2.188
SHA256=00a6ee72f8d7eb3b027ba8883ecd32108106ecf46068cb632c4401be465c9364

python=${PYTHON:-python3}
directory=${1:?"usage: $0 DIRECTORY"}
stamp="$directory/.claude-$VERSION"
if [ -x "$directory/claude" ] && [ -e "$stamp" ]; then
    exit 0
fi
mkdir -p "$directory"
work=$(mktemp -d "$directory/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
printf 'claude-agent-sdk==%s --hash=sha256:%s\n' "$VERSION" "$SHA256" >"$work/requirements.txt"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --platform manylinux_2_17_x86_64 --dest "$work" --requirement "$work/requirements.txt"
"$python" - "$work" <<'PYTHON'
import pathlib, shutil, sys, zipfile

work = pathlib.Path(sys.argv[1])
(wheel,) = work.glob("*.whl")
with zipfile.ZipFile(wheel) as archive, archive.open("claude_agent_sdk/_bundled/claude") as source:
    with open(work / "claude", "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
chmod 755 "$work/claude"
"$work/claude" --version >/dev/null
mv "$work/claude" "$directory/claude"
touch "$stamp"
