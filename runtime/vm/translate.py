"""A linked program to Python: each of its functions becomes one Python function.

Registers are local variables, so Python itself finds reads of those that were never written. Nothing is done at run time
for the sake of errors: a table gives the instruction of each line of the text, and an exception's traceback the line.
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Mapping
from types import CodeType

from pyebpf.backend.insn import CALL, LD_IMM64, SLOT_BYTES, CallKind, Insn, InsnError, Pseudo, decode
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import RelocKind
from pyebpf.records import dataclass, field
from pyebpf.runtime.linker import Linked
from pyebpf.runtime.vm.errors import BadCode, Where
from pyebpf.runtime.vm.kfuncs import KFUNCS
from pyebpf.runtime.vm.translate_alu import divide, modulo, swap32, swap64
from pyebpf.runtime.vm.translate_code import Function, Names, entry_state, write_function
from pyebpf.runtime.vm.translate_facts import TAIL_CALL, Base, Calls, Place, facts_of, live_arguments
from pyebpf.runtime.vm.translate_flow import Placed, flow_of
from pyebpf.runtime.vm.translate_memory import Direct
from pyebpf.uapi.helpers import helper_by_id

if TYPE_CHECKING:
    from typing import Final


RUNTIME: Final[dict[str, object]] = {
    **{f"u{width}": struct.Struct(f"<{code}").unpack_from for width, code in ((2, "H"), (4, "I"), (8, "Q"))},
    **{f"p{width}": struct.Struct(f"<{code}").pack_into for width, code in ((2, "H"), (4, "I"), (8, "Q"))},
    "divide": divide,
    "modulo": modulo,
    "swap32": swap32,
    "swap64": swap64,
    "ZEROS": bytes(512),
}
"""Names that translated code uses and that depend on nothing."""

FILE_PREFIX: Final = "<bpf "
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Target:
    """What an ``ld_imm64`` points to: ``offset`` bytes into the map or section ``name``, or a function's first slot."""

    kind: RelocKind
    name: str
    offset: int = 0


@dataclass(slots=True)
class Translation:
    """A program as Python. ``code`` defines a function ``f<slot>`` for each BPF function; ``lines``: the slot of each
    line of its text; ``arguments``: the registers that each function takes, by first slot. ``targets``: what the names
    ``A<slot>`` must be, ``sections``: the names of the bytes of sections. ``helpers``: by name in the code. ``kfuncs``: the
    kernel's functions, by their own names."""

    filename: str
    text: str
    code: CodeType
    lines: list[int]
    arguments: dict[int, tuple[int, ...]]
    targets: dict[str, Target] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)
    helpers: dict[str, int] = field(default_factory=dict)
    kfuncs: set[str] = field(default_factory=set)


@functools.lru_cache(maxsize=256)
def _compiled(text: str, name: str) -> CodeType:
    """Programs that are loaded again are not compiled again."""
    return compile(text, f"{FILE_PREFIX}{name} {next(_numbers)}>", "exec", dont_inherit=True)


def translate(
    linked: Linked,
    place: Mapping[int, Target],
    sections: Mapping[str, int],
    has_helper: Mapping[int, object],
) -> Translation:
    """Translate a program.

    Args:
        linked: its code, little-endian; references to maps and data are not resolved in it.
        place: what the references to maps and data lead to, by slot.
        sections: the sizes of the data sections in bytes.
        has_helper: the helpers that there are, by number.

    Raises ``BadCode`` for code that is none.
    """
    functions = _split(linked)
    maker = _Translator(linked, dict(place), sections, has_helper, functions)
    return maker.run()


