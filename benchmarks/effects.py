"""What a program does: verdicts, packets, maps and variables after its packets; and where two of them differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.cases import Case
from pyebpf.object import ObjectSpec
from pyebpf.runtime.load import LoadedObject, load
from pyebpf.runtime.map_kinds import ProgArray
from pyebpf.runtime.maps import MappingMap

_ONLY_KEY = bytes(4)


@dataclass(frozen=True, slots=True)
class Effects:
    """``runs``: verdict and packet by name of the packet given. ``maps``: their elements as the kernel holds them.
    ``variables``: the bytes of global variables."""

    runs: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    maps: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    variables: dict[str, bytes] = field(default_factory=dict)


def prepare(case: Case, loaded: LoadedObject) -> None:
    """Fill the maps of a loaded object as the case wants them."""
    for name, elements in case.maps.items():
        loaded.maps[name].elements.update_many(list(elements.items()))
    for name, slots in case.slots.items():
        table = loaded.maps[name]
        assert isinstance(table, ProgArray)
        for index, program in slots.items():
            table[index] = loaded.programs[program]


def effects_of(case: Case, spec: ObjectSpec) -> Effects:
    """Load the object and run its program on every packet once, in order. Raises ``BpfError``."""
    found = Effects()
    with load(spec) as loaded:
        prepare(case, loaded)
        program = loaded.programs[case.program]
        for name, packet in case.packets.items():
            result = program.run(packet)
            found.runs[name] = (result.verdict, result.data)
        for name, map_ in loaded.maps.items():
            if isinstance(map_, MappingMap) and not isinstance(map_, ProgArray):
                values = ((key, map_.elements.lookup(key)) for key in map_.elements.walk())
                found.maps[name] = {key: value for key, value in values if value is not None}
        for data in loaded.data.values():
            if not data.section.read_only:
                contents = data.map.elements.lookup(_ONLY_KEY) or b""
                for variable in data.section.variables:
                    if not variable.static:
                        end = variable.offset + variable.size
                        found.variables[variable.name] = contents[variable.offset : end]
    return found


def differences(one: Effects, other: Effects) -> Iterator[str]:
    """Each place where two programs differ, in words."""
    for name in one.runs | other.runs:
        yield from _difference(f"the run on {name!r}", one.runs.get(name), other.runs.get(name))
    for name in one.maps | other.maps:
        yield from _difference(f"the map {name!r}", one.maps.get(name), other.maps.get(name))
    for name in one.variables | other.variables:
        yield from _difference(f"the variable {name!r}", one.variables.get(name), other.variables.get(name))


def _difference(where: str, one: object, other: object) -> Iterator[str]:
    if one != other:
        yield f"{where}: {one!r} and {other!r}"
