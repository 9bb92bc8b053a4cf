"""Judge one program: compile its source, load it, run it on packets, and compare everything that it leaves behind with
what the reference evaluator says.
"""

from __future__ import annotations

import contextlib
import enum
import linecache
import os
import random
import signal
import sys
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyebpf.declare import ProgramDecl, declaration_of
from pyebpf.diagnostics import CompileError
from pyebpf.driver import Compiled, compile_programs
from pyebpf.runtime.errors import BpfError, VerifierError
from pyebpf.runtime.load import LoadedObject, load
from pyebpf.uapi.constants import MapType, ProgType
from tests.differential.evaluator import Context, Evaluator

ETH_HLEN = 14
TIME_LIMIT = 20
"""Seconds that one program may take from source to result."""

CONTEXT_FIELDS = {
    "ingress_ifindex": 1,
    "rx_queue_index": 0,
    "mark": 0,
    "priority": 0,
    "tc_index": 0,
    "hash": 0,
    "vlan_present": 0,
    **{f"cb[{i}]": 0 for i in range(5)},
}
"""What the context says in a test run to which no context is given: the packet came from the loopback interface."""


class Verdict(enum.Enum):
    """What became of a program; only the first is as it should be."""

    AGREED = "agreed"
    MISMATCH = "mismatch"
    REJECTED = "rejected by the kernel"
    REFUSED = "refused by pyebpf"
    CRASHED = "crash of the compiler or the evaluator"
    SLOW = f"took more than {TIME_LIMIT} s"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a program, what explains it, and the number of instructions."""

    verdict: Verdict
    text: str = ""
    instructions: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left: the verdict, the packet, and the raw contents of maps and variables."""

    verdict: int
    packet: bytes
    maps: dict[str, Any]
    globals: dict[str, bytes]


class _Slow(BaseException):
    """The time limit has passed."""


@contextlib.contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    def expire(number: int, frame: object) -> None:
        raise _Slow

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def module_of(source: str, name: str) -> Iterator[types.ModuleType]:
    """``source`` as an imported module, with its lines known to ``inspect``, while the block runs."""
    filename = f"<{name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    module = types.ModuleType(name)
    module.__file__ = filename
    sys.modules[name] = module
    try:
        exec(compile(source, filename, "exec"), module.__dict__)
        yield module
    finally:
        sys.modules.pop(name, None)
        linecache.cache.pop(filename, None)


def programs_of(module: types.ModuleType) -> list[ProgramDecl]:
    """The programs of a generated module, in the order of their definition; the last one is run."""
    found = [declaration_of(value) for value in module.__dict__.values()]
    return [decl for decl in found if isinstance(decl, ProgramDecl)]


def packets(seed: int) -> list[bytes]:
    """Frames of several lengths; the kernel's test run wants at least an Ethernet header, and no IP without room for it."""
    rng = random.Random(seed * 7919 + 1)
    lengths = (rng.randint(14, 20), rng.randint(30, 64), rng.randint(64, 90))
    frames = [bytearray(rng.randbytes(length)) for length in lengths]
    for frame in frames:
        frame[12] |= 1  # an EtherType that is neither IPv4 nor IPv6
    return [bytes(frame) for frame in frames]


def _my_part(decl_type: MapType, raw: bytes, size: int, cpu: int) -> bytes:
    """Of the values of all CPUs, that of ours; the kernel rounds each up to 8 bytes."""
    if decl_type not in (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH):
        return raw
    step = (size + 7) & ~7
    others = raw[: cpu * step] + raw[(cpu + 1) * step :]
    assert not any(others), "another CPU has values of this map"
    return raw[cpu * step : cpu * step + size]


def raw_maps(compiled: Compiled, loaded: LoadedObject, cpu: int) -> dict[str, Any]:
    """The contents of all maps as bytes. Queues, stacks and ring buffers are emptied."""
    found: dict[str, Any] = {}
    for decl in compiled.unit.maps:
        name = str(decl.name)
        live: Any = loaded.maps[name]
        match decl.type:
            case MapType.QUEUE | MapType.STACK:
                found[name] = [int(v) for v in live.drain()]
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


def modelled_maps(compiled: Compiled, evaluator: Evaluator) -> dict[str, Any]:
    """The same of the evaluator."""
    found: dict[str, Any] = {}
    for decl in compiled.unit.maps:
        state, name = evaluator.map(decl), str(decl.name)
        match decl.type:
            case MapType.QUEUE | MapType.STACK:
                items = [int.from_bytes(b, "little") for b in state.sequence]
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


