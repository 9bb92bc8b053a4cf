"""Random programs compute the same after every pass, and every pass keeps the invariants."""

from __future__ import annotations

import random

import pytest

from pyebpf.backend.pipeline import optimize
from pyebpf.ir.ops import Module
from pyebpf.ir.text import parse_module, print_module
from tests.unit.ir.interp import Machine
from tests.unit.ir.random_ir import random_module

SEEDS = range(150)


def observations(module: Module, seed: int) -> list[object]:
    """What a few runs with different packets, contexts and missing map entries show."""
    rng = random.Random(seed)
    found = []
    for missing in (frozenset[str](), frozenset({"first"}), frozenset[str]()):
        packet = rng.randbytes(rng.choice((0, 14, 60, 100)))
        context = bytes(rng.choice((0, 14, 15, 16, 17, 255, rng.randrange(256))) for _ in range(24))
        found.append(Machine(module, packet, context, missing).observe("main"))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_every_pass_preserves_results(seed: int) -> None:
    module = random_module(seed, 6 + seed % 30)
    wanted = observations(module, seed)
    before = ""

    def observe(name: str, module: Module) -> None:
        nonlocal before
        got = observations(module, seed)
        assert got == wanted, f"{name} changed the result:\n{before}\n--- became ---\n{print_module(module)}"
        before = print_module(module)

    optimize(module, observer=observe, check=True, unaligned=bool(seed % 2))


@pytest.mark.parametrize("seed", range(40))
def test_text_round_trips(seed: int) -> None:
    module = random_module(seed, 20)
    for spans in (False, True):
        text = print_module(module, spans=spans)
        assert print_module(parse_module(text), spans=spans) == text
