"""Helpers on text: printing, formatting, numbers, comparison. Source: kernel/bpf/helpers.c."""

from __future__ import annotations

import errno
import sys

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.vm.formats import BadFormat, expand
from pyebpf.runtime.vm.run import M64, HelperImplementation, Run

if TYPE_CHECKING:
    from typing import Final


_MOST_VALUES: Final = 12
_PRINT_BYTES: Final = 1024
_LONGEST_NUMBER: Final = 63
_SPACES: Final = b" \t\n\v\f\r\xa0"


def _text(run: Run, address: int, size: int) -> bytes | None:
    """Up to the NUL that must be there."""
    data = run.memory.read(address, size)
    end = data.find(b"\0")
    return None if end < 0 else data[:end]


def _print(run: Run, fmt: int, fmt_size: int, values: tuple[int, ...]) -> int:
    text = _text(run, fmt, fmt_size & 0xFFFF_FFFF)
    if text is None:
        return -errno.EINVAL
    try:
        line = expand(text, values, run.memory, _PRINT_BYTES)
    except BadFormat:
        return -errno.EINVAL
    shown = line[: _PRINT_BYTES - 1].decode("utf-8", "replace")
    run.environment.print(shown.removesuffix("\n"))
    return len(line)


def trace_printk(run: Run, fmt: int, fmt_size: int, r3: int, r4: int, r5: int) -> int:
    """Print a line with up to three numbers; its length."""
    return _print(run, fmt, fmt_size, (r3, r4, r5))


def _values(run: Run, data: int, size: int) -> tuple[int, ...] | None:
    if size % 8 or size > _MOST_VALUES * 8 or (size and not data):
        return None
    raw = run.memory.read(data, size) if size else b""
    return tuple(int.from_bytes(raw[at : at + 8], sys.byteorder) for at in range(0, size, 8))


def trace_vprintk(run: Run, fmt: int, fmt_size: int, data: int, data_len: int, r5: int) -> int:
    """Print a line with numbers from an array; its length."""
    values = _values(run, data, data_len & 0xFFFF_FFFF)
    return -errno.EINVAL if values is None else _print(run, fmt, fmt_size, values)


def snprintf(run: Run, target: int, size: int, fmt: int, data: int, data_len: int) -> int:
    """Format into a buffer, cut to it; the length with its NUL as if there were room for all."""
    size &= 0xFFFF_FFFF
    values = _values(run, data, data_len & 0xFFFF_FFFF)
    if values is None:
        return -errno.EINVAL
    text = bytearray()
    while (byte := run.memory.read(fmt + len(text), 1)) != b"\0":
        text += byte
    try:
        line = expand(bytes(text), values, run.memory, size)
    except BadFormat:
        return -errno.EINVAL
    if size:
        run.memory.write(target, line[: size - 1] + b"\0")
    return len(line) + 1


def _radix(text: bytes, base: int) -> tuple[int, bytes]:
    """The base, and the digits without their ``0x``."""
    prefixed = text[:1] == b"0" and text[1:2].lower() == b"x"
    if base == 0:
        if text[:1] != b"0":
            return 10, text
        hexadecimal = prefixed and text[2:3].lower() in b"0123456789abcdef" and len(text) > 2
        base = 16 if hexadecimal else 8
    return base, text[2:] if base == 16 and prefixed else text


def _number(text: bytes, flags: int) -> tuple[int, int, bool] | int:
    """The magnitude, how many bytes it took, whether there was a minus; or -errno."""
    base = flags & 0x1F
    if base not in (0, 8, 10, 16) or flags & ~0x1F or not text:
        return -errno.EINVAL
    start = len(text) - len(text.lstrip(_SPACES))
    negative = text[start : start + 1] == b"-"
    start += negative
    rest = text[start : start + _LONGEST_NUMBER].split(b"\0")[0]
    base, digits = _radix(rest, base)
    value = count = 0
    for byte in digits:
        found = b"0123456789abcdef".find(bytes([byte]).lower())
        if found < 0 or found >= base:
            break
        value, count = value * base + found, count + 1
    if value > M64:
        return -errno.ERANGE
    if not count:
        return -errno.EINVAL
    return value, start + len(rest) - len(digits) + count, negative


def _give(run: Run, result: int, value: int) -> None:
    run.memory.write(result, (value & M64).to_bytes(8, sys.byteorder))


def strtol(run: Run, text: int, size: int, flags: int, result: int, r5: int) -> int:
    """A signed number; how many bytes it took."""
    _give(run, result, 0)
    found = _number(run.memory.read(text, size), flags)
    if isinstance(found, int):
        return found
    value, taken, negative = found
    if value > (1 << 63) - (0 if negative else 1):
        return -errno.ERANGE
    _give(run, result, -value if negative else value)
    return taken


def strtoul(run: Run, text: int, size: int, flags: int, result: int, r5: int) -> int:
    """An unsigned number; how many bytes it took."""
    _give(run, result, 0)
    found = _number(run.memory.read(text, size), flags)
    if isinstance(found, int):
        return found
    value, taken, negative = found
    if negative:
        return -errno.EINVAL
    _give(run, result, value)
    return taken


def strncmp(run: Run, one: int, size: int, other: int, r4: int, r5: int) -> int:
    """-1, 0 or 1."""
    left = run.memory.read(one, size & 0xFFFF_FFFF)
    for index, byte in enumerate(left):
        against = run.memory.read(other + index, 1)[0]
        if byte != against:
            return -1 if byte < against else 1
        if not byte:
            break
    return 0


TABLE: Final[dict[str, HelperImplementation]] = {
    function.__name__: function
    for function in (trace_printk, trace_vprintk, snprintf, strtol, strtoul, strncmp)
}