def raw_globals(compiled: Compiled, loaded: LoadedObject) -> dict[str, bytes]:
    """The contents of all variables that can change."""
    found: dict[str, bytes] = {}
    for section in loaded.data.values():
        for variable in section.section.variables:
            if any(d.name == variable.name and not d.constant for d in compiled.unit.globals):
                found[variable.name] = section._memory.read(variable.offset, variable.size)
    return found


def fill_program_arrays(compiled: Compiled, loaded: LoadedObject, evaluator: Evaluator) -> None:
    """Slot 0, 1, … of every program array hold all programs but the last, on both sides."""
    targets = compiled.unit.programs[:-1]
    for decl in compiled.unit.maps:
        if decl.type is MapType.PROG_ARRAY:
            live: Any = loaded.maps[str(decl.name)]
            for index, function in enumerate(targets):
                live[index] = loaded.programs[function.name]
                evaluator.map(decl).programs[index] = function


def disagreement(compiled: Compiled, loaded: LoadedObject, frames: list[bytes], cpu: int) -> str | None:
    """Run the last program on every frame on both sides; what differs after the first where something does."""
    function = compiled.unit.programs[-1]
    evaluator = Evaluator(compiled.unit)
    fill_program_arrays(compiled, loaded, evaluator)
    is_filter = compiled.object.programs[function.name].prog_type is ProgType.SOCKET_FILTER
    for frame in frames:
        result = loaded.programs[function.name].run(frame)
        context = Context(bytearray(frame[ETH_HLEN:] if is_filter else frame), dict(CONTEXT_FIELDS))
        verdict = evaluator.run(function, context)
        data = result.data[ETH_HLEN:] if is_filter and len(result.data) == len(frame) else result.data
        variables = {
            str(d.name): bytes(evaluator.memory_of(d)) for d in compiled.unit.globals if not d.constant
        }
        ours = Outcome(verdict, bytes(context.packet), modelled_maps(compiled, evaluator), variables)
        theirs = Outcome(
            result.verdict, bytes(data), raw_maps(compiled, loaded, cpu), raw_globals(compiled, loaded)
        )
        if ours != theirs:
            return f"packet {frame.hex()}\n{_difference(ours, theirs)}"
    return None


def _difference(ours: Outcome, theirs: Outcome) -> str:
    lines = []
    for name in ("verdict", "packet", "maps", "globals"):
        a, b = getattr(ours, name), getattr(theirs, name)
        if isinstance(a, dict):
            for key in sorted(a.keys() | b.keys()):
                lines += _entry_difference(f"{name} {key}", a.get(key), b.get(key))
        else:
            lines += _entry_difference(name, a, b)
    return "\n".join(lines)


def _entry_difference(where: str, ours: Any, theirs: Any) -> list[str]:
    if ours == theirs:
        return []
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted(ours.keys() | theirs.keys())
        parts = [_entry_difference(f"{where}[{key.hex()}]", ours.get(key), theirs.get(key)) for key in keys]
        return [line for part in parts for line in part]
    show = [v.hex() if isinstance(v, bytes) else repr(v) for v in (ours, theirs)]
    return [f"{where}: evaluator {show[0]}, kernel {show[1]}"]


def _size(compiled: Compiled) -> int:
    parts = [*compiled.object.programs.values(), *compiled.object.functions.values()]
    return sum(len(part.code) // 8 for part in parts)


def _judge(source: str, name: str, frames: list[bytes], check: bool) -> Judgement:
    with module_of(source, name) as module:
        try:
            compiled = compile_programs(programs_of(module), check=check)
        except CompileError as error:
            return Judgement(Verdict.REFUSED, str(error))
        size = _size(compiled)
        try:
            loaded = load(compiled.object)
        except (VerifierError, BpfError) as error:
            return Judgement(Verdict.REJECTED, str(error), size)
        cpu = min(os.sched_getaffinity(0))
        with loaded:
            different = disagreement(compiled, loaded, frames, cpu)
    return Judgement(Verdict.AGREED if different is None else Verdict.MISMATCH, different or "", size)


def judge(source: str, name: str, frames: list[bytes], *, check: bool = False) -> Judgement:
    """Judge the module ``source``. ``check``: verify the SSA after every pass.

    The process must be pinned to one CPU (``pinned``) where the program has per-CPU maps.
    """
    try:
        with _time_limit(TIME_LIMIT):
            return _judge(source, name, frames, check)
    except _Slow:
        return Judgement(Verdict.SLOW, f"more than {TIME_LIMIT} s")
    except Exception:
        return Judgement(Verdict.CRASHED, traceback.format_exc())


def pin(number: int = 0) -> None:
    """Keep this process on one of its CPUs from now on; ``number`` chooses which."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[number % len(cpus)]})


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Keep this process on one of its CPUs while the block runs."""
    before = os.sched_getaffinity(0)
    pin(os.getpid())
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
