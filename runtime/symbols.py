"""Names for addresses, such as stack traces have them: of the kernel, and of processes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from pyebpf.records import dataclass
from pyebpf.runtime.binaries import Mapping, mappings
from pyebpf.runtime.elf_symbols import Binary, open_binary
from pyebpf.runtime.errors import BpfError
from pyebpf.runtime.kernel_symbols import kernel_symbols


@dataclass(frozen=True, slots=True)
class Symbol:
    """What is at ``address``: ``offset`` bytes into the function ``name`` of ``module``.

    ``name`` is empty where no symbol is known; ``offset`` is then that in the file. ``module`` is a file of user space,
    a module of the kernel, or empty: the kernel itself, or nothing known.
    """

    address: int
    name: str
    offset: int
    module: str

    def __str__(self) -> str:
        where = f" [{self.module}]" if self.module else ""
        if self.name:
            return f"{self.name}+{self.offset:#x}{where}"
        return f"{self.address:#x}{where}"


def symbolize_kernel(addresses: Iterable[int]) -> list[Symbol]:
    """The functions of the kernel that ``addresses`` are in; what is in none has no name.

    Raises ``PermissionDenied`` if the kernel hides its addresses from this process, ``BpfError`` if it has no symbols.
    """
    symbols = kernel_symbols()
    result = []
    for address in addresses:
        found = symbols.at(address)
        if found is None:
            result.append(Symbol(address, "", 0, ""))
        else:
            result.append(Symbol(address, found[0].name, found[1], found[0].module))
    return result


def symbolize_user(pid: int, addresses: Iterable[int]) -> list[Symbol]:
    """The functions of process ``pid`` that ``addresses`` are in; what is in none, or in a file that cannot be read, has
    no name.

    Raises ``BpfError``: ESRCH for no such process, EACCES for one of somebody else.
    """
    areas = mappings(pid)
    starts = [area.start for area in areas]
    return [_in_process(address, areas, starts) for address in addresses]


def _in_process(address: int, areas: list[Mapping], starts: list[int]) -> Symbol:
    at = bisect_right(starts, address) - 1
    if at < 0 or address >= areas[at].end:
        return Symbol(address, "", 0, "")
    area = areas[at]
    offset = address - area.start + area.offset
    found = _in_file(area, offset) if area.path.startswith("/") else None
    if found is None:
        return Symbol(address, "", offset, area.path)
    return Symbol(address, found[0], found[1], area.path)


def _in_file(area: Mapping, offset: int) -> tuple[str, int] | None:
    try:
        binary: Binary = open_binary(area.opened)
    except BpfError:
        return None
    linked = binary.address(offset)
    found = binary.at(linked) if linked is not None else None
    return (found[0].name, found[1]) if found is not None else None
