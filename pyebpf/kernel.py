"""The types of the kernel: ``from pyebpf.kernel import task_struct, sock, file``.

Any name can be imported: it stands for the struct, union, enum or typedef that the kernel has under it, which the compiler
looks up in the type information of the kernel that it compiles for, when a program is compiled. Nothing is generated.

In programs these names annotate parameters and are arguments of ``bpf.cast``, ``bpf.field_exists`` and their like; the
fields of such values are read as attributes, as deep as one likes: ``task.mm.owner.pid``.
"""

from __future__ import annotations

from typing import Any

from pyebpf.declare import KernelTypeDecl


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
