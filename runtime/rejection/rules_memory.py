"""Rows about values and memory: what may be ``None``, packets, values of maps, the stack, arithmetic, contexts."""

from __future__ import annotations

from collections.abc import Mapping

from pyebpf.codes import Code
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.rejection.rules import Blame, Follow, Rule
from pyebpf.runtime.rejection.trace import gives_back, may_move_packet

if TYPE_CHECKING:
    from typing import Final


_FRAME: Final = 512
_NONE: Final = "`None` on at least one way to here"
_TEST_IT: Final = ("test it first, on every way to this place: `if x is None: return …`",)
_READ_CHECKED: Final = ("`ctx.read(T, offset)` tests the length of the packet at each access",)
_BOUND_IT: Final = (
    "give the index an upper bound right before: `if i >= n: return …`, or `i & (n - 1)` for a power of two",
)
_NOT_ENOUGH: Final = "this comparison bounds it, but not enough"
_INDEX_FROM: Final = "the index came from here: {index}"
_PACKET: Final = r"invalid access to packet, off=(?P<off>-?\d+) size=(?P<size>\d+), R(?P<reg>\d+)"
_PLACE: Final = r"off=(?P<off>-?\d+) size=(?P<size>\d+)"


def _outside(groups: Mapping[str, str]) -> bool:
    """Whether an access to the stack is beyond the frame, so that it is not about what memory holds."""
    offset, size = int(groups["off"]), int(groups["size"])
    return offset < -_FRAME or offset + size > 0


def _inside(groups: Mapping[str, str]) -> bool:
    return not _outside(groups)


MAYBE_NONE: Final = (
    Rule(
        Code.E1101,
        (r"R(?P<reg>\d+) invalid mem access '(?P<kind>\w*or_null\w*)'",),
        "{value} may be `None`, and is used",
        _TEST_IT,
        label=_NONE,
        origin="it came from here",
    ),
    Rule(
        Code.E1101,
        (r"(?:R(?P<reg>\d+) )?pointer arithmetic on (?P<kind>\w*or_null\w*) prohibited",),
        "{value} may be `None`, and a part of it is used",
        _TEST_IT,
        label=_NONE,
        origin="it came from here",
    ),
    Rule(
        Code.E1101,
        (r"R(?P<reg>\d+) type=(?P<kind>\w*or_null\w*) expected=",),
        "{value} may be `None`, and is given to {helper}",
        _TEST_IT,
        label=_NONE,
        origin="it came from here",
    ),
    Rule(
        Code.E1101,
        (r"Possibly NULL pointer passed to (?:trusted|helper) arg(?P<argument>\d+)",),
        "a kernel object may be `None`, and is given to {helper}",
        _TEST_IT,
        label=_NONE,
        origin="it came from here",
    ),
    Rule(
        Code.E1101,
        (r"arg#(?P<argument>\d+) is expected to be non-NULL",),
        "an argument may be `None`, and a global function uses it without a test",
        _TEST_IT,
        label=_NONE,
        origin="it came from here",
    ),
)

NO_REFERENCE: Final = (
    Rule(
        Code.E1102,
        (r"R(?P<reg>\d+) invalid mem access '(?:scalar|inv)'",),
        "a reference into the packet is used after the packet was changed",
        ("read it again after the call: `ctx.read(T, offset)`",),
        label="no reference any more",
        origin="it was made here",
        call="this call may move the packet",
        calls=may_move_packet,
        of=r"pkt\b.*",
    ),
    Rule(
        Code.E1102,
        (r"R(?P<reg>\d+) invalid mem access '(?:scalar|inv)'",),
        "a record is used after it was submitted or discarded",
        ("use it before, or copy what is needed out of it",),
        label="no record any more",
        origin="it was reserved here",
        call="it was given back here",
        calls=gives_back,
        of=r"(?:ringbuf_mem|alloc_mem|mem)(?:_or_null)?\b.*",
    ),
    Rule(
        Code.E1102,
        (r"R(?P<reg>\d+) invalid mem access '(?:scalar|inv)'",),
        "{value} is used as a reference",
        (
            "memory is accessed through what the context, maps and helpers give; other addresses are read with "
            "`bpf.probe_read_kernel` or `bpf.probe_read_user`",
        ),
        label="not an address that the kernel can follow",
        origin="it came from here",
    ),
    Rule(
        Code.E1102,
        (r"R(?P<reg>\d+) invalid mem access '(?P<kind>[^']+)'",),
        "{value} is accessed as if it were memory",
        ("such a value can be passed on, but nothing is read from it or written to it",),
        label="nothing can be read or written here",
        origin="it came from here",
    ),
)

