"""What annotations of parameters and variables mean: integer types wrap, structs are checked, contexts are contexts.

Annotations are resolved like any other name, so they mean the same with and without
``from __future__ import annotations``, and as strings.
"""

from __future__ import annotations

import ast

from pyebpf.codes import Code
from pyebpf.declare import ContextDecl, KernelTypeDecl, UserDecl, declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend.conversions import scalar_type, what_is
from pyebpf.frontend.flow import Variable
from pyebpf.frontend.kernel_types import declared_type, integer_layout
from pyebpf.frontend.scope import UNBOUND
from pyebpf.frontend.session import Context, Refused
from pyebpf.frontend.suggest import near
from pyebpf.frontend.types import BOOL, I64, ContextPtr, Kernel, Maybe, NoneT, Origin, Ref, User
from pyebpf.frontend.values import OptionalInt, VariableType, join
from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType, IntType, StructType
from pyebpf.records import dataclass


@dataclass(frozen=True, slots=True)
class Annotation:
    """What an annotation asks for. ``type`` is None where it leaves the type open (``int``, ``bytes``).

    ``layout`` is the integer type to which every assignment is cut.
    """

    type: VariableType | None
    layout: IntType | None = None


_OPEN = (int, bytes, object)


def read_annotation(context: Context, node: Any) -> Annotation:
    """The meaning of an annotation; refuses what has none in programs."""
    return _meaning(context, _resolve(context, node), context.span(node))


class _Union:
    def __init__(self, left: object, right: object) -> None:
        self.parts = (left, right)


def _resolve(context: Context, node: Any) -> object:
    """The Python object that an annotation names."""
    match type(node).__name__:
        case "Const" if node.value is None:
            return None
        case "Const" if isinstance(node.value, str):
            return _from_string(context, node.value, context.span(node))
        case "Name":
            return _named(context, node.name, context.span(node))
        case "Attribute":
            return _member(context, _resolve(context, node.expr), node.attrname, context.span(node))
        case "Subscript":
            base, inner = _resolve(context, node.value), _resolve(context, node.slice)
            return _parametrised(context, base, inner, context.span(node))
        case "BinOp" if node.op == "|":
            return _Union(_resolve(context, node.left), _resolve(context, node.right))
    raise _refuse(context, context.span(node))


def _from_string(context: Context, text: str, span: Span) -> object:
    def walk(node: ast.expr) -> object:
        match node:
            case ast.Constant(value=None):
                return None
            case ast.Name(id=name):
                return _named(context, name, span)
            case ast.Attribute(value=inner, attr=name):
                return _member(context, walk(inner), name, span)
            case ast.Subscript(value=inner, slice=index):
                return _parametrised(context, walk(inner), walk(index), span)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return _Union(walk(left), walk(right))
        raise _refuse(context, span)

    try:
        return walk(ast.parse(text, mode="eval").body)
    except SyntaxError:
        raise _refuse(context, span) from None


def _parametrised(context: Context, base: object, inner: object, span: Span) -> object:
    """``bpf.User[T]``."""
    if not isinstance(declaration_of(base), UserDecl):
        raise _refuse(context, span)
    layout = declaration_of(inner)
    if inner is bytes:
        return UserDecl(None)
    if not isinstance(layout, IntType | StructType | ArrayType | BytesType):
        raise _refuse(context, span, what_is(inner))
    return UserDecl(layout)


def _of_kernel(context: Context, decl: KernelTypeDecl, span: Span) -> Annotation:
    """A type of the kernel: of a struct an address, of a scalar typedef the integer."""
    found = declared_type(context, decl, span)
    layout = integer_layout(found)
    if layout is not None:
        return Annotation(scalar_type(layout), layout)
    return Annotation(Kernel(found))


def _named(context: Context, name: str, span: Span) -> object:
    found = context.scope.constant(name)
    if found is UNBOUND:
        raise context.refusal(
            Code.E0201, span, f"the name `{name}` is not defined", help=near(name, context.scope.names())
        )
    return found


