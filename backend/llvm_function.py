"""The text of one function in LLVM's assembly, while it is being written: a ``FunctionText``.

The lowering of operations (``llvm_ops``) are functions over it, as those of instruction selection are over
``Selection``.
"""

from __future__ import annotations

import re

from pyebpf.backend.llvm_debug import DebugInfo, quoted
from pyebpf.diagnostics import InternalError, Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.ops import Block, Function, Module, Value
from pyebpf.ir.types import IntTy, IRType, PtrTy, VoidTy
from pyebpf.records import dataclass, field
from pyebpf.target import Target

if TYPE_CHECKING:
    from typing import Final


_STRANGE: Final = re.compile(r"[^A-Za-z0-9_]")
MAPS: Final = ".maps"
_UNLIKELY: Final = '!{!"branch_weights", i32 1, i32 2000}'
_LEAVES: Final = (ops.Const, ops.Undef, ops.MapRef, ops.GlobalRef, ops.FuncRef)


def symbol(section: str, name: str) -> str:
    """The global of LLVM's module that stands for a variable of a data section, or for a map (section ``MAPS``)."""
    return "@" + quoted(f"{section}:{name}")


def function_symbol(name: str) -> str:
    """The function ``name`` of the module or of the kernel."""
    return "@" + quoted(name)


def type_text(type_: IRType) -> str:
    """A type of ours in LLVM's words. Pointers lose their provenance."""
    match type_:
        case IntTy(bits=bits):
            return f"i{bits}"
        case PtrTy():
            return "ptr"
        case VoidTy():
            return "void"


def literal(value: int, bits: int) -> str:
    """The integer ``value``, which is in 0 … 2**bits - 1, as a constant."""
    if bits == 1:
        return "true" if value else "false"
    return str(value - (1 << bits) if value >> (bits - 1) else value)


@dataclass(slots=True)
class Declarations:
    """What the module has to declare because some function uses it: whole lines, each once, in order."""

    lines: dict[str, None] = field(default_factory=dict)

    def need(self, line: str) -> None:
        """Declare ``line``."""
        self.lines[line] = None


class FunctionText:
    """Appends instructions to the body of ``function``. ``span`` is the place of those that are appended next."""

    def __init__(
        self, function: Function, module: Module, target: Target, declared: Declarations, debug: DebugInfo
    ) -> None:
        self.function = function
        self.module = module
        self.target = target
        self.declared = declared
        self.lines: list[str] = []
        self.span: Span | None = None
        self.subprogram = debug.subprogram(function)
        self._debug = debug
        self._names: dict[Value, str] = {}
        self._count = 0

    def error(self, message: str) -> InternalError:
        """The exception for something that no correct SSA contains."""
        return InternalError(message, phase="llvm", function=self.function.name, span=self.span)

    # ------------------------------------------------------------ names

    def name(self, value: Value) -> str:
        """The register of ``value``; phis refer to values further down, so that it may not be written yet."""
        if value not in self._names:
            self._names[value] = self._fresh(value.name)
        return self._names[value]

    def _fresh(self, hint: str) -> str:
        self._count += 1
        # Blocks have names of the same space, and numbers behind a dot.
        return f"%{_STRANGE.sub('_', hint) or 'v'}${self._count}"

    def label(self, block: Block) -> str:
        """The label of ``block``, as operand of a jump."""
        return "%" + quoted(block.name)

    def use(self, value: Value) -> str:
        """``value`` as an operand, without its type."""
        match value:
            case ops.Const(type=IntTy(bits=bits), value=number):
                return literal(number, bits)
            case ops.Const():
                return "null"
            case ops.Undef():
                return "undef"
            case ops.MapRef(map=name):
                self.declared.need(f"{symbol(MAPS, name)} = external global i8")
                return symbol(MAPS, name)
            case ops.GlobalRef(section=section, variable=name):
                found = self.module.data[section].variable(name)
                if found is None:
                    raise self.error(f"section {section} has no variable {name}")
                self.declared.need(f"{symbol(section, name)} = external global [{found.size} x i8]")
                return symbol(section, name)
            case ops.FuncRef(function=name):
                return function_symbol(name)
            case _:
                return self.name(value)

    def typed(self, value: Value) -> str:
        """``value`` as an operand with its type."""
        return f"{type_text(value.type)} {self.use(value)}"

    # ------------------------------------------------------------ instructions

    def do(self, text: str) -> None:
        """Append an instruction without result."""
        place = self._debug.location(
            self.span or self.function.span, self.subprogram, self.function.span.file
        )
        self.lines.append(f"  {text}, !dbg {place}")

    def let(self, text: str, hint: str = "") -> str:
        """Append an instruction; the register of its result."""
        register = self._fresh(hint)
        self.do(f"{register} = {text}")
        return register

    def define(self, value: Value, text: str) -> None:
        """Append the instruction whose result ``value`` is."""
        self.do(f"{self.name(value)} = {text}")

    def unlikely(self) -> str:
        """The reference to the weights of a branch that is hardly ever taken."""
        return self._debug.node(_UNLIKELY)

    def intrinsic(self, signature: str, arguments: str) -> str:
        """A call of the intrinsic declared as ``RESULT @NAME(PARAMETERS)``, to be defined or done."""
        self.declared.need(f"declare {signature}")
        return f"call {signature.partition('(')[0]}({arguments})"


def is_leaf(value: Value) -> bool:
    """Whether ``value`` is written where it is used and nowhere else."""
    return isinstance(value, _LEAVES)
