"""What is known of a map, whoever holds it: the kernel or the built-in machine."""

from __future__ import annotations

from pyebpf.records import dataclass
from pyebpf.uapi.constants import MapType


@dataclass(frozen=True, slots=True)
class MapFacts:
    """A map. Sizes in bytes; the BTF ids are 0 for a map without type information."""

    id: int
    type: MapType
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    map_extra: int
    btf_id: int
    key_type_id: int
    value_type_id: int
