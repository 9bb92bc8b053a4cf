"""One BPF function as the text of one Python function: what each instruction becomes, and how instructions are counted.

The function takes ``m`` (the execution), ``d`` (its depth in the chain of calls) and those of r1 … r5 that it reads.
``n`` is what is left of the budget: what runs between two branches is taken off at once.
"""

from __future__ import annotations

from pyebpf.backend.insn import CALL, LD_IMM64, CallKind, Class, Insn, Mode
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass, field
from pyebpf.runtime.vm.translate_alu import alu, condition
from pyebpf.runtime.vm.translate_facts import M64, TAIL_CALL, Base, Calls, Facts, Place, State, step
from pyebpf.runtime.vm.translate_flow import Flow
from pyebpf.runtime.vm.translate_memory import FRAME_BYTES, Direct, memory, width_of
from pyebpf.runtime.vm.translate_structure import Structured, write_dispatch
from pyebpf.runtime.vm.translate_text import Line, Text, TooDeep

if TYPE_CHECKING:
    from typing import Final


_WITH_CALLBACK: Final = frozenset({164, 171, 180, 181, 209})
"""Helpers that may call the program back: for_each_map_elem, timer_set_callback, find_vma, loop, user_ringbuf_drain."""

MAY_GOTO_ROUNDS: Final = 8 * 1024 * 1024
"""BPF_MAX_LOOPS of the kernel: how often the ``may_goto`` instructions of a call go on."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the text of a function calls things, by slot: ``functions`` that are called, ``helpers``, ``numbers`` of
    ``ld_imm64`` that are known only when the program is loaded, ``kfuncs`` of the kernel. ``variadic`` calls take the
    further registers that are set; ``missing`` ones cannot be made."""

    functions: dict[int, str] = field(default_factory=dict)
    helpers: dict[int, str] = field(default_factory=dict)
    numbers: dict[int, str] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    kfuncs: dict[int, str] = field(default_factory=dict)
    variadic: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Function:
    """A BPF function on its way to Python. ``arguments``: the registers that it takes."""

    name: str
    python_name: str
    start: int
    flow: Flow
    arguments: tuple[int, ...]
    entry: bool


