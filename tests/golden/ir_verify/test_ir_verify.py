"""The IR verifier refuses what breaks an invariant: one folder entry for each way, named after the
invariant's number."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyebpf.diagnostics import InternalError
from pyebpf.ir import verify as verifier
from pyebpf.ir.text import parse_module
from tests.golden.cases import cases, check

CASES = cases(Path(__file__).parent)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_refused(path: Path) -> None:
    def compute(_: str, text: str) -> str:
        with pytest.raises(InternalError) as caught:
            verifier.verify(parse_module(text), after="golden")
        return str(caught.value)

    check(path, compute)


def test_every_invariant_has_a_case() -> None:
    doc = verifier.__doc__ or ""
    numbers = {line.split(".")[0] for line in doc.splitlines() if line[:2].strip(".").isdigit()}
    covered = {str(int(path.stem[:2])) for path in CASES}
    # Text cannot say these: a foreign target (3), foreign operands (4), a header that lies (19).
    assert numbers - covered == {"3", "4", "19"}