def _split(linked: Linked) -> dict[int, list[Placed]]:
    """The instructions of each function by its first slot."""
    starts = [start for start, _ in linked.functions]
    ends = [*starts[1:], len(linked.code) // SLOT_BYTES]
    functions: dict[int, list[Placed]] = {}
    for (start, function), end in zip(linked.functions, ends, strict=True):
        try:
            insns = decode(bytes(linked.code[start * SLOT_BYTES : end * SLOT_BYTES]))
        except InsnError as error:
            raise BadCode(str(error), Where(function.name, error.slot)) from None
        slot = start
        placed: list[Placed] = []
        for insn in insns:
            placed.append((slot, insn))
            slot += insn.slots
        functions[start] = placed
    return functions


@dataclass(slots=True)
class _Translator:
    linked: Linked
    place: dict[int, Target]
    sections: Mapping[str, int]
    has_helper: Mapping[int, object]
    functions: dict[int, list[Placed]]
    names: Names = field(default_factory=Names)
    calls: Calls = field(default_factory=Calls)
    targets: dict[str, Target] = field(default_factory=dict)
    section_names: dict[str, str] = field(default_factory=dict)
    helpers: dict[str, int] = field(default_factory=dict)
    kfuncs: set[str] = field(default_factory=set)
    kernel_functions: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        # Their calls have the form of those of functions until somebody knows the kernel's number.
        self.kernel_functions = {
            r.slot: r.relocation.symbol for r in self.linked.open if r.relocation.kind is RelocKind.KFUNC
        }

    def run(self) -> Translation:
        names = dict(self.linked.functions)
        flows = {start: flow_of(insns, names[start].name) for start, insns in self.functions.items()}
        calls: dict[int, int] = {}
        for start, insns in self.functions.items():
            for slot, insn in insns:
                self._refer(slot, insn, names[start].name, slot - start, calls)
        arguments: dict[int, tuple[int, ...]] = {start: () for start in flows if start}
        arguments[0] = (1,)
        changed = True
        while changed:
            # What a function reads depends on what the functions that it calls read.
            for slot, target in calls.items():
                self.calls.arguments[slot] = arguments[target]
            found = {start: live_arguments(flow, self.calls) for start, flow in flows.items()}
            found[0] = (1,)
            changed = found != arguments
            arguments = found
        direct = Direct({name: self.sections[section] for name, section in self.section_names.items()}, True)
        text: list[str] = []
        lines: list[int] = [0]
        for start, flow in flows.items():
            function = Function(names[start].name, f"f{start}", start, flow, arguments[start], start == 0)
            facts = facts_of(flow, entry_state(function, start == 0), self.calls)
            for line in write_function(function, self.names, self.calls, facts, direct):
                text.append(f"{' ' * line.level}{line.text}\n")
                lines.append(line.slot)
        whole = "".join(text)
        code = _compiled(whole, self.linked.program.name)
        return Translation(
            code.co_filename,
            whole,
            code,
            lines,
            arguments,
            self.targets,
            self.section_names,
            self.helpers,
            self.kfuncs,
        )

    def _refer(self, slot: int, insn: Insn, function: str, own_slot: int, calls: dict[int, int]) -> None:
        """Note what an instruction refers to."""
        where = Where(function, own_slot)
        if insn.opcode == LD_IMM64:
            self._refer_number(slot, insn, where)
        elif insn.opcode == CALL and slot in self.kernel_functions:
            self._refer_kernel_function(slot, self.kernel_functions[slot])
        elif insn.opcode == CALL and insn.src == CallKind.SUBPROGRAM:
            target = slot + 1 + insn.imm
            if target not in self.functions:
                raise BadCode("a call to where there is no function", where)
            self.names.functions[slot] = f"f{target}"
            calls[slot] = target
        elif insn.opcode == CALL:
            self._refer_helper(slot, insn)

    def _refer_kernel_function(self, slot: int, name: str) -> None:
        if name not in KFUNCS:
            self.calls.arguments[slot] = ()
            self.names.missing[slot] = f"the kernel function {name}"
            return
        self.calls.arguments[slot] = tuple(range(1, KFUNCS[name].arguments + 1))
        self.names.kfuncs[slot] = name
        self.kfuncs.add(name)

    def _refer_helper(self, slot: int, insn: Insn) -> None:
        self.calls.arguments[slot] = ()
        helper = helper_by_id(insn.imm)
        if insn.imm == TAIL_CALL:
            self.calls.arguments[slot] = (1, 2, 3)
        elif insn.imm not in self.has_helper or insn.src != CallKind.HELPER:
            name = f"the helper bpf_{helper.name}" if helper is not None else f"helper number {insn.imm}"
            self.names.missing[slot] = name
        else:
            count = len(helper.args) if helper is not None else 5
            self.calls.arguments[slot] = tuple(range(1, count + 1))
            if helper is not None and helper.variadic:
                self.names.variadic.add(slot)
            self.names.helpers[slot] = f"h{insn.imm}"
            self.helpers[f"h{insn.imm}"] = insn.imm

    def _refer_number(self, slot: int, insn: Insn, where: Where) -> None:
        target = self.place.get(slot)
        if insn.src == Pseudo.FUNC:
            distance = (insn.imm & 0xFFFF_FFFF ^ 1 << 31) - (1 << 31)
            start = slot + 1 + distance
            if start not in self.functions:
                raise BadCode("the address of a function that is none", where)
            target = Target(RelocKind.FUNC, str(start))
        elif target is None:
            if insn.src:
                raise BadCode(f"a constant of kind {insn.src} without a reference", where)
            return
        name = f"A{slot}"
        self.names.numbers[slot] = name
        self.targets[name] = target
        if target.kind is RelocKind.DATA:
            section = next((n for n, s in self.section_names.items() if s == target.name), None)
            if section is None:
                section = f"B{len(self.section_names)}"
                self.section_names[section] = target.name
            self.calls.places[slot] = Place(Base.DATA, target.offset, section)
