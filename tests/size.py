#!/usr/bin/env python3
"""What each crate costs the static entrypoint, from the linker's map beside it; fails above the budget.

size.py BINARY

A function counts for the crate that it is named after: a generic one of the standard library for the crate whose types it
is made for, where its name tells. Constants have no names after optimisation, and are a line of their own.
"""

import re
import sys
from collections import Counter
from pathlib import Path

BUDGET = 4 << 20
STANDARD = {"core", "alloc", "std", "compiler_builtins", "__rustc", "addr2line", "gimli", "miniz_oxide", "rustc_demangle", "object", "hashbrown"}
# 6EC20  6EC20  1a4  16  file:(section)
PIECE = re.compile(r"^\s*([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+\s{9}(\S.*?):\((\S+)\)$")
KINDS = {".text": "code", ".rodata": "constants", ".data": "data", ".eh_frame": "unwinding", ".gcc_except_table": "unwinding"}
NEW_NAME = re.compile(r"Cs[0-9A-Za-z]*_(\d+)_?")
OLD_PATH = re.compile(r"([a-z_][a-z0-9_]*)\.\.")


def crates_of(symbol: str) -> list[str]:
    """Every crate that a mangled name mentions, in order."""
    if "_R" in symbol:
        ends = ((found.end(), int(found[1])) for found in NEW_NAME.finditer(symbol))
        return [symbol[end : end + length] for end, length in ends]
    names, at = [], symbol.find("_ZN") + 3
    while found := re.match(r"(\d+)", symbol[at:]):
        begin = at + found.end()
        names.append(symbol[begin : begin + int(found[1])])
        at = begin + int(found[1])
    if not names:
        return []
    first = [] if names[0].startswith("_$LT$") else [names[0]]
    return first + [crate for name in names for crate in OLD_PATH.findall(name)]


def known() -> set[str]:
    lock = Path(__file__).parent.parent / "Cargo.lock"
    names = re.findall(r'^name = "(.*)"$', lock.read_text(), re.MULTILINE)
    return {name.replace("-", "_") for name in names} | {name.removeprefix("sortie-") for name in names}


def owner(file: str, section: str, crates: set[str]) -> str:
    if "ring-" in file or "ring_core" in file:
        return "ring"
    if "libc.a" in file or "libresolv" in file or "/gcc/" in file or "crt" in Path(file).name:
        return "C library"
    named = [crate for crate in crates_of(section) if crate in crates or crate in STANDARD]
    own = [crate for crate in named if crate not in STANDARD]
    if own:
        return own[0]
    if named:
        return "standard library"
    if section.startswith((".eh_frame", ".gcc_except_table")):
        return "(tables for unwinding)"
    return "(constants)" if section.startswith((".rodata", ".data")) else "(no name)"


def main() -> None:
    binary = Path(sys.argv[1])
    crates, costs, kinds = known(), Counter(), Counter()
    for line in Path(f"{binary}.map").read_text().splitlines():
        piece = PIECE.match(line)
        if not piece or piece[1] == "0" or ".bss" in piece[4] or ".tbss" in piece[4]:
            continue
        size = int(piece[2], 16)
        who = owner(piece[3], piece[4], crates)
        costs[who] += size
        kind = next((kind for start, kind in KINDS.items() if piece[4].startswith(start)), "rest")
        kinds[who, kind] += size
    total = binary.stat().st_size
    costs["(headers, relocations, gaps)"] = total - sum(costs.values())
    print(f"{'crate':<30} {'bytes':>9} {'share':>6} {'code':>9} {'constants':>9}")
    small = Counter({who: size for who, size in costs.items() if size < 4096})
    for who, size in (costs - small).most_common():
        print(f"{who:<30} {size:>9,} {size / total:>6.1%} {kinds[who, 'code']:>9,} {kinds[who, 'constants']:>9,}")
    print(f"{f'{len(small)} more':<30} {small.total():>9,}")
    print(f"{'total':<30} {total:>9,} of {BUDGET:,}: {BUDGET - total:,} left")
    if total > BUDGET:
        sys.exit(f"{binary} is over its budget by {total - BUDGET:,} bytes")


main()
