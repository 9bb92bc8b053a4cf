"""The first valid programs (``tests.valid``), built on the host; ``python -m tests.vm.valid`` tries more of them."""

from __future__ import annotations

from pathlib import Path

from tests.vm.cases import Fate, pinned, read_cases, try_case, write_cases

COUNT = 30
HARD = (341, 6938, 8245)
"""Those that a kernel once refused."""


def prepare(folder: Path) -> None:
    """Build them."""
    from tests.vm.valid import build

    write_cases(folder / "cases", build((*range(COUNT), *HARD)).cases)


def test_valid_programs_are_loaded_and_right(prepared: Path) -> None:
    cases = read_cases(prepared / "cases")
    assert len(cases) >= COUNT * 95 // 100
    with pinned():
        results = [try_case(case) for case in cases]
    wrong = [result for result in results if result.fate is not Fate.RIGHT]
    assert not wrong, "\n".join(f"{one.name}: {one.fate.value}\n{one.text}" for one in wrong)
    assert sum(result.runs for result in results) >= COUNT
