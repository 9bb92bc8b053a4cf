"""What the compiler may know of the running kernel beyond its release: its types and the fields of its events."""

from __future__ import annotations

import functools
from pathlib import Path

from pyebpf import btf
from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.uapi.constants import ProgType
from pyebpf.uapi.contexts import ANY_WIDTH, LOCATIONS, Context, ContextField, FieldKind

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.runtime.event_format import EventField, Location

_TRACEPOINT: Final = frozenset({ProgType.TRACEPOINT})
_READ_FROM: Final = 8
"""Programs may not read the first eight bytes of an event: ``tp_prog_is_valid_access()``."""


@dataclass(frozen=True, slots=True)
class RunningFacts:
    """Of the running kernel. ``path``: a file with another kernel's types, for which there are no events."""

    path: Path | None = None

    def types(self) -> btf.Spec | None:
        """The kernel's types; ``None`` where it tells none. Raises ``BtfError`` for a file that has none."""
        if self.path is not None:
            return types_in(self.path)
        from pyebpf.runtime.errors import ObjectError
        from pyebpf.runtime.kernel_btf import vmlinux

        try:
            return vmlinux()
        except (ObjectError, OSError):
            return None

    def tracepoint(self, category: str, name: str) -> Context | None:
        """The fields of an event: as tracefs has them, or if nobody may look there, as the types have those that are
        called like it. ``None`` where there is no such event, or its fields are not known."""
        if self.path is not None:
            return self._by_type(category, name)
        from pyebpf.runtime.errors import BpfError, TargetError
        from pyebpf.runtime.event_format import event_format

        try:
            found = event_format(category, name)
        except TargetError:
            return None
        except BpfError:  # not permitted to look
            return self._by_type(category, name)
        fields = tuple(_event_field(field) for field in found.fields if field.offset >= _READ_FROM)
        size = max((field.offset + field.size for field in found.fields), default=0)
        return Context(f"tracepoint {category}/{name}", size, lambda: fields)

    def _by_type(self, category: str, name: str) -> Context | None:
        spec = self.types()
        found = None if spec is None else spec.find(f"trace_event_raw_{name}", btf.Kind.STRUCT)
        if not isinstance(found, btf.Struct):
            return None
        fields = tuple(f for f in map(_field, found.members) if f is not None and f.offset >= _READ_FROM)
        return Context(f"tracepoint {category}/{name}", found.size, lambda: fields)

    def tracepoints(self) -> list[str]:
        """The events of the running kernel."""
        if self.path is not None:
            return []
        from pyebpf.runtime.errors import BpfError
        from pyebpf.runtime.tracefs import all_events

        try:
            return [f"{category}/{name}" for category, name in all_events()]
        except BpfError:
            return []


def _event_field(field: EventField) -> ContextField:
    kinds = _kinds()
    return ContextField(
        field.name,
        field.offset,
        field.size // field.length if field.length else field.size,
        _TRACEPOINT,
        length=field.length or None,
        read_widths=ANY_WIDTH,
        signed=field.signed,
        kind=kinds[field.location],
        text=field.type == "char",
    )


def _kinds() -> dict[Location, FieldKind]:
    from pyebpf.runtime.event_format import Location

    return {
        Location.INLINE: FieldKind.SCALAR,
        Location.DATA_LOC: FieldKind.DATA_LOCATION,
        Location.REL_LOC: FieldKind.RELATIVE_LOCATION,
    }


def _field(member: btf.Member) -> ContextField | None:
    inner = btf.skip_modifiers(member.type)
    length = None
    if isinstance(inner, btf.Array):
        length = inner.length
        inner = btf.skip_modifiers(inner.element)
    kind = next(
        (kind for start, kind in _LOCATIONS.items() if member.name.startswith(start)), FieldKind.SCALAR
    )
    name = member.name.removeprefix("__data_loc_").removeprefix("__rel_loc_")
    signed = isinstance(inner, btf.Int | btf.Enum | btf.Enum64) and inner.signed
    if not isinstance(inner, btf.Int | btf.Enum | btf.Enum64 | btf.Ptr) or member.bit_size or length == 0:
        return None
    return ContextField(
        name,
        member.offset,
        btf.size_of(inner),
        _TRACEPOINT,
        length=length,
        read_widths=ANY_WIDTH,
        signed=signed,
        kind=kind,
        text=kind in LOCATIONS,  # the types do not say of what the data is; of nearly all it is a string
    )


_LOCATIONS: Final = {"__data_loc_": FieldKind.DATA_LOCATION, "__rel_loc_": FieldKind.RELATIVE_LOCATION}


@functools.cache
def types_in(path: Path) -> btf.Spec:
    """The types in a file: plain BTF, or an ELF file with a section ``.BTF`` (a ``vmlinux`` with debug information).

    Raises ``BtfError`` for another file, ``OSError`` for one that cannot be read.
    """
    data = path.read_bytes()
    if data[:4] == b"\x7fELF":
        from io import BytesIO

        from elftools.elf.elffile import ELFFile

        section = ELFFile(BytesIO(data)).get_section_by_name(".BTF")
        if section is None:
            raise btf.BtfError(f"{path} has no section .BTF")
        data = section.data()
    return btf.Spec(data)
