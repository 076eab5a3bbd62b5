"""Leaves in an SBOM what `cargo build --package` compiles.

cargo-cyclonedx reads the whole workspace's features, and so names crates that only our other programs need.
"""

import json
import os
import subprocess
import sys


def compiled(package, target):
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--package", package, "--target", target],
        check=True,
        capture_output=True,
        text=True,
    )
    words = (line.split() for line in tree.stdout.splitlines() if line)
    return {(name, version.removeprefix("v")) for name, version, *_ in words}


def main():
    path, package, target = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        # Ours are named by their paths, which are this machine's.
        bom = json.loads(file.read().replace(f"file://{os.getcwd()}", "file:"))
    kept = compiled(package, target)
    own = bom["metadata"]["component"]
    named = {(one["name"], one["version"]) for one in [*bom["components"], own]}
    if missing := kept - named:
        sys.exit(f"the SBOM of {package} lacks {sorted(missing)}")
    bom["components"] = [one for one in bom["components"] if (one["name"], one["version"]) in kept]
    refs = {one["bom-ref"] for one in [*bom["components"], own]}
    bom["dependencies"] = [
        {**one, "dependsOn": [ref for ref in one.get("dependsOn", []) if ref in refs]}
        for one in bom["dependencies"]
        if one["ref"] in refs
    ]
    json.dump(bom, sys.stdout, indent=2, sort_keys=True)
    print()


main()
