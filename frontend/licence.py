"""What the kernel gives to GPL-compatible programs only: services that a program calls, and those that its reads become.

The latter are looked for in the finished tree: wherever memory of the kernel or of a user is read, a helper or a load does it
that asks for the licence.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf.codes import Code
from pyebpf.diagnostics import Diagnostic, Span
from pyebpf.frontend import tree
from pyebpf.frontend.build_frame import reachable
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Kernel, Trust, User

GPL_COMPATIBLE = frozenset(
    {"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}
)
"""The licences that the kernel accepts for what is for GPL-compatible programs only (include/linux/license.h)."""


def lacking_licence(stated: str | None, what: str, span: Span) -> Diagnostic:
    """The refusal of ``what`` in a program with the licence ``stated``."""
    return Diagnostic(
        Code.E0804,
        f"{what} is for GPL-compatible programs only",
        span,
        notes=(f"the licence is `{stated}`" if stated else "the module states no licence",),
        help=('if that is the licence of your program, state it: `bpf.license("GPL")`',),
    )


def unlicensed(unit: tree.Unit) -> list[Diagnostic]:
    """Programs of types, and the first read of each function, that the unit's licence does not allow."""
    if unit.license in GPL_COMPATIBLE:
        return []
    found = [
        lacking_licence(unit.license, f"the program type {program.program.kind.name}", program.span)
        for program in unit.programs
        if program.program is not None and program.program.kind.gpl_only
    ]
    for function in reachable([*unit.programs, *unit.functions]):
        found += [lacking_licence(unit.license, what, span) for what, span in _reads(function)][:1]
    return found


def _reads(function: tree.Function) -> Iterator[tuple[str, Span]]:
    for node in nodes(function.body):
        match node:
            case tree.KernelRead():
                yield "reading the kernel's memory", node.span
            case tree.AddressAs(operand=tracked) | tree.KernelElement(base=tracked):
                if _tracked(tracked) and not _tracked(node):
                    yield "the number of an address in the kernel", node.span
            case tree.FarCopy(address=address):
                of = "a process'" if isinstance(address.type, User) else "the kernel's"
                yield f"reading {of} memory", node.span
            case tree.UserRead():
                yield "reading a process' memory", node.span
            case tree.SyscallArgument() | tree.UsdtArgument():
                yield "an argument of this program type", node.span
            case _:
                pass


def _tracked(expr: tree.AddressAs | tree.KernelElement | tree.Expr) -> bool:
    return isinstance(expr.type, Kernel) and expr.type.trust is Trust.TRACKED
