"""Programs for one place in the kernel, which they are loaded for: from the target in the section's name to its BTF id.

``fentry/vfs_read`` is about the function ``vfs_read``; ``tp_btf/sched_switch`` about the typedef
``btf_trace_sched_switch``; hooks of security modules and iterators are functions with ``bpf_lsm_`` and ``bpf_iter_``.
"""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import ProgramSpec
from pyebpf.records import dataclass
from pyebpf.runtime.errors import ObjectError, UnsupportedObject
from pyebpf.uapi.constants import AttachType, ProgType
from pyebpf.uapi.sections import section_target

if TYPE_CHECKING:
    from typing import Final

    from pyebpf import btf


@dataclass(frozen=True, slots=True)
class AttachTarget:
    """The place that a program is loaded for: a BTF id, of the kernel or of ``module``."""

    id: int
    module: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """How targets of an attach type are called: ``what`` in messages, ``prefix`` in the kernel, ``example`` of a section."""

    what: str
    prefix: str
    example: str


_FUNCTION: Final = "function"
_PLACES: Final = {
    AttachType.TRACE_RAW_TP: _Place("tracepoint", "btf_trace_", "tp_btf/sched_switch"),
    AttachType.TRACE_FENTRY: _Place(_FUNCTION, "", "fentry/vfs_read"),
    AttachType.TRACE_FEXIT: _Place(_FUNCTION, "", "fexit/vfs_read"),
    AttachType.MODIFY_RETURN: _Place(_FUNCTION, "", "fmod_ret/security_file_open"),
    AttachType.LSM_MAC: _Place("LSM hook", "bpf_lsm_", "lsm/file_open"),
    AttachType.LSM_CGROUP: _Place("LSM hook", "bpf_lsm_", "lsm_cgroup/socket_create"),
    AttachType.TRACE_ITER: _Place("iterator", "bpf_iter_", "iter/task"),
}


def check_target(program: ProgramSpec) -> None:
    """Raise ``ObjectError`` if it can be told without the kernel that the place of a program for one place cannot be
    found."""
    if program.prog_type in (ProgType.EXT, ProgType.STRUCT_OPS):
        raise UnsupportedObject(
            f"program {program.name!r} ({program.prog_type.name}) is for a place in another program or an instance of a "
            "kernel struct, which this loader does not look up"
        )
    place = _place(program)
    if not _target(program)[1]:
        raise ObjectError(
            f"program {program.name!r} (section {program.section!r}) names no {place.what}: its section has to be of the form "
            f"{place.example!r}"
        )


def attach_target(program: ProgramSpec) -> AttachTarget:
    """What a program of type TRACING or LSM is loaded for.

    Raises ``ObjectError`` if its section names nothing, or what the running kernel does not have.
    """
    check_target(program)
    from pyebpf.btf.types import Kind
    from pyebpf.runtime.externs import Found, find_in_kernel

    place = _place(program)
    module, name = _target(program)
    kind = Kind.TYPEDEF if program.attach_type is AttachType.TRACE_RAW_TP else Kind.FUNC
    found: Found | None
    if module:
        spec = _types_of(module)
        own = [number for number in spec.ids(place.prefix + name, kind) if number >= spec.first]
        found = Found(spec, own[0], "" if module == "vmlinux" else module) if own else None
    else:
        found = find_in_kernel(place.prefix + name, kind)
    if found is None:
        raise ObjectError(
            f"program {program.name!r}: {_kernel(module)} has no {place.what} {name!r}"
            + _near(name, place.prefix, kind, module)
        )
    return AttachTarget(found.id, found.module)


def _place(program: ProgramSpec) -> _Place:
    place = None if program.attach_type is None else _PLACES.get(program.attach_type)
    if place is None:
        told = "none" if program.attach_type is None else program.attach_type.name
        raise ObjectError(
            f"program {program.name!r} of type {program.prog_type.name} has attach type {told}, which is for no known place"
        )
    return place


def _target(program: ProgramSpec) -> tuple[str, str]:
    """Module (empty if none is named) and name."""
    module, colon, name = section_target(program.section).partition(":")
    return (module, name) if colon else ("", module)


def _types_of(module: str) -> btf.Spec:
    from pyebpf.runtime.kernel_btf import vmlinux
    from pyebpf.runtime.kernel_modules import module_types

    return vmlinux() if module == "vmlinux" else module_types(module)


def _kernel(module: str) -> str:
    from pyebpf.runtime.kernel_btf import running_kernel

    return f"module {module!r}" if module not in ("", "vmlinux") else running_kernel()


def _near(name: str, prefix: str, kind: btf.Kind, module: str) -> str:
    """Names that may have been meant, as the rest of a sentence."""
    from pyebpf.near_names import near

    known = (
        found.removeprefix(prefix) for found in _types_of(module or "vmlinux").names(kind, prefix=prefix)
    )
    found = near(name, known)
    if not found:
        return ""
    *others, last = map(repr, found)
    return "; did you mean " + (f"{', '.join(others)} or {last}?" if others else f"{last}?")
