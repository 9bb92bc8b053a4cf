"""Generated programs through LLVM: what the kernel loads does what the reference evaluator says.

The whole chain from the SSA on is LLVM's here, so that a difference is a mistake of the front end, of the
evaluator, or of what is written for LLVM. That the verifier follows LLVM's code is not promised: few are
refused, and those are only counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pyebpf.driver import Codegen, compile_programs
from pyebpf.runtime.errors import VerifierError
from pyebpf.runtime.load import load
from tests.differential.generate import generate
from tests.differential.judge import disagreement, module_of, packets, pinned, programs_of

SERIES = 5
LENGTH = 12
REFUSED = 1
"""At most so many of a series may be refused by the verifier."""


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Per-CPU maps are compared on one CPU."""
    with pinned():
        yield


@pytest.mark.skipif(os.geteuid() != 0, reason="running programs on the kernel needs root")
@pytest.mark.parametrize("series", range(SERIES))
def test_generated_programs_mean_the_same_through_llvm(series: int, one_cpu: None) -> None:
    refused: list[str] = []
    for seed in range(series * LENGTH, series * LENGTH + LENGTH):
        with module_of(generate(seed)[0], f"generated_{seed}") as module:
            compiled = compile_programs(programs_of(module), codegen=Codegen.LLVM)
            try:
                loaded = load(compiled.object)
            except VerifierError as error:
                refused.append(f"seed {seed}: {error}")
                continue
            with loaded:
                different = disagreement(compiled, loaded, packets(seed), min(os.sched_getaffinity(0)))
        assert different is None, f"seed {seed}: {different}"
    assert len(refused) <= REFUSED, "\n\n".join(refused)