PACKETS: Final = (
    Rule(
        Code.E1103,
        (_PACKET + r"\(id=0,off=-?\d+,r=0\)",),
        "byte {last} of the packet is used, and nothing is known about the packet's length",
        _READ_CHECKED,
        label="the packet may be shorter",
        origin="a reference to the packet, made here",
    ),
    Rule(
        Code.E1103,
        (_PACKET + r"\(id=0,off=-?\d+,r=(?P<r>\d+)\)",),
        "byte {last} of the packet is used, but the packet is only known to have {r} bytes",
        _READ_CHECKED,
        label="the packet may be shorter",
        origin="a reference to the packet, made here",
        test="this test is about fewer bytes, or about another reference",
    ),
    Rule(
        Code.E1103,
        (_PACKET + r"\(id=\d+,off=-?\d+,r=(?P<r>\d+)\)",),
        "the packet is used at a variable offset without a test that covers {size_bytes} there",
        _READ_CHECKED,
        label="the packet may end before",
        origin="the offset came from here: {index}",
        test="this test is about fewer bytes, or about another reference",
        follow=Follow.INDEX,
    ),
    Rule(
        Code.E1103,
        (r"R(?P<reg>\d+) offset is outside of the packet",),
        "the packet is used beyond what was tested",
        _READ_CHECKED,
        label="the packet may be shorter",
    ),
)

INDICES: Final = (
    Rule(
        Code.E1104,
        (
            r"invalid access to map value, value_size=(?P<limit>\d+) "
            + _PLACE
            + r"\nR(?P<reg>\d+) max value is outside",
        ),
        "an index may be too large for {value}, which has {limit_bytes}",
        _BOUND_IT,
        label="the access may reach byte {last}, the last one is {limit_last}",
        origin=_INDEX_FROM,
        test=_NOT_ENOUGH,
        follow=Follow.INDEX,
        of=r".*max(?:_value)?=.*",
    ),
    Rule(
        Code.E1104,
        (
            r"invalid access to map value, value_size=(?P<limit>\d+) " + _PLACE + r"(?:\nR(?P<reg>\d+) )?",
            r"invalid access to memory, mem_size=(?P<limit>\d+) " + _PLACE + r"(?:\nR(?P<reg>\d+) )?",
        ),
        "{size_bytes} at offset {off} are outside of {value}, which has {limit_bytes}",
        ("use an offset inside the value",),
        label="outside",
        origin="the value came from here",
    ),
    Rule(
        Code.E1104,
        (
            r"R(?P<reg>\d+) min value is negative, either use unsigned index",
            r"R(?P<reg>\d+) min value is outside of the (?:allowed memory|array) range",
        ),
        "an index into {value} may be negative",
        ("use an unsigned number, or test it from below too: `if i < 0: return …`",),
        label="may be before the beginning",
        origin=_INDEX_FROM,
        test=_NOT_ENOUGH,
        follow=Follow.INDEX,
    ),
    Rule(
        Code.E1104,
        (
            r"R(?P<reg>\d+) unbounded memory access, make sure to bounds check any",
            r"R(?P<reg>\d+) max value is outside of the (?:allowed memory|array) range",
        ),
        "an index into {value} may be too large",
        _BOUND_IT,
        label="may be beyond the end",
        origin=_INDEX_FROM,
        test=_NOT_ENOUGH,
        follow=Follow.INDEX,
    ),
    Rule(
        Code.E1104,
        (
            r"math between (?P<kind>\w+) pointer and register with unbounded min value is not allowed",
            r"math between (?P<kind>\w+) pointer and -?\d+ is not allowed",
            r"value -?\d+ makes (?P<kind>\w+) pointer be out of bounds",
        ),
        "an index into {value} may be anything",
        (*_BOUND_IT, "a number that may be negative needs a lower bound too"),
        label="moved by a number without bounds",
        origin=_INDEX_FROM,
        test=_NOT_ENOUGH,
        follow=Follow.INDEX,
    ),
)

