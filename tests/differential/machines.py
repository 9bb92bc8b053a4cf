"""The machines that run generated programs, and the evaluator's answers in the form of ``tests.differential.outcome``."""

from __future__ import annotations

import enum
from typing import Any

from pyebpf.declare import GlobalDecl
from pyebpf.driver import Compiled
from pyebpf.uapi.constants import MapType, ProgType
from tests.differential import outcome
from tests.differential.evaluator import Evaluator
from tests.differential.outcome import ETH_HLEN, Loaded, MapShape, Outcome, Shape, VariableShape, bare


class Machine(enum.Enum):
    """A way to run a program; the others are compared with the first."""

    EVALUATOR = "evaluator"
    CPYTHON = "cpython"
    VM = "vm"
    KERNEL = "kernel"
    LLVM_VM = "llvm-vm"
    LLVM_KERNEL = "llvm-kernel"

    @property
    def through_llvm(self) -> bool:
        """Whether it runs what LLVM made of the program."""
        return self in (Machine.LLVM_VM, Machine.LLVM_KERNEL)

    @property
    def in_kernel(self) -> bool:
        """Whether the process must be allowed to load programs."""
        return self in (Machine.KERNEL, Machine.LLVM_KERNEL)


class Absence(enum.Enum):
    """Why a machine did not run a program; none of these is a failure of pyebpf."""

    DEPARTS = "the program leaves what Python's integers do"
    UNPREDICTABLE = "CPython cannot know what the kernel does"
    UNPROVEN = "the verifier refuses LLVM's code"


# ---------------------------------------------------------------- loaded objects


def shape_of(compiled: Compiled) -> Shape:
    """What has to be known to run the last program and to read what it left."""
    return Shape(
        tuple(function.name for function in compiled.unit.programs),
        _is_filter(compiled),
        tuple(
            MapShape(str(decl.name), decl.type, None if decl.value is None else bare(decl.value))
            for decl in compiled.unit.maps
        ),
        tuple(
            VariableShape(str(decl.name), str(decl.section), bare(decl.layout))
            for decl in _variables(compiled)
        ),
    )


def _is_filter(compiled: Compiled) -> bool:
    """Whether the last program is a socket filter."""
    name = compiled.unit.programs[-1].name
    return compiled.object.programs[name].prog_type is ProgType.SOCKET_FILTER


def seen(frame: bytes, compiled: Compiled) -> bytes:
    """The part of a frame that the program sees."""
    return frame[ETH_HLEN:] if _is_filter(compiled) else frame


def fill_program_arrays(compiled: Compiled, loaded: Loaded) -> None:
    """Slot 0, 1, … of every program array hold all programs but the last."""
    outcome.fill_program_arrays(shape_of(compiled), loaded)


def run_loaded(compiled: Compiled, loaded: Loaded, frame: bytes, cpu: int) -> Outcome:
    """Run the last program once."""
    return outcome.run_loaded(shape_of(compiled), loaded, frame, cpu)


def _variables(compiled: Compiled) -> list[GlobalDecl]:
    """All variables that can change."""
    return [decl for decl in compiled.unit.globals if not decl.constant]


# ---------------------------------------------------------------- the evaluator


def fill_modelled_arrays(compiled: Compiled, evaluator: Evaluator) -> None:
    """The same slots for the evaluator."""
    for decl in compiled.unit.maps:
        if decl.type is MapType.PROG_ARRAY:
            evaluator.map(decl).programs.update(enumerate(compiled.unit.programs[:-1]))


def modelled_maps(compiled: Compiled, evaluator: Evaluator) -> dict[str, Any]:
    """What ``outcome`` reads of maps, of the evaluator."""
    found: dict[str, Any] = {}
    for decl in compiled.unit.maps:
        state, name = evaluator.map(decl), str(decl.name)
        match decl.type:
            case MapType.QUEUE | MapType.STACK:
                items = list(state.sequence)
                found[name] = items[::-1] if decl.type is MapType.STACK else items
                state.sequence.clear()
            case MapType.RINGBUF:
                found[name] = [bytes(record) for record in state.records]
                state.records.clear()
                state.produced = 0
            case MapType.PROG_ARRAY:
                pass
            case _:
                found[name] = {k: bytes(v) for k, v in state.values.items()}
    return found


def modelled_variables(compiled: Compiled, evaluator: Evaluator) -> dict[str, bytes]:
    """What ``outcome`` reads of variables, of the evaluator."""
    return {str(decl.name): bytes(evaluator.memory_of(decl)) for decl in _variables(compiled)}


# ---------------------------------------------------------------- comparing


def difference(expected: Outcome, found: Outcome, machine: Machine) -> str:
    """What differs, a line for each place; empty if nothing does."""
    return outcome.difference(expected, found, machine.value)
