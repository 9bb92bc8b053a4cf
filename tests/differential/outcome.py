"""What a run of a program leaves behind, in a form that compares, and how it is read from a loaded object.

A ``Shape`` says all that has to be known of the program for that. It is plain data, so that a process that runs an object
needs neither its source nor the compiler.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pyebpf.layout import ArrayType, Field, Layout, StructType
from pyebpf.runtime.map_codec import codec_for
from pyebpf.runtime.maps import Map
from pyebpf.runtime.run_result import RunResult
from pyebpf.uapi.constants import MapType

ETH_HLEN = 14


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left: the verdict, the packet, and the raw contents of maps and variables."""

    verdict: int
    packet: bytes
    maps: dict[str, Any]
    globals: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class MapShape:
    """A map: ``value`` is the layout of its values, if they have one."""

    name: str
    type: MapType
    value: Layout | None


@dataclass(frozen=True, slots=True)
class VariableShape:
    """A variable that can change, and the section that it lies in."""

    name: str
    section: str
    layout: Layout


@dataclass(frozen=True, slots=True)
class Shape:
    """An object whose last program is run. ``is_filter``: that is a socket filter, which does not see the Ethernet header
    in a test run."""

    programs: tuple[str, ...]
    is_filter: bool
    maps: tuple[MapShape, ...]
    variables: tuple[VariableShape, ...]


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


def bare(layout: Layout) -> Layout:
    """The layout without the classes of the user's module."""
    match layout:
        case StructType():
            fields = tuple(Field(one.name, bare(one.layout), one.offset) for one in layout.fields)
            return StructType(layout.name, fields, layout.size, layout.align, layout.packed, layout.union)
        case ArrayType():
            return ArrayType(bare(layout.element), layout.length)
        case _:
            return layout


def this_cpu() -> int:
    """The CPU that a pinned process runs on."""
    return min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def fill_program_arrays(shape: Shape, loaded: Loaded) -> None:
    """Slot 0, 1, … of every program array hold all programs but the last."""
    for one in shape.maps:
        if one.type is MapType.PROG_ARRAY:
            live: Any = loaded.maps[one.name]
            for index, name in enumerate(shape.programs[:-1]):
                live[index] = loaded.programs[name]


def run_loaded(shape: Shape, loaded: Loaded, frame: bytes, cpu: int) -> Outcome:
    """Run the last program once."""
    result = loaded.programs[shape.programs[-1]].run(frame)
    whole = shape.is_filter and len(result.data) == len(frame)
    data = bytes(result.data[ETH_HLEN:] if whole else result.data)
    return Outcome(result.verdict, data, _maps(shape, loaded, cpu), _variables(shape, loaded))


def _my_part(map_type: MapType, raw: bytes, size: int, cpu: int) -> bytes:
    """Of the values of all CPUs, that of ours; the kernel rounds each up to 8 bytes."""
    if map_type not in (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH):
        return raw
    step = (size + 7) & ~7
    parts = [raw[at : at + step] for at in range(0, len(raw), step)]
    mine = parts.pop(cpu if len(parts) > cpu else 0)
    assert not any(any(part) for part in parts), "another CPU has values of this map"
    return mine[:size]


def _maps(shape: Shape, loaded: Loaded, cpu: int) -> dict[str, Any]:
    """The contents of all maps as bytes. Queues, stacks and ring buffers are emptied."""
    found: dict[str, Any] = {}
    for one in shape.maps:
        live: Any = loaded.maps[one.name]
        match one.type:
            case MapType.QUEUE | MapType.STACK:
                assert one.value is not None
                codec = codec_for(one.value, one.value.size)
                # Object files have no types for queues: then the values are bytes as they are.
                found[one.name] = [v if isinstance(v, bytes) else codec.encode(v) for v in live.drain()]
            case MapType.RINGBUF:
                records: list[bytes] = []
                live.consume(lambda record, into=records: into.append(bytes(record)))
                found[one.name] = records
            case MapType.PROG_ARRAY | MapType.PERF_EVENT_ARRAY:
                pass
            case _:
                assert one.value is not None
                size = one.value.size
                found[one.name] = {
                    bytes(key): _my_part(one.type, bytes(value), size, cpu)
                    for key, value in live._raw_pairs()
                }
    return found


def _variables(shape: Shape, loaded: Loaded) -> dict[str, bytes]:
    return {
        one.name: codec_for(one.layout, one.layout.size).encode(loaded.data[one.section].read(one.name))
        for one in shape.variables
    }


def difference(expected: Outcome, found: Outcome, machine: str) -> str:
    """What differs, a line for each place; empty if nothing does. ``machine``: what to call the one that was wrong."""
    lines = []
    for name in ("verdict", "packet", "maps", "globals"):
        a, b = getattr(expected, name), getattr(found, name)
        if isinstance(a, dict):
            for key in sorted(a.keys() | b.keys()):
                lines += _entry_difference(f"{name} {key}", a.get(key), b.get(key), machine)
        else:
            lines += _entry_difference(name, a, b, machine)
    return "\n".join(lines)


def _entry_difference(where: str, expected: Any, found: Any, machine: str) -> list[str]:
    if expected == found:
        return []
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted(expected.keys() | found.keys())
        parts = [
            _entry_difference(f"{where}[{key.hex()}]", expected.get(key), found.get(key), machine)
            for key in keys
        ]
        return [line for part in parts for line in part]
    show = [v.hex() if isinstance(v, bytes) else repr(v) for v in (expected, found)]
    return [f"{where}: evaluator {show[0]}, {machine} {show[1]}"]
