"""The kernel's symbols, as /proc/kallsyms lists them: names to addresses and addresses to names.

Other lists of the kernel about the same functions are here too: those that ftrace can trace, and those where
kprobes are forbidden.
"""

from __future__ import annotations

import errno
import functools
from array import array
from bisect import bisect_right

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.runtime import kallsyms, tracefs
from pyebpf.runtime.errors import BpfError, PermissionDenied, Phase

if TYPE_CHECKING:
    from typing import Final


_BLACKLIST: Final = "/sys/kernel/debug/kprobes/blacklist"
_MODULES: Final = "/proc/modules"
_TEXT: Final = frozenset("tTwW")
_ENDS: Final = frozenset({"_etext", "_einittext"})
"""Where code ends: what lies there is in no function."""
_ABSOLUTE: Final = "aA"  # numbers that are no places
_LONGEST: Final = 1 << 20
"""More bytes than any function has: nothing tells where the last one of a module ends."""
_UNUSABLE: Final = ("__ftrace_invalid_address__", "__pfx_", "__cfi_")
"""Names that are no functions: places that ftrace has given up, and padding in front of functions."""


@dataclass(frozen=True, slots=True)
class KernelSymbol:
    """A symbol. ``address`` is 0 where the kernel hides it; ``module`` is empty for the kernel itself."""

    name: str
    address: int
    code: bool
    module: str


class KernelSymbols:
    """All symbols of the running kernel, as they were when they were read."""

    def __init__(self, text: str) -> None:
        rows = []
        for line in text.splitlines():
            address, kind, name, *module = line.split()
            rows.append((int(address, 16), kind, name, module[0].strip("[]") if module else ""))
        rows.sort(key=lambda row: row[0])
        self._addresses = array("Q", [row[0] for row in rows])
        self._rows = rows
        self._by_name: dict[str, list[int]] = {}
        for at, row in enumerate(rows):
            self._by_name.setdefault(row[2], []).append(at)

    @property
    def hidden(self) -> bool:
        """Whether the kernel shows this process no addresses (sysctl kernel.kptr_restrict)."""
        return not self._addresses or self._addresses[-1] == 0

    def find(self, name: str) -> list[KernelSymbol]:
        """The symbols called ``name``, or ``module:name``; functions first."""
        module, colon, rest = name.rpartition(":")
        found = [self._symbol(at) for at in self._by_name.get(rest if colon else name, ())]
        if colon:
            found = [symbol for symbol in found if symbol.module == module]
        return sorted(found, key=lambda symbol: not symbol.code)

    def at(self, address: int) -> tuple[KernelSymbol, int] | None:
        """The function that ``address`` is in, and how many bytes from its start; ``None`` where there is none: in data,
        behind the end of the code.

        Of several at one address a global one without a leading underscore is taken. Raises ``PermissionDenied`` if
        the addresses are hidden.
        """
        if self.hidden:
            raise hidden_symbols()
        last = bisect_right(self._addresses, address) - 1
        while last >= 0 and self._rows[last][1] in _ABSOLUTE:
            last -= 1
        if last < 0 or not self._addresses[last] or address - self._addresses[last] > _LONGEST:
            return None
        first = last
        while first and self._addresses[first - 1] == self._addresses[last]:
            first -= 1
        code = [at for at in range(first, last + 1) if self._is_code(at)]
        if not code:
            return None
        best = min(code, key=lambda at: (self._rows[at][1] not in "TW", self._rows[at][2][:1] == "_"))
        return self._symbol(best), address - self._addresses[best]

    def functions(self) -> list[str]:
        """The names of all functions, without padding."""
        return [name for name, places in self._by_name.items() if self._is_function(name, places[0])]

    def functions_of(self, module: str) -> list[str]:
        """The names of the functions of a module, without padding."""
        own = [(at, row[2]) for at, row in enumerate(self._rows) if row[3] == module]
        return [name for at, name in own if self._is_function(name, at)]

    def variants(self, name: str) -> list[str]:
        """Functions that the compiler made out of ``name``: ``name.isra.0``, ``name.constprop.1``, …"""
        prefix = f"{name}."
        return [f for f in self.functions() if f.startswith(prefix) and ".cold" not in f]

    def _is_function(self, name: str, at: int) -> bool:
        return self._rows[at][1] in _TEXT and not name.startswith(_UNUSABLE)

    def _is_code(self, at: int) -> bool:
        return self._rows[at][1] in _TEXT and self._rows[at][2] not in _ENDS

    def _symbol(self, at: int) -> KernelSymbol:
        address, kind, name, module = self._rows[at]
        return KernelSymbol(name, address, kind in _TEXT, module)


def _modules() -> str:
    """Which modules are loaded, and where; without what changes while they are used. Empty where there are none."""
    try:
        with open(_MODULES) as opened:
            lines = opened.read().splitlines()
    except OSError:
        return ""
    # name, size, users, their names, state, address
    return "\n".join(f"{words[0]} {' '.join(words[4:])}" for words in map(str.split, lines))


def kernel_symbols() -> KernelSymbols:
    """The symbols of the running kernel, read again only if modules came or went. Raises ``BpfError`` if there are none."""
    return _symbols(_modules())


@functools.lru_cache(maxsize=1)
def _symbols(modules: str) -> KernelSymbols:
    table = kallsyms.symbols()
    if table is None:
        raise BpfError(errno.ENOENT, Phase.SYMBOLS, detail=kallsyms.NO_TABLE)
    return KernelSymbols(table.decode())


def hidden_symbols() -> PermissionDenied:
    """The error for addresses that the kernel does not show."""
    return PermissionDenied(errno.EPERM, Phase.SYMBOLS, detail=kallsyms.why_hidden())


def traceable_functions() -> frozenset[str] | None:
    """The functions that ftrace can trace: where fentry and kprobe.multi attach, and most kprobes. ``None`` where the
    kernel does not tell."""
    return _traceable(_modules())


@functools.lru_cache(maxsize=1)
def _traceable(modules: str) -> frozenset[str] | None:
    try:
        lines = tracefs.read("available_filter_functions").splitlines()
    except BpfError:
        return None
    names = (line.split(None, 1)[0] for line in lines if line)
    return frozenset(name for name in names if not name.startswith(_UNUSABLE))


@functools.cache
def forbidden_functions() -> frozenset[str]:
    """The functions where kprobes are forbidden, as far as the kernel tells (debugfs)."""
    try:
        with open(_BLACKLIST) as opened:
            lines = opened.read().splitlines()
    except OSError:
        return frozenset()
    return frozenset(words[1] for words in map(str.split, lines) if len(words) > 1)
