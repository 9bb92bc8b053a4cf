"""On the host: the programs of modules compiled for guests, with what the host's kernel makes of them."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyebpf.declare import ProgramDecl
from pyebpf.driver import compile_programs
from pyebpf.runtime.load import load
from pyebpf.target import Target
from tests.differential.judge import programs_of
from tests.differential.machines import shape_of
from tests.differential.outcome import run_loaded, this_cpu
from tests.samples.expected import SAMPLES
from tests.valid.generate import frames
from tests.vm.cases import Case, pinned


@contextmanager
def sample(name: str) -> Iterator[types.ModuleType]:
    """A sample as an imported module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SAMPLES))
        try:
            yield importlib.import_module(name)
        finally:
            sys.modules.pop(name, None)


def built_cases(module: types.ModuleType, name: str, target: Target, packets: int) -> list[Case]:
    """Every program of the module in an object of its own, and what it leaves on the host's kernel after each packet."""
    return [_built(decl, f"{name}.{decl.name}", target, packets) for decl in programs_of(module)]


def _built(decl: ProgramDecl, name: str, target: Target, packets: int) -> Case:
    compiled = compile_programs([decl], target)
    shape = shape_of(compiled)
    on = [frame for seed in range(packets) for frame in frames(seed)] if decl.kind.test_run else []
    with pinned(), load(compiled.object) as loaded:
        expected = tuple(run_loaded(shape, loaded, frame, this_cpu()) for frame in on)
    return Case(name, compiled.elf(), shape, tuple(on), expected)
