"""Where the arguments of USDT probes are, as loaders tell programs: a record for each place of a probe, in a map.

A program finds the number of its record in its attach cookie. Maps, records and numbers are those of libbpf, so that its
loader attaches our objects, and ours those made for it.

Source: tools/lib/bpf/usdt.bpf.h and usdt.c of Linux 6.12; for ``LONG`` libbpf 1.7.
"""

from __future__ import annotations

from pyebpf import enums
from pyebpf.hints import TYPE_CHECKING
from pyebpf.layout import I16, U8, U16, U64, ArrayType, struct_type
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final


MAX_ARGUMENTS: Final = 12
MAX_RECORDS: Final = 256

ARGUMENT: Final = struct_type(
    "__bpf_usdt_arg_spec",
    [
        ("val_off", U64),
        ("arg_type", U8),
        ("reserved", U8),
        ("idx_reg", U16),
        ("reg_off", I16),
        ("arg_signed", U8),
        ("arg_bitshift", U8),
    ],
)
RECORD: Final = struct_type(
    "__bpf_usdt_spec",
    [("args", ArrayType(ARGUMENT, MAX_ARGUMENTS)), ("usdt_cookie", U64), ("arg_cnt", I16)],
)
"""What our objects have, and those made for libbpf before 1.7."""

RECORDS: Final = "__bpf_usdt_specs"
"""The map of records: an array."""
ADDRESSES: Final = "__bpf_usdt_ip_to_spec_id"
"""The numbers of records by address, for kernels without attach cookies. libbpf attaches no object that lacks this map."""


class Location(enums.IntEnum):
    """Where an argument is: ``arg_type``."""

    CONSTANT = 0
    REGISTER = 1
    MEMORY = 2  # behind the address in a register
    INDEXED = 3  # the same, and a multiple of another register further (libbpf 1.7)


SCALE_SHIFT: Final = 12
"""``idx_reg`` is the offset of that other register, and from this bit on the power of two that it is multiplied by."""


@dataclass(frozen=True, slots=True)
class Format:
    """What differs between versions of the records, in bytes: the size of an argument, and where in it are the offset of the
    register, whether it is signed, and how many bits of it do not count."""

    argument: int
    register: int
    signed: int
    shift: int

    @property
    def cookie(self) -> int:
        """The offset of the user's cookie; the number of arguments is behind it."""
        return MAX_ARGUMENTS * self.argument

    @property
    def size(self) -> int:
        """The size of a record."""
        return self.cookie + 16


SHORT: Final = Format(ARGUMENT.size, *(f.offset for f in ARGUMENT.fields[-3:]))
"""``RECORD``."""
LONG: Final = Format(argument=24, register=14, signed=16, shift=17)
"""libbpf since 1.7, where bit-fields came into the records and moved what is behind them."""
