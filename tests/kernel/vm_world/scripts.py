"""Scripts of helper calls, each done twice: by a program in the kernel, and by the machine's helpers called directly.

A script is a list of steps. In the kernel it becomes straight-line code that leaves every result in a map; in the
machine no code runs at all, so a difference is one of helpers, maps or contexts. Compared are the results, the buffers
that were passed, context fields, the packet, the context given back and what user space sees in the maps.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pyebpf.backend.insn import CALL, EXIT, LD_IMM64, Alu, Insn, Jmp, Source, alu, encode, jump, ldx, stx
from pyebpf.object import DataSection, MapSpec, ObjectSpec, ProgramSpec, Relocation, RelocKind
from pyebpf.runtime.cpus import possible_cpus
from pyebpf.runtime.errors import BpfError, Phase, VerifierError
from pyebpf.runtime.events import RingBuf
from pyebpf.runtime.load import load
from pyebpf.runtime.map_kinds import Queue, Stack
from pyebpf.runtime.maps import ArrayMap, LpmTrie, Map, MappingMap
from pyebpf.runtime.vm.contexts import make_context
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.helpers import HELPERS
from pyebpf.runtime.vm.load import load as machine_load
from pyebpf.runtime.vm.maps import make_map, user_view
from pyebpf.runtime.vm.memory import Memory
from pyebpf.runtime.vm.run import M64, Run
from pyebpf.uapi.constants import MapType, ProgType
from pyebpf.uapi.contexts import SK_BUFF, XDP_MD
from pyebpf.uapi.helpers import helper_by_name

SCRATCH = "scratch"
RODATA = ".rodata"
_CTX, _BASE = 6, 7


@dataclass(frozen=True)
class Buffer:
    """Memory of the program with this content at first; compared afterwards."""

    data: bytes


@dataclass(frozen=True)
class Constant:
    """Read-only memory with a constant, as formats must be."""

    data: bytes


@dataclass(frozen=True)
class MapName:
    """A map as an argument."""

    name: str


@dataclass(frozen=True)
class Ctx:
    """The context as an argument."""


Argument = int | Buffer | Constant | MapName | Ctx


@dataclass(frozen=True)
class Call:
    """Call a helper and keep its result. ``peek``: the result is an address: keep what it points to, so many bytes of
    1, 2, 4 or 8, and whether it is null."""

    helper: str
    args: tuple[Argument, ...]
    peek: int = 0


@dataclass(frozen=True)
class Field:
    """Keep a field of the context."""

    name: str


Step = Call | Field


@dataclass
class Script:
    """What is run, on which input."""

    prog_type: ProgType
    steps: Sequence[Step]
    data: bytes
    maps: Sequence[MapSpec] = ()
    ctx: bytes | None = None


@dataclass
class Outcome:
    """What a run left. ``results``: one per step; ``maps``: what user space sees in each."""

    results: list[int]
    buffers: list[bytes]
    packet: bytes
    ctx: bytes
    maps: dict[str, object] = field(default_factory=dict)


def _layout(steps: Sequence[Step]) -> tuple[list[list[int]], int]:
    """The offset of every buffer in the scratch memory, behind the results; and its size."""
    end = 16 * len(steps)
    places = []
    for step in steps:
        mine = []
        for arg in step.args if isinstance(step, Call) else ():
            mine.append(end)
            if isinstance(arg, Buffer):
                end += (len(arg.data) + 7) & ~7
        places.append(mine)
    return places, max(end, 8)


def initial(steps: Sequence[Step]) -> bytes:
    """The scratch memory before the run."""
    places, size = _layout(steps)
    memory = bytearray(size)
    for step, mine in zip(steps, places, strict=True):
        for arg, at in zip(step.args if isinstance(step, Call) else (), mine, strict=True):
            if isinstance(arg, Buffer):
                memory[at : at + len(arg.data)] = arg.data
    return bytes(memory)


def buffers(steps: Sequence[Step], memory: bytes | bytearray) -> list[bytes]:
    """The buffers of all steps."""
    places, _ = _layout(steps)
    return [
        bytes(memory[at : at + len(arg.data)])
        for step, mine in zip(steps, places, strict=True)
        for arg, at in zip(step.args if isinstance(step, Call) else (), mine, strict=True)
        if isinstance(arg, Buffer)
    ]


def _field(prog_type: ProgType, name: str) -> tuple[int, int]:
    layout = XDP_MD if prog_type is ProgType.XDP else SK_BUFF
    found = layout.field(name)
    assert found is not None
    return found.offset, found.size


def program(script: Script) -> ObjectSpec:
    """The script as an object."""
    places, size = _layout(script.steps)
    code: list[Insn] = []
    relocations: list[Relocation] = []
    constants = bytearray()

    def mov(dst: int, src: int) -> None:
        code.append(Insn(alu(Alu.MOV, Source.X), dst, src))

    def imm(dst: int, value: int) -> None:
        code.append(Insn(LD_IMM64, dst, imm=value & M64))

    def add(dst: int, value: int) -> None:
        code.append(Insn(alu(Alu.ADD, Source.K), dst, imm=value))

    def map_address(dst: int, name: str) -> None:
        relocations.append(Relocation(sum(i.slots for i in code), RelocKind.MAP, name))
        code.append(Insn(LD_IMM64, dst))

    mov(_CTX, 1)
    code.append(Insn(alu(Alu.MOV, Source.K), 0))
    code.append(Insn(stx(4), 10, 0, -4))
    mov(2, 10)
    add(2, -4)
    map_address(1, SCRATCH)
    code.append(Insn(CALL, imm=1))
    code.append(Insn(jump(Jmp.JNE, Source.K), 0, offset=1))
    code.append(Insn(EXIT))
    mov(_BASE, 0)
    for index, (step, mine) in enumerate(zip(script.steps, places, strict=True)):
        if isinstance(step, Field):
            offset, width = _field(script.prog_type, step.name)
            code.append(Insn(ldx(width), 0, _CTX, offset))
            code.append(Insn(stx(8), _BASE, 0, 16 * index))
            continue
        for register, (arg, at) in enumerate(zip(step.args, mine, strict=True), 1):
            match arg:
                case int():
                    imm(register, arg)
                case Buffer():
                    mov(register, _BASE)
                    add(register, at)
                case Constant():
                    slot = sum(i.slots for i in code)
                    relocations.append(Relocation(slot, RelocKind.DATA, "", RODATA, len(constants)))
                    code.append(Insn(LD_IMM64, register))
                    constants.extend(arg.data)
                case MapName():
                    map_address(register, arg.name)
                case Ctx():
                    mov(register, _CTX)
        code.append(Insn(CALL, imm=_id(step.helper)))
        if step.peek:
            code.append(Insn(alu(Alu.MOV, Source.K), 1, imm=0))
            code.append(Insn(jump(Jmp.JEQ, Source.K), 0, offset=3))
            code.append(Insn(alu(Alu.MOV, Source.K), 1, imm=1))
            code.append(Insn(ldx(step.peek), 2, 0, 0))
            code.append(Insn(stx(8), _BASE, 2, 16 * index))
            code.append(Insn(stx(8), _BASE, 1, 16 * index + 8))
        else:
            code.append(Insn(stx(8), _BASE, 0, 16 * index))
    code.append(Insn(alu(Alu.MOV, Source.K), 0, imm=0))
    code.append(Insn(EXIT))
    maps = {spec.name: spec for spec in script.maps}
    maps[SCRATCH] = MapSpec(SCRATCH, MapType.ARRAY, 4, size, 1)
    made = ProgramSpec(
        "script", encode(code), relocations=tuple(relocations), prog_type=script.prog_type, section="socket"
    )
    data = {RODATA: DataSection(RODATA, constants)} if constants else {}
    return ObjectSpec(programs={"script": made}, maps=maps, data=data, license="GPL")


def _id(name: str) -> int:
    found = helper_by_name(name)
    assert found is not None
    return found.id


def contents(found: Map) -> object:
    """What user space sees; in order where the order is certain."""
    match found:
        case RingBuf():
            return list(found.poll(0))
        case Queue() | Stack():
            return list(found.drain())
        case LpmTrie() | ArrayMap():
            return list(found.items())
        case MappingMap():
            return dict(found.items())
    raise AssertionError(found)


def in_kernel(script: Script) -> Outcome:
    """Run it for real."""
    with load(program(script)) as loaded:
        loaded.maps[SCRATCH].elements.update(bytes(4), initial(script.steps))
        result = loaded.programs["script"].run(script.data, ctx=script.ctx)
        memory = loaded.maps[SCRATCH].elements.lookup(bytes(4))
        assert memory is not None
        seen = {spec.name: contents(loaded.maps[spec.name]) for spec in script.maps}
        return Outcome(_results(script, memory), buffers(script.steps, memory), result.data, result.ctx, seen)


def _results(script: Script, memory: bytes | bytearray) -> list[int]:
    return [
        int.from_bytes(memory[at : at + 8], "little")
        | int.from_bytes(memory[at + 8 : at + 16], "little") << 64
        for at in range(0, 16 * len(script.steps), 16)
    ]


def in_machine(script: Script, environment: Environment) -> Outcome:
    """Call the machine's helpers one after the other."""
    memory = Memory()
    maps = {spec.name: make_map(spec, memory, environment) for spec in script.maps}
    context = make_context(memory, script.prog_type, None, script.data, script.ctx)
    places, _ = _layout(script.steps)
    scratch = memory.map(bytearray(initial(script.steps)), "scratch")
    run = Run(
        memory, {m.address: m for m in maps.values()}, environment, script.prog_type, None, context, _no_call
    )
    for index, (step, mine) in enumerate(zip(script.steps, places, strict=True)):
        if isinstance(step, Field):
            offset, width = _field(script.prog_type, step.name)
            scratch.data[16 * index : 16 * index + 8] = memory.read(context.address + offset, width).ljust(
                8, b"\0"
            )
            continue
        values = [0] * 5
        for position, (arg, at) in enumerate(zip(step.args, mine, strict=True)):
            match arg:
                case int():
                    values[position] = arg & M64
                case Buffer():
                    values[position] = scratch.address + at
                case Constant():
                    values[position] = memory.map(bytearray(arg.data), "a constant", writable=False).address
                case MapName():
                    values[position] = maps[arg.name].address
                case Ctx():
                    values[position] = context.address
        result = HELPERS[_id(step.helper)](run, *values) & M64
        if not step.peek:
            scratch.data[16 * index : 16 * index + 8] = result.to_bytes(8, "little")
        elif result:
            scratch.data[16 * index : 16 * index + 8] = memory.read(result, step.peek).ljust(8, b"\0")
            scratch.data[16 * index + 8] = 1
    packet, ctx = context.results()
    context.close()
    seen = {name: contents(user_view(m)) for name, m in maps.items()}
    return Outcome(_results(script, scratch.data), buffers(script.steps, scratch.data), packet, ctx, seen)