@dataclass(slots=True)
class CodeWriter:
    """Writes the instructions of one function."""

    function: Function
    names: Names
    calls: Calls
    facts: Facts
    direct: Direct
    text: Text = field(default_factory=Text)
    ends: dict[int, State] = field(default_factory=dict)

    def body(self, block: int, pending: int) -> int:
        """The instructions of a block but for its jump."""
        state = self.facts.at_start[block].copy()
        found = self.function.flow.blocks[block]
        for slot, insn in found.body:
            self.text.slot = slot
            pending = self._instruction(state, slot, insn, pending + 1)
            step(state, slot, insn, self.calls)
        if found.last is not None:
            self.text.slot = found.last[0]
            pending += 1
        self.ends[block] = state
        return pending

    def leave(self, block: int, pending: int) -> None:
        """The exit."""
        self.text.add(f"m.left = n - {pending}")
        if self.ends[block].unset & 1 and not self.function.entry:
            # A static function need not have a result: the verifier asks for r0 only where a caller reads it.
            self.text.add("try: return r0")
            self.text.add("except NameError: return None")
        else:
            self.text.add("return r0")

    def condition(self, block: int, holds: bool) -> str:
        """The condition of the jump at the end of a block, or its opposite."""
        last = self.function.flow.blocks[block].last
        assert last is not None
        insn = last[1]
        if insn.opcode & 0xF0 == 0xE0:  # may_goto: jumps when its rounds are used up
            return f"(g := g - 1) {'<' if holds else '>='} 0"
        return condition(self.ends[block], insn, holds)

    def count(self, pending: int) -> None:
        """Count what is pending."""
        if pending:
            self.text.add(f"n -= {pending}")

    def check_budget(self, pending: int) -> None:
        """Count what is pending, and end the run if that was too much."""
        self.count(pending)
        self.text.add("if n < 0: spent()")

    def _instruction(self, state: State, slot: int, insn: Insn, pending: int) -> int:
        text = self.text
        match insn.cls:
            case Class.ALU | Class.ALU64:
                text.add(f"r{insn.dst} = {alu(state, insn)}")
            case Class.LDX | Class.ST | Class.STX:
                for line in memory(state, insn, self.direct):
                    text.add(line)
            case Class.LD if insn.opcode == LD_IMM64:
                text.add(f"r{insn.dst} = {self.names.numbers.get(slot, insn.imm)}")
            case Class.LD:
                self._load_packet(insn, pending)
                self._destroy()
            case _ if insn.opcode == CALL:
                return self._call(state, slot, insn, pending)
            case _:
                raise AssertionError(f"opcode {insn.opcode:#04x} in the body of a block")
        return pending

    def _load_packet(self, insn: Insn, pending: int) -> None:
        """ld_abs and ld_ind: outside of the packet they end the program with 0. Their context is r6."""
        indirect = insn.opcode & 0xE0 == Mode.IND
        offset = f"r{insn.src}" if indirect else "0"
        self.text.add(f"r0 = packet(run, r6, {offset} + {insn.imm}, {width_of(insn)})")
        self.text.add("if r0 is None:")
        self.text.level += 1
        self.text.add(f"m.left = n - {pending}")
        self.text.add("return 0")
        self.text.level -= 1

    def _destroy(self, registers: int = 0b111110) -> None:
        """Make reads of registers that a call destroyed fail, where there may be some."""
        gone = [f"r{n}" for n in range(6) if registers & self.facts.unsafe & 1 << n]
        if gone:
            self.text.add(f"{' = '.join(gone)} = 0")
            self.text.add(f"del {', '.join(gone)}")

    def _call(self, state: State, slot: int, insn: Insn, pending: int) -> int:
        text = self.text
        arguments = [f"r{register}" for register in self.calls.arguments[slot]]
        if slot in self.names.missing:
            text.add(f"missing({self.names.missing[slot]!r})")
            text.add("r0 = 0")
        elif slot in self.names.kfuncs:
            arguments += ["0"] * (5 - len(arguments))
            text.add(f"r0 = {self.names.kfuncs[slot]}(run, {', '.join(arguments)}) & {M64}")
        elif insn.src == CallKind.SUBPROGRAM:
            text.add(f"m.left = n - {pending}")
            text.add(f"r0 = {self.names.functions[slot]}({', '.join(['m', 'd + 1', *arguments])})")
            text.add("if r0 is None: del r0")
            text.add("n = m.left")
            pending = 0
        elif insn.imm == TAIL_CALL:
            text.add("x = m.tail(r2, r3)")
            text.add("if x is not None:")
            text.level += 1
            text.add(f"m.left = n - {pending}")
            text.add("return m.become(x, d, r1)")
            text.level -= 1
            self._destroy(1)
        else:
            back = insn.imm in _WITH_CALLBACK
            if back:
                text.add(f"m.left = n - {pending}")
                text.add("m.depth = d")
                pending = 0
            for register in range(len(arguments) + 1, 6):
                given = slot in self.names.variadic and not state.unset >> register & 1
                arguments.append(f"r{register}" if given else "0")
            text.add(f"r0 = {self.names.helpers[slot]}(run, {', '.join(arguments)}) & {M64}")
            if back:
                text.add("n = m.left")
        self._destroy()
        return pending


def write_function(
    function: Function, names: Names, calls: Calls, facts: Facts, direct: Direct
) -> list[Line]:
    """The lines of a function, its ``def`` first."""
    writer = CodeWriter(function, names, calls, facts, direct)
    if function.flow.reducible:
        try:
            Structured(function.flow, writer).write()
        except TooDeep:
            writer = CodeWriter(function, names, calls, facts, direct)
            write_dispatch(function.flow, writer)
    else:
        write_dispatch(function.flow, writer)
    written = [line for line in writer.text.lines if line.wanted]
    return [*_prologue(function, written), *written]


def _prologue(function: Function, lines: list[Line]) -> list[Line]:
    """``def`` and what the function needs: its frame, the context's bytes, the run."""
    uses = [line.text for line in lines]

    def used(*parts: str) -> bool:
        return any(part in text for part in parts for text in uses)

    parameters = ["m", "d", *(f"r{register}" for register in function.arguments)]
    found = [Line(0, f"def {function.python_name}({', '.join(parameters)}):", function.start)]

    def add(text: str) -> None:
        found.append(Line(1, text, function.start))

    add("S, Q, I, H, r10 = frames[d]")
    if used("r10", "S[", "Q[", "I[", "H[", "(S,"):
        add("S[:] = ZEROS")
    if used("C[", "(C,"):
        add("C = pages[r1 >> 24]")
    if used("(run,"):
        add("run = m.run")
    if used("(g := "):
        add(f"g = {MAY_GOTO_ROUNDS}")
    add("n = m.left")
    return found


def entry_state(function: Function, context: bool) -> State:
    """What is known where a function starts."""
    state = State([64] * 11, 0b11111111111)
    for register in function.arguments:
        state.put(register, 64)
    if context:
        state.put(1, Place(Base.CONTEXT))
    state.put(10, Place(Base.FRAME))
    return state


assert FRAME_BYTES == 512
