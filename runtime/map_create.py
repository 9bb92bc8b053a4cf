"""Making the maps of an object: names, sizes, flags, type information, pins, and the use of maps that
exist."""

from __future__ import annotations

import errno
import os
import warnings

from pyebpf.hints import TYPE_CHECKING
from pyebpf.layout import Layout
from pyebpf.object import MapSpec, Pinning
from pyebpf.records import dataclass
from pyebpf.runtime.attrs import NAME_BYTES, MapCreate
from pyebpf.runtime.errors import BpfError, LoadWarning, ObjectError, Phase, UnsupportedObject, errno_name
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.map_kinds import map_of
from pyebpf.runtime.maps import Map
from pyebpf.runtime.pin import BPFFS, open_fd, pin
from pyebpf.runtime.privilege import map_need
from pyebpf.runtime.syscall import bpf_fd
from pyebpf.uapi.constants import BpfCmd, MapCreateFlag, MapType

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Final

    from pyebpf import btf

_RING_BUFFERS: Final = frozenset({MapType.RINGBUF, MapType.USER_RINGBUF})


@dataclass(frozen=True, slots=True)
class MapBtf:
    """The type information that a map is made with: its descriptor, and the ids in it of the key's and the value's
    type."""

    fd: Fd
    key: int
    value: int


def kernel_name(name: str) -> bytes:
    """``name`` as the kernel takes it: 15 bytes of letters, digits, ``_`` and ``.``."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)
    return plain.encode()[: NAME_BYTES - 1]


def entries_of(spec: MapSpec) -> int:
    """``max_entries`` as the kernel wants it: perf event arrays have a slot for each CPU if nothing else is
    said, sizes of ring buffers are powers of two of whole pages."""
    if spec.type is MapType.PERF_EVENT_ARRAY and spec.max_entries == 0:
        from pyebpf.runtime.cpus import possible_cpus

        return possible_cpus()
    if spec.type in _RING_BUFFERS:
        from pyebpf.runtime.memory import PAGE

        return 1 << (max(spec.max_entries, PAGE) - 1).bit_length()
    return spec.max_entries


def _attr(spec: MapSpec) -> MapCreate:
    attr = MapCreate(
        map_type=spec.type,
        key_size=spec.key_size,
        value_size=spec.value_size,
        max_entries=entries_of(spec),
        map_flags=spec.flags,
        map_name=kernel_name(spec.name),
        map_extra=spec.map_extra,
    )
    if spec.numa_node is not None:
        attr.map_flags |= MapCreateFlag.NUMA_NODE
        attr.numa_node = spec.numa_node
    return attr


def create_fd(spec: MapSpec, types: MapBtf | None = None) -> Fd:
    """Make a map of the kernel and return its descriptor.

    Creation is tried with type information where some is given, and again without if that is refused,
    with a ``LoadWarning``. Raises ``BpfError``.
    """
    if spec.type is MapType.STRUCT_OPS:
        raise UnsupportedObject(f"map {spec.name!r} is a struct_ops map, which this loader does not make")
    need, subject = map_need(spec.type), f"{spec.name!r} ({spec.type.name})"
    attr = _attr(spec)
    inner = create_fd(spec.inner) if spec.inner is not None else None
    try:
        attr.inner_map_fd = inner.fileno() if inner is not None else 0
        if types is None:
            return bpf_fd(BpfCmd.MAP_CREATE, attr, Phase.MAP_CREATE, subject, need=need)
        attr.btf_fd = types.fd.fileno()
        attr.btf_key_type_id, attr.btf_value_type_id = types.key, types.value
        try:
            return bpf_fd(BpfCmd.MAP_CREATE, attr, Phase.MAP_CREATE, subject, need=need)
        except BpfError as error:
            if error.errno == errno.EPERM:
                raise
            attr.btf_fd = attr.btf_key_type_id = attr.btf_value_type_id = 0
            fd = bpf_fd(BpfCmd.MAP_CREATE, attr, Phase.MAP_CREATE, subject, need=need)
            why = errno_name(error.errno or 0)
            warnings.warn(
                f"map {spec.name!r} was made without type information ({why})", LoadWarning, stacklevel=2
            )
            return fd
    finally:
        if inner is not None:
            inner.close()


def key_layout(spec: MapSpec) -> Layout | None:
    """How keys lie in memory: the declared layout, else what the BTF says."""
    return spec.key if spec.key is not None else _layout_of(spec.key_type)


def value_layout(spec: MapSpec) -> Layout | None:
    """How values lie in memory: the declared layout, else what the BTF says."""
    return spec.value if spec.value is not None else _layout_of(spec.value_type)


def _layout_of(type_: btf.Type | None) -> Layout | None:
    if type_ is None:
        return None
    from pyebpf.btf.layouts import layout_of

    return layout_of(type_)


def create_map(spec: MapSpec, types: MapBtf | None = None) -> Map:
    """Make a map (``create_fd``) and wrap it with the layouts of ``spec``."""
    return map_of(create_fd(spec, types), key_layout(spec), value_layout(spec))


def check_same(spec: MapSpec, existing: Map) -> None:
    """Raise ``ObjectError`` unless programs of this object can use ``existing`` as the map ``spec``."""
    facts = existing.info()
    attr = _attr(spec)
    flags = facts.flags
    if spec.type in (MapType.DEVMAP, MapType.DEVMAP_HASH):
        flags &= ~MapCreateFlag.RDONLY_PROG  # the kernel adds it by itself
    pairs = {
        "type": (spec.type.name, facts.type.name),
        "key size": (spec.key_size, facts.key_size),
        "value size": (spec.value_size, facts.value_size),
        "max_entries": (attr.max_entries, facts.max_entries),
        "flags": (attr.map_flags, flags),
        "map_extra": (spec.map_extra, facts.map_extra),
    }
    wrong = [f"{what} {have} instead of {want}" for what, (want, have) in pairs.items() if want != have]
    if wrong:
        raise ObjectError(f"the existing map for {spec.name!r} does not fit: it has {', '.join(wrong)}")


def pin_path(spec: MapSpec, directory: str | os.PathLike[str] | None) -> Path:
    """Where a map with ``pinning: by name`` is pinned; bpffs allows no dot."""
    from pathlib import Path

    return Path(directory or BPFFS) / spec.name.replace(".", "_")


def open_or_create(
    spec: MapSpec, types: MapBtf | None, directory: str | os.PathLike[str] | None
) -> tuple[Map, Path | None]:
    """The map for ``spec``: the one pinned under its name if ``spec`` asks for that and it exists, else a
    new one.

    Returns also the pin that was made now, for undoing it. Raises ``ObjectError`` if the existing map
    differs.
    """
    if spec.pinning is Pinning.NONE:
        return create_map(spec, types), None
    path = pin_path(spec, directory)
    existing = _open_pinned(spec, path)
    if existing is not None:
        return existing, None
    made = create_map(spec, types)
    try:
        pin(made.handle, path)
    except BpfError as error:
        made.close()
        # Another process was faster.
        existing = _open_pinned(spec, path) if error.errno == errno.EEXIST else None
        if existing is None:
            raise
        return existing, None
    return made, path


def _open_pinned(spec: MapSpec, path: Path) -> Map | None:
    try:
        fd = open_fd(path)
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    found = map_of(fd, key_layout(spec), value_layout(spec))
    try:
        check_same(spec, found)
    except ObjectError:
        found.close()
        raise
    return found
