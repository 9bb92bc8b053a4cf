"""A module of our SSA as a module of LLVM, in text.

It takes the SSA as the front end builds it, before any pass of ours: so LLVM's pipeline, selection and register
allocation replace all of ours, and a mistake in any of them shows as a difference.

Maps and variables are external globals, whose contents LLVM knows nothing of; their names hold the section,
which ``llvm_object`` needs to find them again. Functions keep their names and their sections.
"""

from __future__ import annotations

from pyebpf.backend.llvm_debug import DebugInfo, quoted
from pyebpf.backend.llvm_function import Declarations, FunctionText, function_symbol, type_text
from pyebpf.backend.llvm_ops import lower
from pyebpf.diagnostics import InternalError
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.cfg import reverse_postorder
from pyebpf.ir.ops import Function, FunctionRole, Inlining, Module
from pyebpf.target import Target

if TYPE_CHECKING:
    from typing import Final


_LAYOUT: Final = "m:e-p:64:64-i64:64-i128:128-n32:64-S128"
# The kernel verifies a global function on its own: as a weak one, LLVM does not look into it for its callers.
_LINKAGE: Final = {
    FunctionRole.ENTRY: "dso_local",
    FunctionRole.GLOBAL: "weak dso_local",
    FunctionRole.SUBPROGRAM: "internal",
    FunctionRole.CALLBACK: "internal",
}


def print_llvm(module: Module, target: Target) -> str:
    """``module`` in LLVM's assembly, for the BPF target of LLVM 22.

    Raises ``InternalError`` for SSA that is not correct.
    """
    declared, debug = Declarations(), DebugInfo()
    functions = [_function(f, module, target, declared, debug) for f in module.functions.values()]
    order = "e" if target.little_endian else "E"
    head = [
        f'target datalayout = "{order}-{_LAYOUT}"',
        f'target triple = "bpf{"el" if order == "e" else "eb"}"',
    ]
    parts = [head, list(declared.lines), *functions, debug.text()]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _function(
    function: Function, module: Module, target: Target, declared: Declarations, debug: DebugInfo
) -> list[str]:
    f = FunctionText(function, module, target, declared, debug)
    blocks = reverse_postorder(function)
    reached = frozenset(blocks)
    for block in blocks:
        f.lines.append(f"{quoted(block.name)}:")
        for op in block.ops:
            if isinstance(op, ops.Phi):
                op.incoming = {pred: value for pred, value in op.incoming.items() if pred in reached}
            lower(f, op)
    return [_header(f), *f.lines, "}"]


def _header(f: FunctionText) -> str:
    function = f.function
    params = ", ".join(f"{type_text(p.type)} {f.name(p)}" for p in function.params)
    words = [
        f"define {_LINKAGE[function.role]} {type_text(function.result)} {function_symbol(function.name)}({params})"
    ]
    words += _attributes(function)
    if function.role is FunctionRole.ENTRY:
        if function.kind is None:
            raise InternalError(
                "an entry point without a kind of program", phase="llvm", function=function.name
            )
        words.append(f"section {quoted(function.kind.section)}")
    return f"{' '.join(words)} !dbg {f.subprogram} {{"


def _attributes(function: Function) -> list[str]:
    """``no-builtins``: loops must not become calls of ``memset``, which the kernel does not have."""
    found = ["nounwind", '"no-builtins"']
    match function.inlining:
        case Inlining.NEVER:
            found.append("noinline")
        case Inlining.ALWAYS if function.role is FunctionRole.SUBPROGRAM:
            found.append("alwaysinline")
        case _:
            pass
    return found
