"""The running kernel's own type information."""

from __future__ import annotations

import contextlib
import functools
import mmap
import os

from pyebpf.btf.decode import Spec
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.errors import ObjectError
from pyebpf.runtime.kernel_index import indexed

if TYPE_CHECKING:
    from typing import Final


FOLDER: Final = "/sys/kernel/btf"
VMLINUX: Final = f"{FOLDER}/vmlinux"


@functools.cache
def vmlinux() -> Spec:
    """The kernel's BTF, read once per process (a running kernel's does not change).

    Raises ``ObjectError`` if this kernel has none.
    """
    try:
        return indexed(_mapped(VMLINUX))
    except FileNotFoundError:
        raise ObjectError(
            f"this kernel has no type information ({VMLINUX} is missing; CONFIG_DEBUG_INFO_BTF)"
        ) from None
    except OSError as error:
        raise ObjectError(f"the kernel's types cannot be read: {VMLINUX}: {error.strerror}") from None


def _mapped(path: str) -> bytes | mmap.mmap:
    """The contents of a file of the kernel, mapped where it allows that (6.16): reading copies megabytes."""
    with open(path, "rb", buffering=0) as opened:
        with contextlib.suppress(OSError, ValueError):
            size = os.fstat(opened.fileno()).st_size
            # It keeps a descriptor of its own for as long as it lives: once in a process.
            return mmap.mmap(opened.fileno(), size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        return opened.read()


def running_kernel() -> str:
    """How messages call the running kernel: ``Linux 6.18``."""
    return "Linux " + ".".join(os.uname().release.split(".")[:2])
