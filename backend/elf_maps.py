"""Maps as ELF objects hold them: a variable in ``.maps`` whose BTF struct spells the attributes out.

A number N is the length of an array that a member points at, a type is what ``key`` or ``value`` point at,
and a trailing array ``values`` of pointers describes the inner map, or the programs of a program array.
This is the form that libbpf, cilium/ebpf and aya read. Which types the kernel accepts for which map is in
``_TYPED``.
"""

from __future__ import annotations

from pyebpf import btf
from pyebpf.backend.elf_file import ElfError
from pyebpf.diagnostics import InternalError
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import MapSpec, Pinning
from pyebpf.records import dataclass
from pyebpf.uapi.constants import MapType

if TYPE_CHECKING:
    from typing import Final


SLOT_SIZE: Final = 8
SLOT_VALUE_SIZE: Final = 4  # of maps whose values are maps or programs
_POINTER_SIZE: Final = 8
_WORD: Final = 0xFFFF_FFFF

# Maps whose keys and values may be described by BTF; the kernel refuses or ignores it for all others, so
# those are written with sizes alone.
_TYPED: Final = frozenset(
    {
        MapType.HASH,
        MapType.ARRAY,
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.LPM_TRIE,
        MapType.CGROUP_STORAGE,
        MapType.PERCPU_CGROUP_STORAGE,
        MapType.SK_STORAGE,
        MapType.INODE_STORAGE,
        MapType.TASK_STORAGE,
        MapType.CGRP_STORAGE,
    }
)
_ARRAYS: Final = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY})
_SIZELESS: Final = frozenset({MapType.RINGBUF, MapType.USER_RINGBUF, MapType.ARENA})


def described_types(spec: MapSpec) -> tuple[btf.Type, btf.Type] | None:
    """The BTF of the key and the value of ``spec``, or ``None`` if the kernel takes none for such a map."""
    key = spec.key_type or (btf.from_layout(spec.key) if spec.key is not None else None)
    value = spec.value_type or (btf.from_layout(spec.value) if spec.value is not None else None)
    if spec.type not in _TYPED or key is None or value is None:
        return None
    inner = btf.skip_modifiers(key)
    if spec.type in _ARRAYS and not (isinstance(inner, btf.Int) and inner.width == 32):
        return None
    if spec.type is MapType.LPM_TRIE and not isinstance(inner, btf.Struct):
        return None
    for part, type_, size in (("key", key, spec.key_size), ("value", value, spec.value_size)):
        if btf.size_of(type_) != size:
            message = (
                f"map {spec.name!r}: the {part} has {size} bytes, its type {type_!r} {btf.size_of(type_)}"
            )
            raise InternalError(message, phase="ELF writer")
    return key, value


def slot_count(spec: MapSpec) -> int:
    """How many initial values the variable of ``spec`` has room for."""
    return max(spec.slots) + 1 if spec.slots else 0


def definition(spec: MapSpec) -> btf.Struct:
    """The struct that describes ``spec``; its slots follow behind it."""
    members: list[btf.Member] = []
    size = 0

    def add(name: str, type_: btf.Type, width: int = _POINTER_SIZE) -> None:
        nonlocal size
        members.append(btf.Member(name, type_, size * 8))
        size += width

    def number(name: str, value: int) -> None:
        add(name, btf.Ptr(btf.Array(btf.INT, value)))

    number("type", spec.type)
    if spec.max_entries:
        number("max_entries", spec.max_entries)
    types = described_types(spec)
    if types is not None:
        add("key", btf.Ptr(types[0]))
        add("value", btf.Ptr(types[1]))
    elif spec.type not in _SIZELESS:
        number("key_size", spec.key_size)
        number("value_size", spec.value_size)
    if spec.flags:
        number("map_flags", spec.flags)
    if spec.numa_node is not None:
        number("numa_node", spec.numa_node)
    if spec.pinning is not Pinning.NONE:
        number("pinning", spec.pinning)
    if spec.map_extra > _WORD:
        add("map_extra", btf.Enum64("", 8, (btf.Enumerator(f"{spec.name}_map_extra", spec.map_extra),)))
    elif spec.map_extra:
        number("map_extra", spec.map_extra)
    if spec.inner is not None:
        if spec.inner.pinning is not Pinning.NONE or spec.inner.inner is not None or spec.inner.slots:
            raise InternalError(f"map {spec.name!r}: its inner map has pinning or values", phase="ELF writer")
        add("values", btf.Array(btf.Ptr(definition(spec.inner)), 0), 0)
    elif spec.type is MapType.PROG_ARRAY and spec.slots:
        program = btf.FuncProto(btf.INT, (btf.Param("ctx", btf.Ptr(None)),))
        add("values", btf.Array(btf.Ptr(program), 0), 0)
    elif spec.slots:
        raise InternalError(f"map {spec.name!r} has initial values but no inner map", phase="ELF writer")
    return btf.Struct("", size, tuple(members))


