"""What an expression can stand for while a function is analysed, and how the types of variables are joined.

Most expressions are tree nodes with a type from ``frontend.types``. Some exist only during analysis: a Python
object known at compile time (``Static``), the attribute of a run-time value that is about to be called
(``Method``), a tuple on its way into an unpacking (``Items``), and an integer that may be missing
(``OptionalInt``: the tree has optional references only, so a variable of this type becomes two locals).
"""

from __future__ import annotations

from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.types import (
    I64_MAX,
    I64_MIN,
    U64_MAX,
    Bool,
    ContextPtr,
    Int,
    Kernel,
    Maybe,
    NoneT,
    Origin,
    Pointer,
    Ref,
    Type,
)
from pyebpf.hints import TYPE_CHECKING, final
from pyebpf.records import dataclass
from pyebpf.uapi.contexts import ContextField

if TYPE_CHECKING:
    from pyebpf.frontend.flow import Variable


@final
@dataclass(frozen=True, slots=True)
class Static:
    """A Python object that is known while compiling: a constant, a type, a function, a module, a declaration."""

    value: object
    span: Span


@final
@dataclass(frozen=True, slots=True)
class Method:
    """``receiver.name`` of a run-time value, a map or a global; what it means is known at the call."""

    receiver: Static | tree.Expr
    name: str
    span: Span


@final
@dataclass(frozen=True, slots=True)
class ContextPart:
    """A field of the context that is no value by itself: an array, or a pointer into the packet."""

    base: tree.Expr
    row: ContextField
    span: Span


@final
@dataclass(frozen=True, slots=True)
class Items:
    """A tuple display with parts known only at run time."""

    items: tuple[Operand, ...]
    span: Span


@final
@dataclass(frozen=True, slots=True)
class FoundInt:
    """The integer in a map value, or None: ``lookup`` is an (unevaluated) optional reference to it.

    ``variable``: what ``:=`` assigns it to; then ``lookup`` binds ``reference``.
    """

    lookup: tree.Expr
    span: Span
    variable: Variable | None = None
    reference: tree.Local | None = None


@final
@dataclass(frozen=True, slots=True)
class Caught:
    """What ``except … as e`` names, as a ``Static``'s value: only ``e.errno`` of an OSError has a meaning."""

    errno: tree.Local
    has_errno: bool


@final
@dataclass(frozen=True, slots=True)
class MaybeVariable:
    """A variable that holds an integer or None, where it is not known which."""

    variable: Variable
    span: Span


Operand = tree.Expr | Static | Method | ContextPart | Items | FoundInt | MaybeVariable


@final
@dataclass(frozen=True, slots=True)
class OptionalInt:
    """The type of a variable that holds an integer or None."""

    of: Int

    def __str__(self) -> str:
        return "int | None"


VariableType = Type | OptionalInt


class Mismatch(Exception):
    """Two types have no common one. ``mixed_sign``: they are integers, but one is ``u64`` and one may be negative.
    ``origins``: they refer to the same layout in memory of different kinds."""

    def __init__(
        self, left: VariableType, right: VariableType, *, mixed_sign: bool = False, origins: bool = False
    ) -> None:
        super().__init__(f"{left} and {right}")
        self.left = left
        self.right = right
        self.mixed_sign = mixed_sign
        self.origins = origins


BOOL_AS_INT = Int(False, 0, 1)


def join_ints(left: Int, right: Int) -> Int:
    """The type of a place that holds either: ``u64`` if one is and the other is never negative."""
    if left.unsigned != right.unsigned and not (left.nonnegative and right.nonnegative):
        raise Mismatch(left, right, mixed_sign=True)
    return Int(
        left.unsigned or right.unsigned,
        min(left.lo, right.lo),
        max(left.hi, right.hi),
        left.seen and right.seen,
        left.exact and right.exact,
    )


