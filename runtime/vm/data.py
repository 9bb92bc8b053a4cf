"""Global variables of programs in the machine: a region for each data section, read and written by name."""

from __future__ import annotations

import errno

from pyebpf.btf.layouts import layout_of
from pyebpf.hints import Any
from pyebpf.layout import Layout
from pyebpf.object import DataSection, Variable
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.map_codec import codec_for
from pyebpf.runtime.vm.memory import Memory


class MachineData:
    """A data section of an object in the machine, with the interface of ``runtime.data.LoadedData``. Programs that use it
    keep its memory; ``.rodata`` cannot be changed."""

    def __init__(self, section: DataSection, memory: Memory) -> None:
        self.section = section
        self.memory = memory
        name = f"the data section {section.name}"
        self.region = memory.map(bytearray(section.contents), name, writable=not section.read_only)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables that users may touch."""
        return tuple(v.name for v in self.section.variables if not v.static)

    def read(self, name: str) -> Any:
        """The value now. Raises ``KeyError`` if there is no such variable."""
        variable, layout = self._find(name)
        return codec_for(layout, variable.size).decode(self.raw(variable.offset, variable.size))

    def write(self, name: str, value: Any) -> None:
        """Set a variable, at once visible to programs. Raises ``KeyError``, ``BpfError`` for ``.rodata``."""
        variable, layout = self._find(name)
        if self.section.read_only:
            detail = "it is frozen since the program was loaded; set it before"
            raise BpfError(errno.EPERM, Phase.MAP_UPDATE, repr(name), detail=detail)
        data = codec_for(layout, variable.size).encode(value)
        self.region.data[variable.offset : variable.offset + variable.size] = data

    def raw(self, offset: int, size: int) -> bytes:
        """Some of the section's bytes."""
        return bytes(self.region.data[offset : offset + size])

    def close(self) -> None:
        """The memory stays as long as somebody uses it."""

    def __del__(self) -> None:
        region = getattr(self, "region", None)
        if region is not None:
            self.memory.bury(region)

    def _find(self, name: str) -> tuple[Variable, Layout | None]:
        variable = self.section.variable(name)
        if variable is None:
            raise KeyError(name)
        layout = variable.layout if variable.layout is not None else layout_of(variable.type)
        return variable, layout
