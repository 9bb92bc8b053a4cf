"""The running kernel's own type information, and that of its modules."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pyebpf.btf.decode import Spec
from pyebpf.runtime.errors import ObjectError
from pyebpf.runtime.kernel_index import indexed

FOLDER: Final = Path("/sys/kernel/btf")
VMLINUX: Final = FOLDER / "vmlinux"
_MODULES: dict[str, tuple[int, Spec]] = {}


@functools.cache
def vmlinux() -> Spec:
    """The kernel's BTF, read once per process (a running kernel's does not change).

    Raises ``ObjectError`` if this kernel has none.
    """
    try:
        return indexed(VMLINUX.read_bytes())
    except FileNotFoundError:
        raise ObjectError(
            f"this kernel has no type information ({VMLINUX} is missing; CONFIG_DEBUG_INFO_BTF)"
        ) from None
    except OSError as error:
        raise ObjectError(f"the kernel's type information cannot be read: {VMLINUX}: {error.strerror}") from None


def module_names() -> list[str]:
    """The names of the loaded modules that have BTF, in alphabetical order."""
    try:
        return sorted(name for name in os.listdir(FOLDER) if name != VMLINUX.name)
    except OSError:
        return []


def module_types(name: str) -> Spec:
    """The BTF of the loaded module ``name``; its ids go on where those of ``vmlinux`` end.

    It is read again if the module has been loaded anew. Raises ``ObjectError`` if there is no such module, or it has none.
    """
    path = FOLDER / name
    try:
        state = path.stat()
        known = _MODULES.get(name)
        if known is None or known[0] != state.st_ino:
            known = _MODULES[name] = state.st_ino, Spec(path.read_bytes(), vmlinux())
    except OSError:
        raise ObjectError(f"no module {name!r} with type information is loaded ({path})") from None
    return known[1]


def modules() -> Iterator[tuple[str, Spec]]:
    """Name and BTF of every loaded module that has some; one that goes away meanwhile is left out."""
    for name in module_names():
        try:
            yield name, module_types(name)
        except ObjectError:
            continue


def kernel_name() -> str:
    """How messages call the running kernel: ``Linux 6.18``."""
    return "Linux " + ".".join(os.uname().release.split(".")[:2])
