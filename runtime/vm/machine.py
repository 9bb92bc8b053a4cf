"""Runs translated programs: frames, calls back, tail calls, the budget, and errors told at their place."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from types import TracebackType

from pyebpf.backend.insn import LD_IMM64, SLOT_BYTES, AtomicImm, Class, Insn, decode
from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.object import LineInfo
from pyebpf.records import dataclass, field
from pyebpf.runtime.linker import Linked
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.errors import (
    BadArgument,
    BadCode,
    EndlessLoop,
    MachineError,
    MissingHelper,
    OutOfBounds,
    ReadOnly,
    Uninitialised,
    Where,
)
from pyebpf.runtime.vm.helpers import HELPERS
from pyebpf.runtime.vm.kfuncs import KFUNCS
from pyebpf.runtime.vm.maps import MachineMap
from pyebpf.runtime.vm.maps_array import ProgArray
from pyebpf.runtime.vm.memory import PAGE_BITS, Memory, Region
from pyebpf.runtime.vm.run import ContextModel, Run
from pyebpf.runtime.vm.translate import FILE_PREFIX, RUNTIME, Translation
from pyebpf.runtime.vm.translate_facts import M64
from pyebpf.runtime.vm.translate_memory import FRAME_BYTES, width_of

if TYPE_CHECKING:
    from typing import Final, NoReturn


MOST_FRAMES: Final = 8
"""MAX_CALL_FRAMES of the verifier: a program and what it calls, nested."""

MOST_TAIL_CALLS: Final = 33
"""MAX_TAIL_CALL_CNT of linux/bpf.h."""

DEFAULT_BUDGET: Final = 1 << 26
"""Instructions of one run. The verifier follows a million, but loops by callbacks and ``may_goto`` may take 8 million
rounds."""

_REGISTER: Final = re.compile(r"'(r\d+)'")

Frame = tuple[memoryview, memoryview, memoryview, memoryview, int]
"""The bytes of a frame, the same as 64-, 32- and 16-bit numbers, and the address of its end."""

Entry = Callable[..., int]


def _frame(memory: Memory, depth: int) -> Frame:
    region = memory.map(bytearray(FRAME_BYTES), f"the stack frame at depth {depth}")
    data = memoryview(region.data)
    return data, data.cast("Q"), data.cast("I"), data.cast("H"), region.address + FRAME_BYTES


@dataclass(slots=True)
class Machine:
    """What programs that may meet share: memory and frames. Frames are used again and zeroed at each call."""

    memory: Memory = field(default_factory=Memory)
    frames: list[Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.frames += [_frame(self.memory, depth) for depth in range(MOST_FRAMES)]


@dataclass(slots=True)
class Execution:
    """One run of a program as its code sees it. ``left``: of the budget; ``depth``: of the function that called a helper
    which calls back; ``program``: whose code runs, which a tail call changes."""

    program: Program
    left: int
    depth: int = 0
    tail_calls: int = 0
    run: Run = field(init=False)

    def tail(self, map_address: int, index: int) -> Program | None:
        """The program for a tail call; ``None`` if the call fails and the program goes on."""
        found = self.run.maps.get(map_address)
        if not isinstance(found, ProgArray):
            raise BadArgument("a tail call goes through a program array")
        target = found.program(index & 0xFFFF_FFFF)
        if target is None or self.tail_calls >= MOST_TAIL_CALLS:
            return None
        self.tail_calls += 1
        program = getattr(target, "code", None)
        assert isinstance(program, Program), "only programs of the machine are put into its program arrays"
        return program

    def become(self, program: Program, depth: int, context: int) -> int:
        """Go on with ``program`` in the place of the caller, and give its result."""
        before = self.program
        self.program, self.run.maps = program, program.maps
        result = program.entry(self, depth, context)
        self.program, self.run.maps = before, before.maps
        return result

    def call(self, address: int, *arguments: int) -> int:
        """Run the function at ``address``, for helpers that call back."""
        found = self.program.functions.get(address)
        if found is None:
            raise BadArgument(f"the address {address:#x} is not that of a function")
        function, registers = found
        depth = self.depth
        result = function(self, depth + 1, *[arguments[register - 1] for register in registers])
        self.depth = depth
        if self.left < 0:
            spent()
        return result


def spent() -> NoReturn:
    """The budget is used up."""
    raise EndlessLoop("the program ran for longer than its budget of instructions: its loops may never end")


def missing(name: str) -> NoReturn:
    """A call of what the machine does not have."""
    raise MissingHelper(f"the built-in machine does not have {name}")


def _packet(run: Run, context: int, offset: int, size: int) -> int | None:
    """What ``ld_abs`` and ``ld_ind`` load."""
    if context != run.context.address:
        raise BadArgument("a load from the packet needs the context in r6")
    offset = (offset & 0xFFFF_FFFF ^ 1 << 31) - (1 << 31)
    found = run.context.load(offset, size)
    return None if found is None else int(found)


@dataclass(eq=False)
class Program:
    """A program ready to run. ``maps`` by address; ``functions`` by the address that programs have of them."""

    name: str
    linked: Linked
    translation: Translation
    machine: Machine
    maps: dict[int, MachineMap]
    environment: Environment
    budget: int
    entry: Entry = field(init=False)
    functions: dict[int, tuple[Entry, tuple[int, ...]]] = field(init=False, default_factory=dict)
    regions: list[Region] = field(init=False, default_factory=list)
    instructions: int = field(init=False, default=0)

    def prepare(self, numbers: Mapping[str, int], sections: Mapping[str, Region]) -> None:
        """Make the code callable. ``numbers``: what its ``ld_imm64`` of maps and data give, by name; ``sections`` by
        name in the code."""
        memory = self.machine.memory
        namespace: dict[str, Any] = {
            **RUNTIME,
            **numbers,
            "pages": memory.pages,
            "frames": self.machine.frames,
            "packet": _packet,
            "spent": spent,
            "missing": missing,
            "PROGRAM": self,
        }
        namespace |= {name: HELPERS[number] for name, number in self.translation.helpers.items()}
        namespace |= {name: KFUNCS[name].run for name in self.translation.kfuncs}
        namespace |= {name: memory.pages[region.address >> PAGE_BITS] for name, region in sections.items()}
        exec(self.translation.code, namespace)
        self.entry = namespace["f0"]
        for name, target in self.translation.targets.items():
            if name not in numbers:
                # The address of a function, for callbacks.
                region = memory.map(bytearray(), "a function", writable=False)
                self.regions.append(region)
                namespace[name] = region.address
                start = int(target.name)
                self.functions[region.address] = namespace[f"f{start}"], self.translation.arguments[start]

    def run(self, context: ContextModel) -> int:
        """Run on a context; its r0. ``instructions`` is then how many instructions ran.

        Raises ``MachineError`` with the place in the program.
        """
        program = self.linked.program
        execution = Execution(self, self.budget)
        execution.run = Run(
            self.machine.memory,
            self.maps,
            self.environment,
            program.prog_type,
            program.attach_type,
            context,
            execution.call,
        )
        try:
            return self.entry(execution, 0, context.address)
        except MachineError as error:
            if error.where is None:
                error.where = self._where(error.__traceback__)
            raise
        except (KeyError, IndexError, TypeError, NameError, struct.error) as error:
            found = _explain(error)
            if found is None:
                raise
            raise found from None
        finally:
            self.instructions = self.budget - execution.left
            del execution.run  # the run refers to it: without that cycle both go at once
            self.machine.memory.sweep()

    def _where(self, trace: TracebackType | None) -> Where | None:
        spot = _innermost(trace)
        return None if spot is None else place(*spot[:2])

    def insn(self, slot: int) -> Insn:
        """The instruction at a slot."""
        wide = self.linked.code[slot * SLOT_BYTES] == LD_IMM64
        return decode(bytes(self.linked.code[slot * SLOT_BYTES : (slot + 1 + wide) * SLOT_BYTES]))[0]

    def __del__(self) -> None:
        for region in getattr(self, "regions", ()):
            self.machine.memory.bury(region)


Spot = tuple[Program, int, Mapping[str, Any]]
"""A program, a slot of its code, and the registers there."""


def _innermost(trace: TracebackType | None, *, last: bool = False) -> Spot | None:
    """Where translated code was when an exception came; ``last``: only if the exception came from there itself."""
    found: Spot | None = None
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_filename.startswith(FILE_PREFIX):
            program = frame.f_globals["PROGRAM"]
            found = program, program.translation.lines[trace.tb_lineno], frame.f_locals
        elif last:
            found = None
        trace = trace.tb_next
    return found


def place(program: Program, slot: int) -> Where:
    """The function, instruction and source line of a slot."""
    start, function = next((s, f.name) for s, f in reversed(program.linked.functions) if s <= slot)
    record: LineInfo | None = None
    for at, line in program.linked.lines:
        if start <= at <= slot:
            record = line
    if record is None:
        return Where(function, slot - start)
    return Where(function, slot - start, record.file, record.line, record.text)


def _explain(error: Exception) -> MachineError | None:
    """The machine's error for an exception of Python that came from translated code itself."""
    spot = _innermost(error.__traceback__, last=True)
    if spot is None:
        return None
    program, slot, registers = spot
    where = place(program, slot)
    if isinstance(error, NameError):
        # ``error.name`` is not set for a local variable that was deleted.
        register = _REGISTER.search(str(error))
        if register is None:
            return None
        return Uninitialised(f"{register[1]} is read here, but nothing was written to it", where)
    insn = program.insn(slot)
    if isinstance(error, IndexError) and "r10" not in registers:
        return BadCode(f"calls are nested deeper than {MOST_FRAMES}", _caller(error, where))
    if insn.cls not in (Class.LDX, Class.ST, Class.STX):
        return None
    write = insn.cls is not Class.LDX and insn.imm != AtomicImm.LOAD_ACQUIRE
    base = insn.dst if insn.cls is not Class.LDX and write else insn.src
    return _bad_access(program, insn, registers[f"r{base}"], write, where)


def _bad_access(program: Program, insn: Insn, base: int, write: bool, where: Where) -> MachineError:
    memory = program.machine.memory
    address, size = base + insn.offset & M64, width_of(insn)
    region = memory.regions.get(address >> PAGE_BITS)
    inside = region is not None and address - region.address + size <= region.size
    message = memory.describe(address, size, write)
    return (ReadOnly if inside and write else OutOfBounds)(message, where)


def _caller(error: Exception, where: Where) -> Where:
    """The place of the call that was one too many: the second frame from the inside."""
    found, trace = where, error.__traceback__
    spots: list[Where] = []
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_filename.startswith(FILE_PREFIX):
            program = frame.f_globals["PROGRAM"]
            spots.append(place(program, program.translation.lines[trace.tb_lineno]))
        trace = trace.tb_next
    return spots[-2] if len(spots) > 1 else found
