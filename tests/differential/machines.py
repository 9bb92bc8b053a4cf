"""The machines that run generated programs, and what a run leaves behind, in a form that compares."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pyebpf.declare import GlobalDecl
from pyebpf.driver import Compiled
from pyebpf.runtime.map_codec import codec_for
from pyebpf.runtime.maps import Map
from pyebpf.runtime.program import RunResult
from pyebpf.uapi.constants import MapType, ProgType
from tests.differential.evaluator import Evaluator

ETH_HLEN = 14


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left: the verdict, the packet, and the raw contents of maps and variables."""

    verdict: int
    packet: bytes
    maps: dict[str, Any]
    globals: dict[str, bytes]


class Program(Protocol):
    """A loaded program, in the kernel or in the built-in machine."""

    def run(self, data: bytes = b"", *, repeat: int = 1, ctx: bytes | None = None) -> RunResult:
        """Run it on a packet."""


class Data(Protocol):
    """A loaded data section."""

    def read(self, name: str) -> Any:
        """The value of a variable."""


class Loaded(Protocol):
    """What loading an object gives, in the kernel or in the built-in machine."""

    @property
    def programs(self) -> Mapping[str, Program]:
        """By name."""

    @property
    def maps(self) -> Mapping[str, Map]:
        """By name."""

    @property
    def data(self) -> Mapping[str, Data]:
        """By name."""


# ---------------------------------------------------------------- loaded objects


def is_filter(compiled: Compiled) -> bool:
    """Whether the last program is a socket filter, which does not see the Ethernet header in a test run."""
    name = compiled.unit.programs[-1].name
    return compiled.object.programs[name].prog_type is ProgType.SOCKET_FILTER


def seen(frame: bytes, compiled: Compiled) -> bytes:
    """The part of a frame that the program sees."""
    return frame[ETH_HLEN:] if is_filter(compiled) else frame


def fill_program_arrays(compiled: Compiled, loaded: Loaded) -> None:
    """Slot 0, 1, … of every program array hold all programs but the last."""
    for decl in compiled.unit.maps:
        if decl.type is MapType.PROG_ARRAY:
            live: Any = loaded.maps[str(decl.name)]
            for index, function in enumerate(compiled.unit.programs[:-1]):
                live[index] = loaded.programs[function.name]


def run_loaded(compiled: Compiled, loaded: Loaded, frame: bytes, cpu: int) -> Outcome:
    """Run the last program once."""
    result = loaded.programs[compiled.unit.programs[-1].name].run(frame)
    whole = is_filter(compiled) and len(result.data) == len(frame)
    data = bytes(result.data[ETH_HLEN:] if whole else result.data)
    return Outcome(
        result.verdict, data, _loaded_maps(compiled, loaded, cpu), _loaded_variables(compiled, loaded)
    )


def this_cpu() -> int:
    """The CPU that a pinned process runs on."""
    return min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def _my_part(decl_type: MapType, raw: bytes, size: int, cpu: int) -> bytes:
    """Of the values of all CPUs, that of ours; the kernel rounds each up to 8 bytes."""
    if decl_type not in (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH):
        return raw
    step = (size + 7) & ~7
    parts = [raw[at : at + step] for at in range(0, len(raw), step)]
    mine = parts.pop(cpu if len(parts) > cpu else 0)
    assert not any(any(part) for part in parts), "another CPU has values of this map"
    return mine[:size]


def _loaded_maps(compiled: Compiled, loaded: Loaded, cpu: int) -> dict[str, Any]:
    """The contents of all maps as bytes. Queues, stacks and ring buffers are emptied."""
    found: dict[str, Any] = {}
    for decl in compiled.unit.maps:
        name = str(decl.name)
        live: Any = loaded.maps[name]
        match decl.type:
            case MapType.QUEUE | MapType.STACK:
                assert decl.value is not None
                codec = codec_for(decl.value, decl.value.size)
                found[name] = [codec.encode(v) for v in live.drain()]
            case MapType.RINGBUF:
                records: list[bytes] = []
                live.consume(lambda record, into=records: into.append(bytes(record)))
                found[name] = records
            case MapType.PROG_ARRAY:
                pass
            case _:
                assert decl.value is not None
                size = decl.value.size
                found[name] = {
                    bytes(k): _my_part(decl.type, bytes(v), size, cpu) for k, v in live._raw_pairs()
                }
    return found


def _variables(compiled: Compiled) -> list[GlobalDecl]:
    """All variables that can change."""
    return [decl for decl in compiled.unit.globals if not decl.constant]


def _loaded_variables(compiled: Compiled, loaded: Loaded) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for decl in _variables(compiled):
        value = loaded.data[str(decl.section)].read(str(decl.name))
        found[str(decl.name)] = codec_for(decl.layout, decl.layout.size).encode(value)
    return found


# ---------------------------------------------------------------- the evaluator


def fill_modelled_arrays(compiled: Compiled, evaluator: Evaluator) -> None:
    """The same slots for the evaluator."""
    for decl in compiled.unit.maps:
        if decl.type is MapType.PROG_ARRAY:
            evaluator.map(decl).programs.update(enumerate(compiled.unit.programs[:-1]))


def modelled_maps(compiled: Compiled, evaluator: Evaluator) -> dict[str, Any]:
    """What ``_loaded_maps`` reads, of the evaluator."""
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
            case MapType.PROG_ARRAY:
                pass
            case _:
                found[name] = {k: bytes(v) for k, v in state.values.items()}
    return found


def modelled_variables(compiled: Compiled, evaluator: Evaluator) -> dict[str, bytes]:
    """What ``_loaded_variables`` reads, of the evaluator."""
    return {str(decl.name): bytes(evaluator.memory_of(decl)) for decl in _variables(compiled)}


# ---------------------------------------------------------------- comparing


def difference(expected: Outcome, found: Outcome, machine: Machine) -> str:
    """What differs, a line for each place; empty if nothing does."""
    lines = []
    for name in ("verdict", "packet", "maps", "globals"):
        a, b = getattr(expected, name), getattr(found, name)
        if isinstance(a, dict):
            for key in sorted(a.keys() | b.keys()):
                lines += _entry_difference(f"{name} {key}", a.get(key), b.get(key), machine)
        else:
            lines += _entry_difference(name, a, b, machine)
    return "\n".join(lines)


def _entry_difference(where: str, expected: Any, found: Any, machine: Machine) -> list[str]:
    if expected == found:
        return []
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted(expected.keys() | found.keys())
        parts = [
            _entry_difference(f"{where}[{k.hex()}]", expected.get(k), found.get(k), machine) for k in keys
        ]
        return [line for part in parts for line in part]
    show = [v.hex() if isinstance(v, bytes) else repr(v) for v in (expected, found)]
    return [f"{where}: evaluator {show[0]}, {machine.value} {show[1]}"]
