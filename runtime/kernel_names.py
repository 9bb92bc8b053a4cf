"""Names in the kernel's type information: functions, raw tracepoints, iterators, LSM hooks."""

from __future__ import annotations

import functools
from typing import Final

RAW_TRACEPOINT: Final = "btf_trace_"  # typedefs
ITERATOR: Final = "bpf_iter_"  # functions
LSM_HOOK: Final = "bpf_lsm_"  # functions


@functools.cache
def btf_functions() -> dict[str, int]:
    """The functions in the kernel's BTF with their ids. Raises ``ObjectError`` if it has none."""
    return _named("FUNC")


@functools.cache
def btf_typedefs() -> dict[str, int]:
    """The typedefs in the kernel's BTF with their ids. Raises ``ObjectError`` if it has none."""
    return _named("TYPEDEF")


def _named(kind: str) -> dict[str, int]:
    from pyebpf.btf import Kind
    from pyebpf.runtime.kernel_btf import vmlinux

    return vmlinux().first_ids(Kind[kind])


def targets(prefix: str) -> dict[str, int]:
    """What programs are attached to by a name that the kernel puts ``prefix`` (one of those above) before, with BTF ids.
    Raises ``ObjectError`` if the kernel has no BTF."""
    names = btf_typedefs() if prefix == RAW_TRACEPOINT else btf_functions()
    return {name.removeprefix(prefix): number for name, number in names.items() if name.startswith(prefix)}
