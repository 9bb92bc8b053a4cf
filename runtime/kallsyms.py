"""Addresses of the kernel's symbols, from /proc/kallsyms."""

from __future__ import annotations

import re
from typing import Final

from pyebpf.runtime.errors import ObjectError

_PATH: Final = "/proc/kallsyms"
_DATA: Final = b"bBdDgGrRsSvV"
"""The letters of symbols that are data, to which compilers may have added ``.llvm.`` and a number."""


def symbols() -> bytes | None:
    """The whole table as the kernel writes it; ``None`` if it has none."""
    try:
        with open(_PATH, "rb") as opened:
            return opened.read()
    except OSError:
        return None


def has_symbol(name: str) -> bool | None:
    """Whether the kernel has a symbol; ``None`` if it does not tell. Needs no privilege."""
    table = symbols()
    return None if table is None else f" {name}\n".encode() in table


def symbol_address(name: str, table: bytes | None = None) -> int | None:
    """The address of a kernel symbol; ``None`` if there is none. ``table``: instead of the running kernel's.

    Raises ``ObjectError`` if there are several of the name, or addresses are hidden from this process.
    """
    table = symbols() if table is None else table
    if table is None:
        raise ObjectError(f"the address of {name!r} is not known: {_PATH} cannot be read (CONFIG_KALLSYMS)")
    plain = re.escape(name.encode())
    found = {
        int(address, 16)
        for address, kind, suffix in re.findall(
            rb"^([0-9a-f]+) (\w) " + plain + rb"(\.llvm\.\d+)?(?:\t.*)?$", table, re.MULTILINE
        )
        if not suffix or kind in _DATA
    }
    if len(found) > 1:
        raise ObjectError(f"the kernel has {len(found)} symbols {name!r} at different addresses")
    address = next(iter(found), None)
    if address == 0:
        raise ObjectError(
            f"the address of {name!r} is hidden: this process lacks CAP_SYSLOG (sysctl kernel.kptr_restrict), or "
            "CAP_BPF and CAP_PERFMON with kernel.perf_event_paranoid above 1"
        )
    return address