def _member(context: Context, base: object, name: str, span: Span) -> object:
    try:
        return getattr(base, name)
    except AttributeError:
        owner = getattr(base, "__name__", type(base).__name__)
        raise context.refusal(
            Code.E0203, span, f"`{owner}` has no attribute `{name}`", help=near(name, dir(base))
        ) from None


def _meaning(context: Context, found: object, span: Span) -> Annotation:
    if isinstance(found, _Union):
        return _optional(context, found, span)
    if found is bool:
        return Annotation(BOOL)
    if found is None:
        return Annotation(NoneT())
    if isinstance(found, type) and found in _OPEN:
        return Annotation(None)
    declaration = found if isinstance(found, UserDecl) else declaration_of(found)
    match declaration:
        case IntType():
            return Annotation(scalar_type(declaration), declaration)
        case StructType() | ArrayType() | BytesType():
            return Annotation(Ref(declaration, Origin.LOCAL))
        case ContextDecl():
            return Annotation(ContextPtr(declaration))
        case KernelTypeDecl():
            return _of_kernel(context, declaration, span)
        case UserDecl(layout=layout):
            return Annotation(User(layout))
    raise _refuse(context, span, what_is(found))


def _optional(context: Context, found: _Union, span: Span) -> Annotation:
    parts = [p for p in found.parts if p is not None]
    if len(parts) != 1:
        raise _refuse(context, span, "a union of several types")
    inner = _meaning(context, parts[0], span)
    if isinstance(inner.type, Kernel | User):
        return inner  # any address may be null
    if inner.type is None:
        return Annotation(OptionalInt(I64)) if parts[0] is int else inner
    kind = join(inner.type, NoneT())
    assert isinstance(kind, Maybe | OptionalInt)
    return Annotation(kind)


def _refuse(context: Context, span: Span, what: str = "this") -> Refused:
    return context.refusal(
        Code.E0309,
        span,
        f"{what} is not a type of the language",
        help="use `int`, `bool`, `u8` … `u64`, `i8` … `i64`, a struct or a context",
    )


def parameter_annotations(definition: Any) -> list[Any]:
    """The annotations of the parameters that can be given by position; None where there is none."""
    return [*definition.args.posonlyargs_annotations, *definition.args.annotations]


def annotate_variables(context: Context) -> None:
    """Give the function's annotated variables and parameters their types; all annotations of one must agree."""
    work = list(reversed(context.instance.scope.node.body))
    seen = _annotated_parameters(context)
    while work:
        node = work.pop()
        kind = type(node).__name__
        if kind == "AnnAssign" and type(node.target).__name__ == "AssignName":
            variable = context.scope.variables.get(node.target.name)
            if variable is not None:
                _annotate(context, variable, read_annotation(context, node.annotation), node, seen)
        if kind not in ("FunctionDef", "Lambda", "ClassDef"):
            work.extend(reversed(list(node.get_children())))


def _annotated_parameters(context: Context) -> dict[Variable, Annotation]:
    """The annotations of parameters hold for every assignment to them, as those of other variables do."""
    definition = context.instance.scope.node
    parameters = [*definition.args.posonlyargs, *(definition.args.args or ())]
    seen: dict[Variable, Annotation] = {}
    for parameter, node in zip(parameters, parameter_annotations(definition), strict=True):
        variable = context.scope.variables.get(parameter.name)
        if variable is None or node is None:
            continue
        found = read_annotation(context, node)
        if not isinstance(found.type, ContextPtr | NoneT | None):
            seen[variable] = found
            variable.annotation, variable.wrap = found.type, found.layout
    return seen


def _annotate(
    context: Context, variable: Variable, found: Annotation, node: Any, seen: dict[Variable, Annotation]
) -> None:
    if variable in seen and seen[variable] != found:
        raise context.refusal(
            Code.E0309, node.annotation, f"`{variable.name}` is annotated with another type elsewhere"
        )
    seen[variable] = found
    if isinstance(found.type, ContextPtr | NoneT):
        raise context.refusal(Code.E0309, node.annotation, "a variable cannot have this type")
    variable.annotation, variable.wrap = found.type, found.layout
