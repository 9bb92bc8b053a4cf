"""The checks that the verifier asks for, in Python and in C: ``python -m benchmarks.idioms`` compares the instructions.

Exits with 1 if pyebpf needs more for one of them than clang, or if a program does something else than its twin.
"""

from __future__ import annotations

import sys

from benchmarks.build import find_clang
from benchmarks.idioms.compare import compare


def main() -> int:
    """Print the table."""
    clang = find_clang()
    found = compare(clang)
    print(f"instructions, with those of the functions that are called; {clang}\n")
    for one in found:
        print(f"{one.name:20} pyebpf {one.ours:4}   clang {one.clang:4}   {one.ours / one.clang:.2f}")
    more = [one.name for one in found if one.ours > one.clang]
    print(
        f"\n{len(found)} idioms, {len(more)} with more instructions than clang: {', '.join(more) or 'none'}"
    )
    return 1 if more else 0


if __name__ == "__main__":
    sys.exit(main())
