"""Modules of the running kernel that have type information: which there are, and their BTF as the kernel takes it."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator

from pyebpf.btf import name_of
from pyebpf.btf.decode import Spec
from pyebpf.btf.types import BtfError
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attrs import GetId
from pyebpf.runtime.errors import ObjectError, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import btf_name
from pyebpf.runtime.kernel_btf import FOLDER, vmlinux
from pyebpf.runtime.privilege import Need
from pyebpf.runtime.syscall import bpf_fd, call, error
from pyebpf.uapi.constants import BpfCmd

if TYPE_CHECKING:
    from typing import Final


_VMLINUX: Final = "vmlinux"
_KNOWN: Final[dict[str, tuple[int, Spec]]] = {}


def module_names() -> list[str]:
    """The names of the loaded modules that have BTF, in alphabetical order."""
    try:
        return sorted(name for name in os.listdir(FOLDER) if name != _VMLINUX)
    except OSError:
        return []


def module_types(name: str) -> Spec:
    """The BTF of the loaded module ``name``; its ids go on where those of ``vmlinux`` end.

    It is read again if the module has been loaded anew. Raises ``ObjectError`` if there is no such module, it has none, or
    what it has is malformed.
    """
    path = f"{FOLDER}/{name}"
    try:
        inode = os.stat(path).st_ino
        known = _KNOWN.get(name)
        if known is None or known[0] != inode:
            with open(path, "rb") as opened:
                known = _KNOWN[name] = inode, Spec(opened.read(), vmlinux())
    except OSError:
        raise ObjectError(f"no module {name!r} with type information is loaded") from None
    except BtfError as error:
        raise ObjectError(f"the types of the module {name!r} cannot be read: {error}") from None
    return known[1]


def modules() -> Iterator[tuple[str, Spec]]:
    """Name and BTF of every loaded module that has some; one that goes away meanwhile, or whose
    BTF is malformed, is left out."""
    for name in module_names():
        try:
            yield name, module_types(name)
        except ObjectError:
            continue


def type_name(types_id: int, number: int) -> str:
    """The name of a function or type by the numbers that the kernel gives, ``module:name`` in a module.

    Raises ``BpfError`` or ``ObjectError`` if there is none, or no longer, or CAP_SYS_ADMIN is missing.
    """
    attr = GetId(types_id)
    with bpf_fd(BpfCmd.BTF_GET_FD_BY_ID, attr, Phase.OBJECT_INFO, need=Need.SYS_ADMIN) as fd:
        module = btf_name(fd)
    if module == _VMLINUX:
        return name_of(vmlinux().type(number))
    return f"{module}:{name_of(module_types(module).type(number))}"


def module_btf(name: str) -> Fd:
    """A descriptor of the BTF of the module ``name``, which programs that use it are loaded with.

    Raises ``ObjectError`` if there is none, ``PermissionDenied`` without CAP_SYS_ADMIN.
    """
    attr = GetId()
    while True:
        result = call(BpfCmd.BTF_GET_NEXT_ID, attr, ctypes.sizeof(attr))
        if result == -errno.ENOENT:
            raise ObjectError(f"no module {name!r} with type information is loaded")
        if result < 0:
            raise error(-result, Phase.OBJECT_INFO, f"the BTF of {name!r}", need=Need.SYS_ADMIN)
        found = call(BpfCmd.BTF_GET_FD_BY_ID, GetId(attr.next_id), ctypes.sizeof(attr))
        if found < 0 and found != -errno.ENOENT:  # it may have gone away meanwhile
            raise error(-found, Phase.OBJECT_INFO, f"the BTF of {name!r}", need=Need.SYS_ADMIN)
        if found >= 0:
            fd = Fd(found)
            if btf_name(fd) == name:
                return fd
            fd.close()
        attr = GetId(attr.next_id)
