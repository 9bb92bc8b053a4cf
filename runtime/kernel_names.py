"""Names in the kernel's type information, without building its types: functions, raw tracepoints, iterators, LSM
hooks."""

from __future__ import annotations

import errno
import functools
from typing import Final

from pyebpf.runtime.errors import BpfError, Phase

RAW_TRACEPOINT: Final = "btf_trace_"  # typedefs
ITERATOR: Final = "bpf_iter_"  # functions
LSM_HOOK: Final = "bpf_lsm_"  # functions


@functools.cache
def btf_names() -> frozenset[str]:
    """Every name in the kernel's BTF, of whatever; empty if the kernel has none."""
    try:
        return _all_names()
    except BpfError:
        return frozenset()


@functools.cache
def names_with_prefix(prefix: str) -> frozenset[str]:
    """What follows ``prefix`` in the names that start with it. Raises ``BpfError`` if the kernel has no BTF."""
    return frozenset(name.removeprefix(prefix) for name in _all_names() if name.startswith(prefix))


@functools.cache
def _all_names() -> frozenset[str]:
    from pyebpf.btf.header import header_sections
    from pyebpf.runtime.kernel_btf import VMLINUX

    try:
        data = VMLINUX.read_bytes()
    except OSError as found:
        raise BpfError(
            found.errno or errno.EIO,
            Phase.SYMBOLS,
            detail=f"this kernel has no type information ({VMLINUX}; CONFIG_DEBUG_INFO_BTF)",
        ) from None
    _, _, strings = header_sections(data, continued=False)
    return frozenset(strings.decode("utf-8", "surrogateescape").split("\0"))
