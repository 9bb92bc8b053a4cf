"""Golden cases as text files: an input section, then the outputs that it must give.

A section starts with ``==== NAME``. ``check`` recomputes every output section and compares; with
``PYEBPF_BLESS=1`` in the environment it writes the file anew instead (never in CI), and the difference is
read in the diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_MARK = "==== "


def cases(folder: Path) -> list[Path]:
    """The case files of ``folder``."""
    found = sorted(folder.glob("*.txt"))
    assert found, f"no cases in {folder}"
    return found


def sections(path: Path) -> dict[str, str]:
    """The sections of a case by name, in order."""
    parts = path.read_text().split(f"\n{_MARK}")
    assert parts[0].startswith(_MARK), f"{path} does not start with a section"
    parts[0] = parts[0].removeprefix(_MARK)
    return {name: text.strip("\n") + "\n" for name, _, text in (part.partition("\n") for part in parts)}


def check(path: Path, compute: Callable[[str, str], str]) -> None:
    """Compare every section after the first with ``compute(its name, text of the first section)``."""
    (first, given), *wanted = sections(path).items()
    assert wanted, f"{path} has no output section"
    got = {name: compute(name, given).strip("\n") + "\n" for name, _ in wanted}
    if os.environ.get("PYEBPF_BLESS"):
        texts = {first: given, **got}
        path.write_text("\n".join(f"{_MARK}{name}\n{text}" for name, text in texts.items()))
        return
    for name, text in wanted:
        if got[name] != text:
            pytest.fail(f"{path.name}, section {name!r}, is now:\n{got[name]}\nbut should be:\n{text}")