@dataclass(frozen=True, slots=True)
class Definition:
    """What a struct in ``.maps`` says: the map, and where in its variable the slots begin (bytes)."""

    spec: MapSpec
    slots_offset: int | None


def read_definition(name: str, type_: btf.Type | None) -> Definition:
    """The map that a variable ``name`` of type ``type_`` in ``.maps`` stands for.

    Raises:
        ElfError: if the struct has unknown members or makes no sense.
    """
    return _read(name, type_, inner=False)


def _read(name: str, type_: btf.Type | None, *, inner: bool) -> Definition:
    struct = btf.skip_modifiers(type_)
    if not isinstance(struct, btf.Struct):
        raise ElfError(f"map {name!r} is defined by {btf.describe(type_)}, which is not a struct")
    numbers: dict[str, int] = {}
    types: dict[str, tuple[btf.Type, int]] = {}
    slots_offset: int | None = None
    inner_map: MapSpec | None = None
    for member in struct.members:
        if member.name in numbers or member.name in types or member.bit_size or member.bit_offset % 8:
            raise ElfError(f"map {name!r}: member {member.name!r} is there twice or a bit-field")
        if member.name in ("key", "value"):
            types[member.name] = _pointee_type(name, member)
        elif member.name in _NUMBERS:
            numbers[member.name] = _number(name, member)
        elif member.name == "values" and not inner and slots_offset is None:
            slots_offset, inner_map = member.offset, _inner(name, member)
            if numbers.setdefault("value_size", SLOT_VALUE_SIZE) != SLOT_VALUE_SIZE:
                raise ElfError(f"map {name!r}: values of {numbers['value_size']} bytes, expected 4")
        else:
            raise ElfError(f"map {name!r}: unknown member {member.name!r}")
    if "type" not in numbers:
        raise ElfError(f"map {name!r} has no type")
    if inner and "pinning" in numbers:
        raise ElfError(f"map {name!r}: an inner map cannot be pinned")
    for part in ("key", "value"):
        size = types[part][1] if part in types else numbers.get(f"{part}_size", 0)
        if numbers.setdefault(f"{part}_size", size) != size:
            raise ElfError(
                f"map {name!r}: {part} has {size} bytes, {part}_size says {numbers[f'{part}_size']}"
            )
    try:
        map_type = MapType(numbers["type"])
        pinning = Pinning(numbers.get("pinning", 0))
    except ValueError as error:
        raise ElfError(f"map {name!r}: {error}") from None
    key_type, value_type = (types[part][0] if part in types else None for part in ("key", "value"))
    spec = MapSpec(
        name,
        map_type,
        numbers["key_size"],
        numbers["value_size"],
        numbers.get("max_entries", 0),
        numbers.get("map_flags", 0),
        btf.layout_of(key_type),
        btf.layout_of(value_type),
        key_type,
        value_type,
        pinning,
        numbers.get("map_extra", 0),
        numbers.get("numa_node"),
        inner_map,
    )
    return Definition(spec, slots_offset)


_NUMBERS: Final = frozenset(
    {
        "type",
        "max_entries",
        "map_flags",
        "numa_node",
        "key_size",
        "value_size",
        "pinning",
        "map_extra",
    }
)


def _pointee_type(name: str, member: btf.Member) -> tuple[btf.Type, int]:
    pointer = btf.skip_modifiers(member.type)
    if not isinstance(pointer, btf.Ptr) or pointer.target is None:
        raise ElfError(
            f"map {name!r}: {member.name} is {btf.describe(member.type)}, expected a pointer to a type"
        )
    return pointer.target, btf.size_of(pointer.target)


def _number(name: str, member: btf.Member) -> int:
    type_ = btf.skip_modifiers(member.type)
    if isinstance(type_, btf.Ptr):
        array = btf.skip_modifiers(type_.target)
        if isinstance(array, btf.Array):
            return array.length
    if isinstance(type_, btf.Enum | btf.Enum64) and len(type_.values) == 1 and member.name == "map_extra":
        return type_.values[0].value
    raise ElfError(f"map {name!r}: {member.name} is {btf.describe(member.type)}, which stands for no number")


def _inner(name: str, member: btf.Member) -> MapSpec | None:
    """The inner map that ``values`` describes; ``None`` if it describes programs."""
    array = btf.skip_modifiers(member.type)
    pointer = (
        btf.skip_modifiers(array.element) if isinstance(array, btf.Array) and array.length == 0 else None
    )
    target = btf.skip_modifiers(pointer.target) if isinstance(pointer, btf.Ptr) else None
    if isinstance(target, btf.FuncProto):
        return None
    if isinstance(target, btf.Struct):
        return _read(f"{name}.inner", target, inner=True).spec
    raise ElfError(
        f"map {name!r}: values are {btf.describe(member.type)}, expected pointers to maps or programs"
    )