def in_machine_code(script: Script) -> Outcome:
    """Run the same object as in the kernel in the machine, translated."""
    with machine_load(program(script), environment=Environment(cpus=possible_cpus())) as loaded:
        loaded.maps[SCRATCH].elements.update(bytes(4), initial(script.steps))
        result = loaded.programs["script"].run(script.data, ctx=script.ctx)
        memory = loaded.maps[SCRATCH].elements.lookup(bytes(4))
        assert memory is not None
        seen = {spec.name: contents(loaded.maps[spec.name]) for spec in script.maps}
        return Outcome(_results(script, memory), buffers(script.steps, memory), result.data, result.ctx, seen)


def _no_call(*args: int) -> int:
    raise AssertionError("scripts have no callbacks")


def same(script: Script) -> Outcome | int:
    """Do it in both worlds, compare, and give the outcome, or the errno with which the run was refused."""
    try:
        kernel = _or_errno(lambda: in_kernel(script))
    except VerifierError as error:
        # The verifier looks at constant formats itself; where it refuses one, the machine's helper must.
        assert "Invalid format string" in error.log
        refused = in_machine(script, Environment(cpus=possible_cpus())).results
        assert any(
            isinstance(step, Call) and step.helper == "snprintf" and result == M64 + 1 - errno.EINVAL
            for step, result in zip(script.steps, refused, strict=True)
        )
        return errno.EINVAL
    machine = _or_errno(lambda: in_machine(script, Environment(cpus=possible_cpus())))
    if not isinstance(kernel, int) and not isinstance(machine, int):
        for step, here, there in zip(script.steps, kernel.results, machine.results, strict=True):
            assert here == there, f"{step}: the kernel gives {here:#x}, the machine {there:#x}"
    assert kernel == machine
    return kernel


def _or_errno(run: Callable[[], Outcome]) -> Outcome | int:
    try:
        return run()
    except VerifierError:
        raise
    except BpfError as error:
        assert error.phase is Phase.PROG_RUN
        assert error.errno is not None
        return error.errno
