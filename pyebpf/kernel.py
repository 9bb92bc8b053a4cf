"""The types of the kernel: ``from pyebpf.kernel import task_struct, sock, file``.

Any name can be imported: it stands for the struct, union, enum or typedef that the kernel has under it, which the compiler
looks up in the type information of the kernel that it compiles for, when a program is compiled. Nothing is generated.

In programs these names annotate parameters and are arguments of ``bpf.cast``, ``bpf.field_exists`` and their like; the
fields of such values are read as attributes, as deep as one likes: ``task.mm.owner.pid``.
"""

from __future__ import annotations

from pyebpf.declare import KernelTypeDecl
from pyebpf.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # To type checkers the types that tools use most are classes; all other names are anything. `pyebpf stubs` knows the fields.
    class _KernelType:
        def __getattr__(self, field: str) -> Any: ...

    class bpf_iter_meta(_KernelType): ...

    class bpf_map(_KernelType): ...

    class cgroup(_KernelType): ...

    class dentry(_KernelType): ...

    class file(_KernelType): ...

    class filename(_KernelType): ...

    class inode(_KernelType): ...

    class linux_binprm(_KernelType): ...

    class mm_struct(_KernelType): ...

    class path(_KernelType): ...

    class request(_KernelType): ...

    class sk_buff(_KernelType): ...

    class sock(_KernelType): ...

    class task_struct(_KernelType): ...

    class vm_area_struct(_KernelType): ...


class KernelType:
    """A type of the kernel by its name."""

    def __init__(self, name: str, decl: KernelTypeDecl | None = None) -> None:
        self.__name__ = name
        self.__bpf__ = decl or KernelTypeDecl(name)

    def __repr__(self) -> str:
        return f"<kernel type {self.__name__}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KernelType) and self.__bpf__ == other.__bpf__

    def __hash__(self) -> int:
        return hash(self.__bpf__)

    def __or__(self, other: object) -> Any:
        """``task_struct | None`` in annotations."""
        return self

    __ror__ = __or__


def __getattr__(name: str) -> Any:
    if name.startswith("__") or not name.isidentifier():
        raise AttributeError(name)
    found = globals()[name] = KernelType(name)
    return found
