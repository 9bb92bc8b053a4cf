"""Tracing programs for a small kernel that is always the same: the code that is made of them, and its CO-RE records.

``pytest --bless`` writes the ``.txt`` beside each program anew (never in CI).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyebpf import btf
from pyebpf.backend.elf import read_object
from pyebpf.declare import ProgramDecl, declaration_of
from pyebpf.driver import compile_programs
from pyebpf.object import FunctionSpec
from pyebpf.target import Target
from tests.kernel_facts import SmallKernel

FOLDER = Path(__file__).parent / "tracing"
CASES = sorted(FOLDER.glob("*.py"))


def texts(path: Path) -> Iterator[str]:
    """The listing of each program of a file, and what loaders are to adapt in it."""
    name = f"golden_tracing_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        for value in vars(module).values():
            decl = declaration_of(value)
            if isinstance(decl, ProgramDecl):
                compiled = compile_programs([decl], Target(kernel=(6, 1)), check=True, facts=SmallKernel())
                yield compiled.listing.replace(f"{FOLDER}/", "")
                yield from records(compiled.object.programs[decl.name])
                again = read_object(compiled.elf(), path.name)
                assert list(records(again.programs[decl.name])) == list(
                    records(compiled.object.programs[decl.name])
                )
                yield ""
    finally:
        del sys.modules[name]


def records(function: FunctionSpec) -> Iterator[str]:
    """The CO-RE records of a function, one a line."""
    for core in function.core:
        kind = btf.CoreKind(core.kind).name.lower()
        yield f"core {core.slot}: {kind} of {btf.describe(core.type)}, {path_of(core.type, core.access)}"


def path_of(root: btf.Type, access: str) -> str:
    """An access string with the names of the members on its way."""
    first, *rest = access.split(":")
    names, inner = [], btf.skip_modifiers(root)
    for number in rest:
        if isinstance(inner, btf.Struct | btf.Union):
            member = inner.members[int(number)]
            names.append(member.name or "(anonymous)")
            inner = btf.skip_modifiers(member.type)
        else:
            assert isinstance(inner, btf.Array)
            names.append(f"[{number}]")
            inner = btf.skip_modifiers(inner.element)
    return f"{access} " + (".".join(names) or f"number {first}")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_tracing_program(path: Path) -> None:
    text = "\n".join(texts(path)).rstrip() + "\n"
    golden = path.with_suffix(".txt")
    if os.environ.get("PYEBPF_BLESS"):
        golden.write_text(text)
    assert golden.exists(), f"write it with --bless:\n{text}"
    assert text == golden.read_text()
