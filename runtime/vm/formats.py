"""Formats of bpf_trace_printk and bpf_snprintf: what bpf_bprintf_prepare() in kernel/bpf/helpers.c admits, printed as
the kernel's printf does."""

from __future__ import annotations

import re
import string

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.vm.errors import OutOfBounds
from pyebpf.runtime.vm.memory import Memory

if TYPE_CHECKING:
    from typing import Final


_SPEC: Final = re.compile(
    rb"%(?:(?P<percent>%)|(?P<flags>[0 +-]*)(?P<width>[1-9][0-9]*)?"
    rb"(?P<what>p(?:[ku]s|[KxsSB]|[iI][46])?|s|c|(?:l|ll)?[iduxX]))"
)
_LONGEST_STRING: Final = 512
_COPIED: Final = frozenset({b"pi", b"pI", b"pk", b"pu"})
"""Conversions whose text the kernel makes beforehand."""
_ENDS: Final = string.whitespace.encode() + string.punctuation.encode()
_ADMITTED: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\v\f\r")


class BadFormat(Exception):
    """EINVAL: the kernel does not take the format, or it wants more values than there are."""


def expand(text: bytes, values: tuple[int, ...], memory: Memory, room: int) -> bytes:
    """``text`` with its conversions replaced, also what goes beyond ``room`` bytes; but the kernel leaves out what
    it copies there: IP addresses, and strings by ``%pks``. Raises ``BadFormat``."""
    if not _ADMITTED.issuperset(text):
        raise BadFormat
    out = bytearray()
    at = used = 0
    while at < len(text):
        if text[at] != ord("%"):
            following = text.find(b"%", at)
            following = len(text) if following < 0 else following
            out += text[at:following]
            at = following
            continue
        found = _SPEC.match(text, at)
        if found is None:
            raise BadFormat
        at = found.end()
        if found["percent"]:
            out += b"%"
            continue
        what = found["what"]
        if used >= len(values):
            raise BadFormat
        # A pointer or a string ends its word, so that letters after it are not taken for a part of the format.
        if what in (b"p", b"s", b"pks", b"pus") and at < len(text) and text[at] not in _ENDS:
            raise BadFormat
        if what[:1] == b"p":
            # The kernel takes all letters and digits after it for a part of the conversion.
            while text[at : at + 1].isalnum():
                at += 1
        if what[:2] not in _COPIED or len(out) < room:
            out += _one(found["flags"], int(found["width"] or 0), what, values[used], memory)
        used += 1
    return bytes(out)


def _one(flags: bytes, width: int, what: bytes, value: int, memory: Memory) -> bytes:
    zero = b"0" in flags and b"-" not in flags
    body, sign = b"", b""
    match what[:1]:
        case b"s":
            body, zero = _string(value, memory), False
        case b"c":
            body, zero = bytes([value & 0xFF]), False
        case b"p":
            body, zero = _pointer(what[1:], value, memory), False
        case _:
            bits = 64 if what[:1] == b"l" else 32
            value &= (1 << bits) - 1
            letter = what[-1:]
            if letter in b"di":
                value -= (value >> bits - 1) << bits
                sign = b"-" if value < 0 else b"+" if b"+" in flags else b" " if b" " in flags else b""
            body = format(abs(value), letter.decode() if letter in b"xX" else "d").encode()
    if zero:
        return sign + body.rjust(width - len(sign), b"0")
    return (sign + body).ljust(width) if b"-" in flags else (sign + body).rjust(width)


def _string(address: int, memory: Memory) -> bytes:
    """Up to the NUL; nothing where the kernel would fault."""
    out = bytearray()
    try:
        while len(out) < _LONGEST_STRING - 1 and (byte := memory.read(address + len(out), 1)) != b"\0":
            out += byte
    except OutOfBounds:
        return b""
    return bytes(out)


def _pointer(kind: bytes, value: int, memory: Memory) -> bytes:
    """Addresses are the machine's (the kernel prints a hash of its own)."""
    if kind in (b"ks", b"us"):
        return _string(value, memory)
    if kind[:1] not in (b"i", b"I"):
        return format(value, "016x").encode()
    try:
        data = memory.read(value, 4 if kind[1:] == b"4" else 16)
    except OutOfBounds:
        data = bytes(4 if kind[1:] == b"4" else 16)
    if kind[1:] == b"4":
        return b".".join(format(byte, "d" if kind == b"I4" else "03d").encode() for byte in data)
    groups = [data[index : index + 2].hex().encode() for index in range(0, 16, 2)]
    return (b":" if kind == b"I6" else b"").join(groups)
