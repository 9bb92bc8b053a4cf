"""Mutants from seeds: which program, which mutation, where; and what it changed in the text."""

from __future__ import annotations

import ast
import difflib
import random
from dataclasses import dataclass

from tests.mutants import changes, declarations, moves, removals
from tests.mutants.corpus import Original, originals
from tests.mutants.edits import OPERATORS

KINDS = (changes, declarations, moves, removals)
"""The modules whose mutations are in the table once they are imported."""

MISTAKES = (
    "calls_itself",
    "misspelled",
    "other_function",
    "other_program_type",
    "other_value",
    "outside_of_subset",
    "without_argument",
    "without_check_for_none",
    "without_return",
    "without_statement",
    "without_value",
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A program with one change. ``before`` and ``after``: the texts."""

    seed: int
    origin: str
    operator: str
    before: str
    after: str

    @property
    def diff(self) -> str:
        """What changed, with some lines around it."""
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=2)
        return "\n".join(list(lines)[2:])


def mutant(seed: int) -> Mutant:
    """Mutant number ``seed``: all kinds of mutation come equally often, in programs that have a place for them; those
    that nearly always leave something wrong twice as often."""
    rng = random.Random(f"mutant {seed}")
    operator = rng.choice([*sorted(OPERATORS), *MISTAKES])
    while True:
        made = mutate(rng.choice(originals()), operator, rng, seed)
        if made is not None:
            return made


def mutate(original: Original, operator: str, rng: random.Random, seed: int = 0) -> Mutant | None:
    """The program with a change of that kind somewhere; none if there is no place for it, or it changes nothing."""
    module = ast.parse(original.source)
    edits = list(OPERATORS[operator](module, rng))
    if not edits:
        return None
    rng.choice(edits)()
    after = ast.unparse(ast.fix_missing_locations(module))
    if after == original.source or not _is_python(after):
        return None
    return Mutant(seed, original.name, operator, original.source, after)


def _is_python(source: str) -> bool:
    try:
        compile(source, "<mutant>", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True
