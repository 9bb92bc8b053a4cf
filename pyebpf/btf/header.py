"""The header of ``.BTF``: byte order, and where types and strings lie."""

from __future__ import annotations

import struct

from pyebpf.btf.strings import Bytes
from pyebpf.btf.types import BtfError

MAGIC = 0xEB9F
HEADER_SIZE = 24


def header_sections(data: Bytes, *, continued: bool) -> tuple[bool, range, range]:
    """Whether ``data`` is little-endian, the place of its types, and that of its strings.

    Args:
        data: a ``.BTF`` section.
        continued: it continues another one, so that its strings do not start with the empty one.

    Raises:
        BtfError: if the header is malformed.
    """
    if len(data) < HEADER_SIZE:
        raise BtfError(f"{len(data)} bytes are less than a header", 0)
    little = data[0] == MAGIC & 0xFF
    magic, version, flags, header, type_off, type_len, str_off, str_len = struct.unpack_from(
        ("<" if little else ">") + "HBBIIIII", data
    )
    if magic != MAGIC:
        raise BtfError(f"the magic number is {magic:#x}", 0)
    if version != 1 or flags:
        raise BtfError(f"version {version} with flags {flags:#x}, known is 1 with 0", 2)
    if header < HEADER_SIZE or header > len(data):
        raise BtfError(f"a header of {header} bytes", 4)
    if any(data[HEADER_SIZE:header]):
        raise BtfError("unknown fields of the header are set", HEADER_SIZE)
    types = range(header + type_off, header + type_off + type_len)
    strings = range(header + str_off, header + str_off + str_len)
    if types.stop > len(data) or type_len % 4 or type_off % 4:
        raise BtfError(f"types at {type_off}, {type_len} bytes of them", 8)
    if strings.stop > len(data):
        raise BtfError(f"strings at {str_off}, {str_len} bytes of them", 16)
    if not (continued and not strings) and (
        not strings or data[strings[-1]] != 0 or not (continued or data[strings.start] == 0)
    ):
        raise BtfError("the strings do not start and end with NUL", strings.start)
    return little, types, strings
