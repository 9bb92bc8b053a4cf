"""/proc/kallsyms, where the kernel lists its symbols: single ones, looked up in the text. ``kernel_symbols`` has an index
of all."""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.errors import ObjectError

if TYPE_CHECKING:
    from typing import Final


_PATH: Final = "/proc/kallsyms"
_RESTRICT: Final = "/proc/sys/kernel/kptr_restrict"
NO_TABLE: Final = f"{_PATH} cannot be read (CONFIG_KALLSYMS)"
"""Why no symbol is known at all."""
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
        raise ObjectError(f"the address of {name!r} is not known: {NO_TABLE}")
    import re

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
        raise ObjectError(f"the address of {name!r} is hidden: {why_hidden()}")
    return address


def why_hidden() -> str:
    """Why the kernel shows this process no addresses."""
    try:
        with open(_RESTRICT) as opened:
            setting = opened.read().strip()
    except OSError:
        setting = "unknown"
    return (
        f"the kernel hides its addresses from this process: sysctl kernel.kptr_restrict is {setting}; it shows them to root, "
        "to CAP_SYSLOG if that is 1, and to CAP_BPF with CAP_PERFMON if kernel.perf_event_paranoid is 1 or less"
    )