def join(left: VariableType, right: VariableType) -> VariableType:
    """The least type that holds the values of both.

    Raises:
        Mismatch: there is none.
    """
    if left == right:
        return left
    match left, right:
        case (Int(), Int()):
            return join_ints(left, right)
        case (Bool(), Int()):
            return join_ints(BOOL_AS_INT, right)
        case (Int(), Bool()):
            return join_ints(left, BOOL_AS_INT)
        case (OptionalInt(of=one), OptionalInt(of=two)):
            return OptionalInt(join_ints(one, two))
        case (OptionalInt(of=one), Int()):
            return OptionalInt(join_ints(one, right))
        case (Int(), OptionalInt(of=two)):
            return OptionalInt(join_ints(left, two))
        case (NoneT(), Int() | OptionalInt() | Maybe()) | (Int() | OptionalInt() | Maybe(), NoneT()):
            other = right if isinstance(left, NoneT) else left
            return OptionalInt(other) if isinstance(other, Int) else other
        case (NoneT(), Ref() | Pointer()):
            return Maybe(right)
        case (Ref() | Pointer(), NoneT()):
            return Maybe(left)
        case (Kernel(of=one_type), Kernel(of=two_type)) if one_type is two_type:
            return Kernel(one_type)  # of which one is tracked and one is not
        case (Ref() | Pointer() | Maybe(), Ref() | Pointer() | Maybe()):
            one_of = left.of if isinstance(left, Maybe) else left
            two_of = right.of if isinstance(right, Maybe) else right
            of = _join_pointers(one_of, two_of)
            return Maybe(of) if isinstance(left, Maybe) or isinstance(right, Maybe) else of
    raise Mismatch(left, right)


_MIXABLE = frozenset({Origin.LOCAL, Origin.CALLER, Origin.MAP_VALUE, Origin.GLOBAL, Origin.MIXED})


def _join_pointers(left: Ref | Pointer, right: Ref | Pointer) -> Ref | Pointer:
    if left == right:
        return left
    if isinstance(left, Ref) and isinstance(right, Ref) and left.layout == right.layout:
        origin = left.origin
        if right.origin is not origin:
            if left.origin not in _MIXABLE or right.origin not in _MIXABLE:
                raise Mismatch(left, right, origins=True)
            origin = Origin.MIXED
        owner = left.owner if left.owner is right.owner else None
        return Ref(left.layout, origin, left.shared or right.shared, owner)
    raise Mismatch(left, right)


_STEPS = (
    *(0, 1, (1 << 7) - 1, (1 << 8) - 1, (1 << 15) - 1, (1 << 16) - 1, (1 << 23)),
    *((1 << 31) - 1, (1 << 32) - 1, (1 << 48) - 1, I64_MAX, U64_MAX),
)
_LOWER_STEPS = (0, -1, -(1 << 7), -(1 << 8), -(1 << 15), -(1 << 16), -(1 << 31), -(1 << 32), I64_MIN)


def widen(kind: VariableType) -> VariableType:
    """The type with its interval enlarged to the next of a few round bounds, so that fixpoints are reached soon."""
    match kind:
        case Int():
            top = U64_MAX if kind.unsigned else I64_MAX
            lo = next(step for step in _LOWER_STEPS if step <= kind.lo) if kind.lo < 0 else 0
            hi = min(top, next(step for step in _STEPS if step >= kind.hi)) if kind.hi >= 0 else -1
            return Int(kind.unsigned, lo, hi, kind.seen, kind.exact)
        case OptionalInt():
            widened = widen(kind.of)
            assert isinstance(widened, Int)
            return OptionalInt(widened)
        case _:
            return kind


def describe(kind: VariableType | None) -> str:
    """The type in the words of the language, for messages."""
    match kind:
        case None:
            return "unknown"
        case Int():
            return "int"
        case Maybe():
            return f"{describe(kind.of)} | None"
        case ContextPtr():
            return f"the context `{kind}`"
        case _:
            return str(kind)


def inert(found: Operand) -> bool:
    """Whether nothing is lost where an operand is not evaluated: it calls nothing, assigns nothing, cannot fail."""
    match found:
        case (
            Static()
            | MaybeVariable()
            | tree.GetLocal()
            | tree.IntConst()
            | tree.NullConst()
            | tree.ConstData()
        ):
            return True
        case tree.FieldOf(base=part) | tree.Read(ref=part):
            return inert(part)
        case tree.GlobalVar() | tree.ContextField():
            return True
        case Items(items=items):
            return all(inert(item) for item in items)
        case _:
            return False