STACK: Final = (
    Rule(
        Code.E1106,
        (
            r"invalid (?:unbounded )?variable-offset (?:indirect )?(?:read from|write to|access to) stack R(?P<reg>\d+)",
            r"R(?P<reg>\d+) variable stack access prohibited for !root",
        ),
        "an index into local memory may be too large",
        _BOUND_IT,
        label="may be beyond the end",
        origin=_INDEX_FROM,
        test=_NOT_ENOUGH,
        follow=Follow.INDEX,
    ),
    Rule(
        Code.E1112,
        (
            r"invalid (?:indirect )?(?:write to|access to|read from) stack R(?P<reg>\d+) " + _PLACE,
            r"invalid stack type R(?P<reg>\d+) off=(?P<off>-?\d+) access_size=(?P<size>\d+)",
        ),
        "{helper} may use {size_bytes} of memory that has fewer",
        ("pass the size of the buffer: `bpf.sizeof(buffer)`",),
        label="the buffer is smaller",
        at_call=True,
        only=_outside,
    ),
    Rule(
        Code.E1105,
        (
            r"invalid (?:indirect )?read from stack R(?P<reg>\d+) off[ =](?P<off>-?\d+)(?:\+\d+)? size[ =](?P<size>\d+)",
            r"invalid (?:indirect )?read from stack off (?P<off>-?\d+)\+\d+ size (?P<size>\d+)",
        ),
        "memory is read that nothing was written to",
        ("set all of it first; a struct that is built by calling its class is zero where nothing is given",),
        label="not all {size_bytes} have contents",
        follow=Follow.NOTHING,
        only=_inside,
    ),
    Rule(
        Code.E1106,
        (
            r"invalid (?:indirect )?(?:write to|access to|read from) stack R\d+ " + _PLACE,
            r"invalid stack " + _PLACE,
        ),
        "{size_bytes} outside of the function's local memory are used",
        ("a function has 512 bytes of stack",),
        label="outside",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1107,
        (r"combined stack size of \d+ calls is (?P<total>\d+)\. Too large",),
        "a program and the functions that it calls need {total} bytes of stack; 512 are allowed",
        ("move large structs and arrays into a `bpf.PerCpuArray` of one element",),
        follow=Follow.NOTHING,
        whole=True,
    ),
    Rule(
        Code.E1191,
        (
            r"misaligned stack access",
            r"attempt to corrupt spilled pointer on stack",
            r"corrupted spill memory",
            r"invalid size of register (?:spill|fill)",
        ),
        "a value is kept at a place of the stack that does not suit it",
        blame=Blame.COMPILER,
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1131,
        (r"misaligned (?:packet |value |context |\w+ )?access",),
        "memory is accessed at an address that is no multiple of the width",
        ("read it in bytes, or through a packed struct",),
        label="this machine does not do that",
    ),
)

ARITHMETIC: Final = (
    Rule(
        Code.E1108,
        (r"(?:R(?P<reg>\d+) )?pointer arithmetic on (?P<kind>\w+) prohibited",),
        "arithmetic on {value}",
        ("use it as it is; fields, indices and `ctx.read(T, offset)` find places in memory",),
        label="{value} cannot be moved",
        origin="it came from here",
    ),
    Rule(
        Code.E1108,
        (
            r"R(?P<reg>\d+) bitwise operator \S+ on pointer prohibited",
            r"R(?P<reg>\d+) pointer arithmetic with \S+ operator prohibited",
            r"R(?P<reg>\d+) 32-bit pointer arithmetic prohibited",
            r"R(?P<reg>\d+) pointer \S+ pointer prohibited",
            r"R(?P<reg>\d+) tried to (?:add|subtract) .* prohibited",
            r"R(?P<reg>\d+) tried to subtract pointer from scalar",
            r"R(?P<reg>\d+) subtraction from stack pointer prohibited",
            r"R(?P<reg>\d+) (?:partial copy of|sign-extension part of) pointer",
            r"R(?P<reg>\d+) pointer comparison prohibited",
        ),
        "arithmetic on {value}, which only adding and subtracting numbers can move",
        ("compute with numbers, and use references for access only",),
        label="not possible with a reference",
        origin="it came from here",
    ),
    Rule(
        Code.E1109,
        (r"same insn cannot be used with different pointers",),
        "one access is to memory of two kinds: {value} on this way, something else on another",
        ("access each in its own branch, or copy one of them first: `bpf.copy(x)`",),
        label="two kinds of memory come together here",
        origin="on this way it came from here",
    ),
)

CONTEXTS: Final = (
    Rule(
        Code.E1110,
        (r"variable ctx access var_off=",),
        "a context field is used at a variable offset",
        ("use the fields by name, or constant indices",),
        label="not a constant place",
        origin="the offset came from here: {index}",
        follow=Follow.INDEX,
    ),
    Rule(
        Code.E1110,
        (r"dereference of modified ctx ptr R(?P<reg>\d+)", r"negative offset ctx ptr R(?P<reg>\d+)"),
        "the context is used at a computed place",
        ("use the fields by name",),
        label="the context was moved before",
        origin="it came from here",
    ),
    Rule(
        Code.E1110,
        (r"invalid bpf_context access " + _PLACE,),
        "the context of {program_kind} programs has no field that can be {done} at offset {off} with {size_bytes}",
        ("`help(bpf.SkBuff)` and `help(bpf.Xdp)` list what each type may read and write",),
        label="this field is not available so",
        follow=Follow.NOTHING,
    ),
    Rule(
        Code.E1122,
        (r"write into map forbidden", r"R(?P<reg>\d+) cannot write into (?P<kind>\w+)"),
        "constant memory is written",
        ("use a `bpf.Global`, or a map that programs may write",),
        label="this can only be read",
        origin="it came from here",
    ),
    Rule(
        Code.E1130,
        (
            r"BPF_(?:ATOMIC|XADD) (?:stores|loads) (?:into|from) R(?P<reg>\d+) (?P<kind>\w+) is not allowed",
            r"invalid atomic operand size",
        ),
        "an atomic operation on {value}",
        ("use a value of a map or a `bpf.Global`, with 32 or 64 bits",),
        label="not possible there",
    ),
)

ROWS: Final = (*MAYBE_NONE, *NO_REFERENCE, *PACKETS, *INDICES, *STACK, *ARITHMETIC, *CONTEXTS)
