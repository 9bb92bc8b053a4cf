"""How the kernel calls the functions behind its system calls: ``__x64_sys_openat`` or ``__se_sys_openat``.

Kernels with a wrapper pass one pointer to the caller's registers to ``__<architecture>_sys_<name>``; others pass the
arguments themselves to ``__se_sys_<name>``.
"""

from __future__ import annotations

import functools
import os

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.kallsyms import has_symbol
from pyebpf.runtime.kernel_config import kernel_config
from pyebpf.runtime.kernel_names import is_function

if TYPE_CHECKING:
    from typing import Final


_PREFIXES: Final = {
    "x86_64": "x64",
    "i386": "ia32",
    "i686": "ia32",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "s390x": "s390x",
    "mips": "mips",
    "mips64": "mips",
    "riscv64": "riscv",
    "ppc64": "powerpc",
    "ppc64le": "powerpc",
}
"""By machine, as ``uname`` names it."""


@functools.cache
def has_syscall_wrapper() -> bool:
    """Whether the running kernel wraps its system calls. Asked of its types, else of its symbols, else of its
    configuration: a probe could not be tried where the kernel has no kprobes."""
    prefix = _PREFIXES.get(os.uname().machine)
    if prefix is None:
        return False
    name = f"__{prefix}_sys_bpf"
    if is_function(name):
        return True
    known = has_symbol(name)
    if known is not None:
        return known
    return (kernel_config() or {}).get("CONFIG_ARCH_HAS_SYSCALL_WRAPPER") == "y"


def syscall_function(name: str, *, machine: str | None = None, wrapper: bool | None = None) -> str:
    """The kernel function behind the system call ``name`` (without prefix). ``machine`` and ``wrapper``: of another
    kernel than the running one."""
    prefix = _PREFIXES.get(os.uname().machine if machine is None else machine)
    wrapped = has_syscall_wrapper() if wrapper is None else wrapper
    return f"__{prefix}_sys_{name}" if wrapped and prefix is not None else f"__se_sys_{name}"
