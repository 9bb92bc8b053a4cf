"""Python statements for loads, stores and atomic operations.

In general an address is looked up: its page in ``pages``, and there the bytes at its offset by functions that check the
bounds. The frame, the context and data sections at constant offsets need no look-up: aligned frame slots are items of
views of the frame (``Q``, ``I``, ``H``, ``S``), the others bytes of ``C`` (the context) and of ``B<n>`` (sections).
"""

from __future__ import annotations

from collections.abc import Mapping

from pyebpf.backend.insn import AtomicImm, Class, Insn, Mode
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime.vm.translate_facts import M64, Base, Place, State

if TYPE_CHECKING:
    from typing import Final


FRAME_BYTES: Final = 512
PAGE: Final = "{} >> 24"
OFFSET: Final = "{} & 16777215"
_VIEWS: Final = {1: "S", 2: "H", 4: "I", 8: "Q"}
_WIDTHS: Final = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}

_QUEUE_MAPPING: Final = "12"
_NARROW: Final = frozenset({_QUEUE_MAPPING, "44", "72"})
"""The offsets of ``queue_mapping``, ``tc_index`` and ``tc_classid`` in ``__sk_buff``: bpf_convert_ctx_access() makes
stores of 16 bits of them. No other context has fields to write there."""


def width_of(insn: Insn) -> int:
    """How many bytes a memory instruction accesses."""
    return _WIDTHS[insn.opcode & 0x18]


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Where an access is: ``buffer[index]``, in units of the access if ``cast``."""

    buffer: str
    index: str
    cast: bool = False

    def load(self, width: int) -> str:
        """The unsigned number there."""
        if self.cast or width == 1:
            return f"{self.buffer}[{self.index}]"
        return f"u{width}({self.buffer}, {self.index})[0]"

    def store(self, width: int, value: str) -> str:
        """Put a number there, which fits."""
        if self.cast or width == 1:
            return f"{self.buffer}[{self.index}] = {value}"
        return f"p{width}({self.buffer}, {self.index}, {value})"


@dataclass(frozen=True, slots=True)
class Direct:
    """What can be accessed without look-up: the sizes of data sections by name, and whether r1 is the context."""

    sections: Mapping[str, int]
    context: bool

    def find(self, known: object, distance: int, width: int) -> _Bytes | None:
        """The place of an access, if it needs no look-up and is certainly within its bounds (of the context: not before
        them)."""
        if not isinstance(known, Place):
            return None
        at = known.offset + distance
        match known.base:
            case Base.FRAME:
                at += FRAME_BYTES
                if not 0 <= at <= FRAME_BYTES - width:
                    return None
                return _Bytes("S", str(at)) if at % width else _Bytes(_VIEWS[width], str(at // width), True)
            case Base.DATA:
                inside = 0 <= at <= self.sections[known.name] - width
                return _Bytes(known.name, str(at)) if inside else None
            case Base.CONTEXT:
                return _Bytes("C", str(at)) if at >= 0 else None


def memory(state: State, insn: Insn, direct: Direct) -> list[str]:
    """The statements of an LDX, ST or STX instruction."""
    width = width_of(insn)
    mode = insn.opcode & 0xE0
    if insn.cls is Class.LDX or (mode == Mode.ATOMIC and insn.imm == AtomicImm.LOAD_ACQUIRE):
        before, place = _place(state, insn.src, insn.offset, width, direct)
        value = place.load(width)
        if mode == Mode.MEMSX:
            sign = 1 << width * 8 - 1
            value = f"({value} ^ {sign}) - {sign} & {M64}"
        return [*before, f"r{insn.dst} = {value}"]
    before, place = _place(state, insn.dst, insn.offset, width, direct)
    if place.buffer == "C" and width == 4 and place.index in _NARROW:
        return _store_narrow(place, insn)
    if insn.cls is Class.ST:
        return [*before, place.store(width, str(insn.imm & (1 << width * 8) - 1))]
    value = _cut(state, insn.src, width)
    if mode != Mode.ATOMIC or insn.imm == AtomicImm.STORE_RELEASE:
        return [*before, place.store(width, value)]
    return [*before, *_atomic(state, insn, place, width, value)]


def _store_narrow(place: _Bytes, insn: Insn) -> list[str]:
    """A store to a field that the kernel keeps in 16 bits; a queue too large for it is left out. The kernel compares a
    constant as a signed number."""
    queue = place.index == _QUEUE_MAPPING
    if insn.cls is Class.ST:
        return ["pass"] if queue and insn.imm >= 65535 else [place.store(4, str(insn.imm & 65535))]
    lines = [f"x = r{insn.src} & 4294967295"]
    if queue:
        return [*lines, f"if x < 65535: {place.store(4, 'x')}"]
    return [*lines, place.store(4, "x & 65535")]


def _place(state: State, base: int, distance: int, width: int, direct: Direct) -> tuple[list[str], _Bytes]:
    """Where an access is, after statements that find it."""
    found = direct.find(state.known[base], distance, width)
    if found is not None:
        return [], found
    if distance == 0:
        address = f"r{base}"
        return [], _Bytes(f"pages[{PAGE.format(address)}]", OFFSET.format(address))
    sign = "+" if distance > 0 else "-"
    return [f"a = r{base} {sign} {abs(distance)}"], _Bytes(f"pages[{PAGE.format('a')}]", OFFSET.format("a"))


def _cut(state: State, register: int, width: int) -> str:
    fits = state.bits(register) <= width * 8
    return f"r{register}" if fits else f"r{register} & {(1 << width * 8) - 1}"


def _atomic(state: State, insn: Insn, place: _Bytes, width: int, value: str) -> list[str]:
    """Read-modify-write; the old value goes to src, of a compare-and-exchange to r0. Those of 32 bits extend it with
    zeros, whether or not they compare equal."""
    load = f"x = {place.load(width)}"
    mask = (1 << width * 8) - 1
    match AtomicImm(insn.imm):
        case AtomicImm.XCHG:
            return [load, place.store(width, value), f"r{insn.src} = x"]
        case AtomicImm.CMPXCHG:
            return [load, f"if x == {_wrapped(_cut(state, 0, width))}: {place.store(width, value)}", "r0 = x"]
        case AtomicImm.ADD | AtomicImm.FETCH_ADD:
            new = f"x + r{insn.src} & {mask}"
        case AtomicImm.AND | AtomicImm.FETCH_AND:
            new = f"x & r{insn.src}"
        case AtomicImm.OR | AtomicImm.FETCH_OR:
            new = f"x | ({value})"
        case AtomicImm.XOR | AtomicImm.FETCH_XOR:
            new = f"x ^ ({value})"
        case AtomicImm.LOAD_ACQUIRE | AtomicImm.STORE_RELEASE:
            raise AssertionError("these are a load and a store")
    lines = [load, place.store(width, new)]
    return [*lines, f"r{insn.src} = x"] if insn.imm & 1 else lines


def _wrapped(text: str) -> str:
    return f"({text})"
