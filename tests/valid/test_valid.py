"""A series of valid programs on every run of the tests; ``python -m tests.valid.run`` judges more."""

from __future__ import annotations

import ast
import os

import pytest

from tests.valid import pieces
from tests.valid.generate import KINDS, generate, kind_of
from tests.valid.pieces import Piece
from tests.valid.run import report, run
from tests.valid.writer import Writer

SERIES = 5
LENGTH = 16


@pytest.mark.skipif(os.geteuid() != 0, reason="running programs on the kernel needs root")
@pytest.mark.parametrize("series", range(SERIES))
def test_valid_programs_compile_load_and_are_right(series: int) -> None:
    tally = run(range(series * LENGTH, (series + 1) * LENGTH))
    assert not tally.failures, "\n".join(f"{seed}: {one.text}" for seed, one in tally.failures.items())
    assert tally.share >= 95, report(tally)


def test_programs_are_python_and_of_all_kinds() -> None:
    seeds = range(200)
    for seed in seeds:
        ast.parse(generate(seed))
    assert {kind_of(seed).decorator for seed in seeds} == {kind.decorator for kind in KINDS}


def test_a_program_is_the_same_every_time() -> None:
    assert generate(7) == generate(7)


def test_every_piece_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()

    def noted(name: str, piece: Piece) -> Piece:
        def use(w: Writer) -> None:
            used.add(name)
            piece(w)

        return use

    for name, piece in list(pieces.PIECES.items()):
        monkeypatch.setitem(pieces.PIECES, name, noted(name, piece))
    for seed in range(300):
        generate(seed)
    assert used == pieces.PIECES.keys()
