"""``python -m tests.side_by_side [NAME...]``, as root: what our samples and bpftrace's tools say of the same workload.

Both watch it at the same time. Exit status 1: they differ; 2: bpftrace is missing, or root."""

from __future__ import annotations

import argparse
import itertools
import sys

from tests.side_by_side.pairs import PAIRS, Compared, obstacle

ROWS = 12


def show(name: str, found: Compared) -> None:
    """Both in columns, the first rows of them."""
    print(f"\n{name}: {'equal' if found.equal else 'DIFFERENT'}; {found.detail}")
    print(f"    {'pyebpf':<60} bpftrace")
    rows = list(itertools.zip_longest(found.ours, found.theirs, fillvalue="-"))
    different = [row for row in rows if row[0] != row[1]]
    for mine, other in (rows if found.equal else different)[:ROWS]:
        print(f"    {mine!s:<60.60} {other!s:.60}")


def main() -> int:
    """The exit status is 1 if something is different."""
    parser = argparse.ArgumentParser(prog="python -m tests.side_by_side", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PAIRS)} (all)")
    names: list[str] = parser.parse_args().names or list(PAIRS)
    reason = obstacle()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 2
    equal = True
    for name in names:
        found = PAIRS[name].run()
        show(name, found)
        equal = equal and found.equal
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
