"""Global variables of loaded programs: data sections as maps of one element, read and written in place.

``.rodata`` is filled and frozen before any program is loaded, so that the verifier knows its contents;
``.data`` and ``.bss`` are memory that user space and programs share.
"""

from __future__ import annotations

import errno
import sys

from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.layout import IntType, Layout
from pyebpf.object import DataSection, MapSpec, Variable
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.map_codec import codec_for
from pyebpf.runtime.map_create import MapBtf, create_map
from pyebpf.runtime.maps import Map
from pyebpf.runtime.memory import Access, SharedMemory
from pyebpf.uapi.constants import MapCreateFlag, MapType

if TYPE_CHECKING:
    from typing import Final


_KEY: Final = bytes(4)


def section_map(section: DataSection) -> MapSpec:
    """The map that holds a section."""
    flags = MapCreateFlag.MMAPABLE | (MapCreateFlag.RDONLY_PROG if section.read_only else 0)
    return MapSpec(section.name, MapType.ARRAY, 4, len(section.contents), 1, flags)


class LoadedData:
    """A data section of a loaded object; it owns its map.

    ``read`` and ``write`` take names of variables; integers of up to 8 bytes are read and written in one
    access.
    """

    def __init__(self, section: DataSection, map_: Map) -> None:
        self.section = section
        self.map = map_
        access = Access.READ if section.read_only else Access.WRITE
        self._memory = SharedMemory(map_.handle, len(section.contents), access, subject=repr(section.name))

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables that users may touch."""
        return tuple(v.name for v in self.section.variables if not v.static)

    def read(self, name: str) -> Any:
        """The value now. Raises ``KeyError`` if there is no such variable."""
        variable, layout = self._find(name)
        if _is_word(layout, variable):
            size = variable.size
            data = self._memory.word(variable.offset, size).value.to_bytes(size, sys.byteorder)
            return codec_for(layout, size).decode(data)
        return codec_for(layout, variable.size).decode(self._memory.read(variable.offset, variable.size))

    def write(self, name: str, value: Any) -> None:
        """Set a variable, at once visible to programs. Raises ``KeyError``, ``BpfError`` for ``.rodata``."""
        variable, layout = self._find(name)
        if self.section.read_only:
            detail = "it is frozen since the program was loaded; set it before"
            raise BpfError(errno.EPERM, Phase.MAP_UPDATE, repr(name), detail=detail)
        data = codec_for(layout, variable.size).encode(value)
        if _is_word(layout, variable):
            self._memory.word(variable.offset, variable.size).value = int.from_bytes(data, sys.byteorder)
        else:
            self._memory.write(variable.offset, data)

    def close(self) -> None:
        """Unmap the memory and close the map."""
        self._memory.close()
        self.map.close()

    def _find(self, name: str) -> tuple[Variable, Layout | None]:
        variable = self.section.variable(name)
        if variable is None:
            raise KeyError(name)
        if variable.layout is not None or variable.type is None:
            return variable, variable.layout
        from pyebpf.btf.layouts import layout_of

        return variable, layout_of(variable.type)


def _is_word(layout: Layout | None, variable: Variable) -> bool:
    return isinstance(layout, IntType) and variable.offset % layout.size == 0


def load_section(section: DataSection, types: MapBtf | None) -> LoadedData:
    """Make, fill and (``.rodata``) freeze the map of a section. Raises ``BpfError``."""
    map_ = create_map(section_map(section), types)
    try:
        if any(section.contents):
            map_.elements.update(_KEY, bytes(section.contents))
        if section.read_only:
            map_.freeze()
        return LoadedData(section, map_)
    except BaseException:
        map_.close()
        raise
