"""Allocate random functions and judge each result.

python -m tests.unit.allocate.fuzz --count 10000 --seed 0
"""

from __future__ import annotations

import argparse
import time

from pyebpf.backend import allocation_check, frame
from pyebpf.backend.allocate import allocate
from pyebpf.backend.machine import MachineFunction
from pyebpf.backend.machine_text import print_machine
from tests.unit.allocate.generator import random_function
from tests.unit.allocate.simulate import compare


def judge(function: MachineFunction, seed: int = 0, *, late_stores: bool = False) -> MachineFunction:
    """Allocate ``function`` and lay out its frame; gives what it was before. Raises if the result is wrong."""
    before = allocation_check.snapshot(function)
    allocate(function, late_stores=late_stores)
    allocation_check.check(before, function)
    frame.layout(function)
    compare(before, function, seed)
    return before


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    insns = 0
    for seed in range(options.seed, options.seed + options.count):
        try:
            before = judge(random_function(seed), seed, late_stores=seed % 4 == 0)
        except Exception:
            print(f"seed {seed} fails:")
            print(print_machine(random_function(seed)))
            raise
        insns += sum(len(b.insns) for b in before.blocks)
    seconds = time.perf_counter() - start
    print(f"{options.count} functions, {insns} instructions: all right, {seconds:.1f} s")


if __name__ == "__main__":
    main()
