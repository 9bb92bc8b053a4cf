"""Dead functions: what no program calls, nor passes as a callback, directly or through others.

::

    func entry xdp @main(…) { … }            func entry xdp @main(…) { … }
    func subprogram @double(…) { … }  →

Requires: ``inline`` before, which leaves such functions behind. Invalidates: entries of ``Module.functions``.
"""

from __future__ import annotations

from pyebpf.ir.ops import Call, FuncRef, FunctionRole, Module


def run(module: Module) -> bool:
    """Drop what cannot be reached from an entry function. Returns whether there was anything."""
    reached = {name for name, f in module.functions.items() if f.role is FunctionRole.ENTRY}
    work = list(reached)
    while work:
        for op in module.functions[work.pop()].ops():
            if isinstance(op, Call | FuncRef) and op.function not in reached:
                reached.add(op.function)
                work.append(op.function)
    changed = len(reached) < len(module.functions)
    module.functions = {name: f for name, f in module.functions.items() if name in reached}
    return changed
