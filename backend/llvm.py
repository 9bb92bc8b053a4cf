"""The second code generator: LLVM's, through llvmlite, for the same SSA.

    SSA ── llvm_ir ──▶ LLVM's assembly ── llvm_process ──▶ object file ── llvm_object ──▶ ObjectSpec

It is the independent witness of the differential tests and the yardstick of the benchmarks. What LLVM makes of a
program means the same; whether the kernel's verifier can follow it is not promised.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.backend.llvm_ir import print_llvm
from pyebpf.backend.llvm_object import take_over
from pyebpf.backend.llvm_process import (
    LlvmCrashed,
    LlvmError,
    LlvmMissing,
    LlvmRefused,
    LlvmStackTooLarge,
    compile_text,
)
from pyebpf.ir.ops import Module
from pyebpf.object import ObjectSpec
from pyebpf.target import Target

__all__ = ["LlvmCrashed", "LlvmError", "LlvmMissing", "LlvmRefused", "LlvmStackTooLarge", "compile_with_llvm"]

Observer = Callable[[str, str], None]
"""Called with the name of a stage (``llvm``) and its text."""


def compile_with_llvm(module: Module, target: Target, *, observer: Observer | None = None) -> ObjectSpec:
    """The object of ``module`` for ``target``, by LLVM's optimiser and BPF backend.

    ``module`` is the SSA as the front end built it: where our passes have run over it, a mistake of theirs is in it.
    Raises ``LlvmMissing`` without llvmlite, ``LlvmRefused`` (``LlvmStackTooLarge``) for what LLVM cannot compile,
    ``LlvmCrashed`` where LLVM fails; ``InternalError`` for SSA that is not correct.
    """
    text = print_llvm(module, target)
    if observer is not None:
        observer("llvm", text)
    return take_over(compile_text(text, target.isa), module, target)
