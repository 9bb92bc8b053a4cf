"""What of loading needs no kernel: programs in one piece, all types in one ``.BTF``, records of debug information.

The result is plain data, which ``pyebpf.cache`` keeps: loading what it finds needs neither the linker nor
``pyebpf.btf``.
"""

from __future__ import annotations

import struct
import sys

from pyebpf import btf
from pyebpf.btf.encode import Encoder
from pyebpf.btf.ext import MAX_COLUMN, MAX_LINE
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import CoreReference, DataSection, MapSpec, ObjectSpec, Prepared, PreparedProgram
from pyebpf.records import replace
from pyebpf.runtime.linker import Linked, link
from pyebpf.uapi.constants import MapType

if TYPE_CHECKING:
    from typing import Final


_COLUMN_BITS: Final = 10
_WITHOUT_BTF: Final = frozenset(
    {
        MapType.RINGBUF,
        MapType.USER_RINGBUF,
        MapType.PERF_EVENT_ARRAY,
        MapType.PROG_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.STACK_TRACE,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.DEVMAP,
        MapType.DEVMAP_HASH,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        MapType.REUSEPORT_SOCKARRAY,
        MapType.QUEUE,
        MapType.STACK,
        MapType.BLOOM_FILTER,
        MapType.ARENA,
    }
)
"""Types whose creation fails with type information of keys and values (kernel/bpf/*map*.c,
``map_check_btf``)."""


def prepare(spec: ObjectSpec) -> Prepared:
    """Link every program of ``spec`` that is to be loaded, and collect all types and strings.

    Raises ``ObjectError`` if the object is inconsistent, ``UnsupportedObject`` if it needs what this loader cannot do.
    """
    encoder, core = Encoder(sys.byteorder == "little"), Encoder(sys.byteorder == "little")
    programs = [_program(link(spec, p), encoder, core) for p in spec.programs.values() if p.autoload]
    sections = {name: _datasec(section) for name, section in spec.data.items()}
    section_types = {name: encoder.add(type_) for name, type_ in sections.items() if type_ is not None}
    map_types = {
        name: (encoder.add(map_spec.key_type), encoder.add(map_spec.value_type))
        for name, map_spec in spec.maps.items()
        if _wants_btf(map_spec)
    }
    types = encoder.finish() if encoder.ids else b""
    core_types = core.finish() if core.ids else b""
    return Prepared(spec, tuple(programs), types, map_types, section_types, core_types)


def without_sources(prepared: Prepared) -> Prepared:
    """``prepared`` without what it was made of and loading does not look at: code, lines and types of functions, types
    of what has a layout."""
    spec = prepared.object
    bare = {
        name: replace(program, code=b"", relocations=(), lines=(), core=(), type=None)
        for name, program in spec.programs.items()
    }
    data = {
        name: replace(
            section,
            variables=[v if v.layout is None else replace(v, type=None) for v in section.variables],
        )
        for name, section in spec.data.items()
    }
    slim = replace(
        spec,
        programs=bare,
        functions={},
        maps={name: _without_types(map_spec) for name, map_spec in spec.maps.items()},
        data=data,
    )
    programs = tuple(replace(p, program=bare[p.program.name]) for p in prepared.programs)
    return replace(prepared, object=slim, programs=programs)


def _without_types(spec: MapSpec) -> MapSpec:
    return replace(
        spec,
        key_type=spec.key_type if spec.key is None else None,
        value_type=spec.value_type if spec.value is None else None,
        inner=None if spec.inner is None else _without_types(spec.inner),
    )


def _program(linked: Linked, encoder: Encoder, core: Encoder) -> PreparedProgram:
    """The records of ``linked``; their types and strings go into ``encoder``, types of CO-RE records into ``core``."""
    funcs = b""
    if linked.program.type is not None:
        funcs = b"".join(
            struct.pack("=II", slot, encoder.add(function.type)) for slot, function in linked.functions
        )
    lines = b""
    if linked.program.lines:
        lines = b"".join(
            struct.pack(
                "=IIII",
                slot,
                encoder.string(line.file),
                encoder.string(line.text),
                min(line.line, MAX_LINE) << _COLUMN_BITS | min(line.column, MAX_COLUMN),
            )
            for slot, line in linked.lines
        )
    waiting = _core(linked, encoder, core) if linked.core else ()
    return PreparedProgram(linked.program, bytes(linked.code), tuple(linked.open), funcs, lines, waiting)


def _core(linked: Linked, encoder: Encoder, core: Encoder) -> tuple[CoreReference, ...]:
    """The CO-RE records that wait for a kernel. The id that a type has in the object is filled in here."""
    from pyebpf.btf.access import CoreKind
    from pyebpf.runtime.core_patch import check, put

    waiting = []
    for slot, record, function in linked.core:
        if record.kind == CoreKind.TYPE_ID_LOCAL:
            check(linked.code, slot)
            put(linked.code, slot, encoder.add(record.type))
        else:
            waiting.append(
                CoreReference(slot, int(record.kind), core.add(record.type), record.access, function)
            )
    return tuple(waiting)


def _wants_btf(spec: MapSpec) -> bool:
    """Whether the kernel takes key and value types for this map, and the object has both."""
    return spec.type not in _WITHOUT_BTF and spec.key_type is not None and spec.value_type is not None


def _datasec(section: DataSection) -> btf.Datasec | None:
    """The BTF of a section, or ``None`` if not all of its variables have a type."""
    if not section.contents or not section.variables:
        return None
    placed: list[btf.Placed] = []
    for variable in sorted(section.variables, key=lambda v: v.offset):
        if variable.type is None:
            return None
        linkage = btf.VarLinkage.STATIC if variable.static else btf.VarLinkage.GLOBAL
        placed.append(
            btf.Placed(btf.Var(variable.name, variable.type, linkage), variable.offset, variable.size)
        )
    return btf.Datasec(section.name, len(section.contents), tuple(placed))
