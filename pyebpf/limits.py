"""What the kernel limits for a whole program, told as diagnostics: stack and depth of calls."""

from __future__ import annotations

from pyebpf.backend.codegen import CallsTooDeep, StackTooLarge
from pyebpf.backend.frame import STACK_BYTES
from pyebpf.codes import Code
from pyebpf.diagnostics import Diagnostic
from pyebpf.ir.ops import Alloca, Module

_SHOWN = 6


def limit_diagnostic(error: StackTooLarge | CallsTooDeep, module: Module) -> Diagnostic:
    """The refusal of a program that needs more than the kernel gives."""
    if isinstance(error, CallsTooDeep):
        return Diagnostic(
            Code.E1002,
            f"calls are nested {len(error.chain)} deep, at most 8 are allowed",
            module.functions[error.chain[0]].span,
            notes=(f"the chain is {' → '.join(error.chain)}",),
            help=("mark some of the functions with `@bpf.inline`",),
        )
    slots = [
        (slot.size, slot.label or "unnamed", report.name) for report in error.chain for slot in report.frame
    ]
    largest = sorted(slots, key=lambda s: -s[0])[:_SHOWN]
    listed = ", ".join(f"{label} in {name} ({size} bytes)" for size, label, name in largest)
    places = {
        op.label: op.span
        for report in error.chain
        for op in module.functions[report.name].ops()
        if isinstance(op, Alloca) and op.span is not None and op.label
    }
    span = next((places[label] for _, label, _ in largest if label in places), error.function.span)
    return Diagnostic(
        Code.E1001,
        f"the program needs {error.needed} bytes of stack, the kernel gives {STACK_BYTES}",
        span,
        label="the largest object" if span is not error.function.span else "",
        notes=(f"the largest are: {listed}",),
        help=("keep large objects in a map, such as a `PerCpuArray` with one entry",),
    )
