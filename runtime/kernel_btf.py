"""The running kernel's own type information, and the kernel functions that programs may call by it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

from pyebpf import btf
from pyebpf.btf.decode import Spec, essential_name
from pyebpf.runtime.errors import ObjectError

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")
_MAX_DEPTH: Final = 32


@functools.cache
def vmlinux() -> Spec:
    """The kernel's BTF, indexed once per process (a running kernel's does not change).

    Raises ``ObjectError`` if this kernel has none.
    """
    try:
        return Spec(VMLINUX.read_bytes())
    except FileNotFoundError:
        raise ObjectError(
            f"this kernel has no type information ({VMLINUX} is missing; CONFIG_DEBUG_INFO_BTF)"
        ) from None


def kernel_function(name: str, local: btf.Type | None) -> int | None:
    """The id of the kernel function that ``name`` (a ``___flavor`` aside) refers to, or ``None`` if there
    is none.

    ``local``: how the object declares it. Raises ``ObjectError`` if the kernel's prototype is another.
    """
    spec = vmlinux()
    found = spec.ids(essential_name(name), btf.Kind.FUNC)
    if not found:
        return None
    kernel = spec.type(found[0])
    declared, actual = getattr(local, "proto", None), getattr(kernel, "proto", None)
    if declared is not None and not compatible(declared, actual):
        raise ObjectError(
            f"kernel function {name!r}: the object declares {btf.describe(declared)}, "
            f"this kernel has {btf.describe(actual)}"
        )
    return found[0]


def compatible(local: btf.Type | None, kernel: btf.Type | None, depth: int = 0) -> bool:
    """Whether a declaration fits the kernel's: the same kinds, through pointers and prototypes; names and the
    members of structs do not count. This is libbpf's rule."""
    local, kernel = btf.skip_modifiers(local), btf.skip_modifiers(kernel)
    if depth > _MAX_DEPTH:
        return True
    match local, kernel:
        case btf.Ptr(target=a), btf.Ptr(target=b):
            return compatible(a, b, depth + 1)
        case btf.Array(element=a), btf.Array(element=b):
            return compatible(a, b, depth + 1)
        case btf.FuncProto(result=a, params=p), btf.FuncProto(result=b, params=q):
            return (
                len(p) == len(q)
                and compatible(a, b, depth + 1)
                and all(compatible(x.type, y.type, depth + 1) for x, y in zip(p, q, strict=True))
            )
        case ((btf.Enum() | btf.Enum64()), (btf.Enum() | btf.Enum64())):
            return True
        case _:
            return btf.kind_of(local) == btf.kind_of(kernel)
