"""The expression dispatcher, and the simplest expressions: constants, names, tuples.

``operand`` is the only way to look at an expression: it marks the node as seen and calls the handler registered
for its class; a class without a handler is refused. ``value`` gives a tree node.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.codes import Code
from pyebpf.diagnostics import Label, Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.flow import Fate, Knowledge, Variable
from pyebpf.frontend.packets import note_view
from pyebpf.frontend.scope import UNBOUND, NestedFunction
from pyebpf.frontend.session import Context, Poisoned, Refused
from pyebpf.frontend.suggest import near
from pyebpf.frontend.types import NONE, NoneT
from pyebpf.frontend.values import Caught, Items, MaybeVariable, Operand, OptionalInt, Static
from pyebpf.hints import Any
from pyebpf.records import replace

Handler = Callable[[Context, Any], Operand]


_HANDLERS: dict[str, Handler] = {}


def expression(name: str) -> Callable[[Handler], Handler]:
    """Register the handler of an astroid class."""

    def register(handler: Handler) -> Handler:
        _HANDLERS[name] = handler
        return handler

    return register


CONSTRUCTS = {
    "ListComp": ("a list comprehension", "write a `for` loop"),
    "SetComp": ("a set comprehension", "write a `for` loop"),
    "DictComp": ("a dict comprehension", "write a `for` loop"),
    "GeneratorExp": ("a generator expression", "write a `for` loop"),
    "Lambda": ("a lambda", "define a function with `def`"),
    "List": ("a list", "use `bpf.array(T, n)`, or a tuple for constants"),
    "Dict": ("a dict", "use a map"),
    "Set": ("a set", "use a map, or a tuple for constants"),
    "Await": ("`await`", ""),
    "Yield": ("`yield`", ""),
    "YieldFrom": ("`yield from`", ""),
    "Starred": ("`*` unpacking", ""),
    "Slice": ("a slice", ""),
    "AsyncFor": ("`async for`", ""),
    "AsyncWith": ("`async with`", ""),
    "AsyncFunctionDef": ("`async def`", ""),
    "ClassDef": ("a class", "define structs outside of the program"),
    "Import": ("`import`", "import modules outside of the program"),
    "ImportFrom": ("`import`", "import modules outside of the program"),
    "Global": ("`global`", "use `bpf.Global[T]` and its `.value`"),
    "TryStar": ("`except*`", "use `except`"),
    "DelName": ("`del` of a variable", "variables end with the function"),
    "DelAttr": ("`del` of a field", ""),
    "TypeAlias": ("`type`", ""),
    "JoinedStr": ("an f-string", 'f-strings can be printed: `print(f"…")`'),
}
"""What astroid's classes are called by people, and what to write instead, where there is something."""


def refuse_construct(context: Context, node: Any, *, where: str = "") -> Refused:
    """Refuse a syntax node as a whole (E0101)."""
    words, instead = CONSTRUCTS.get(type(node).__name__, (f"`{type(node).__name__}`", ""))
    return context.refusal(Code.E0101, node, f"{words} cannot be compiled{where}", help=instead or ())


def operand(context: Context, node: Any) -> Operand:
    """What an expression stands for."""
    context.coverage.mark(node)
    handler = _HANDLERS.get(type(node).__name__)
    if handler is None:
        raise refuse_construct(context, node)
    return handler(context, node)


def value(context: Context, node: Any) -> tree.Expr:
    """An expression as a tree node."""
    return conversions.runtime(context, operand(context, node))


def integer(context: Context, node: Any, what: str = "an integer") -> tree.Expr:
    """An expression as an ``Int`` node."""
    return conversions.integer(context, operand(context, node), what)


FOLDABLE = (int, float, bytes, str, tuple, type(None))


def fold(context: Context, span: Span, compute: Callable[[], object]) -> Static:
    """The result of a constant expression, computed by Python itself."""
    try:
        return Static(compute(), span)
    except Exception as error:
        raise context.refusal(
            Code.E0205,
            span,
            f"this constant expression raises {type(error).__name__}: {error}",
            notes=["constant expressions are computed by Python while compiling"],
        ) from None


def _foldable(found: Operand) -> bool:
    return isinstance(found, Static) and isinstance(found.value, FOLDABLE)


@expression("Const")
def _const(context: Context, node: Any) -> Operand:
    return Static(node.value, context.span(node))


@expression("Name")
def _name(context: Context, node: Any) -> Operand:
    span = context.span(node)
    variable = context.scope.variable(node.name)
    if variable is not None:
        return read_variable(context, variable, span)
    found = context.scope.constant(node.name)
    if found is UNBOUND:
        raise context.refusal(
            Code.E0201,
            span,
            f"the name `{node.name}` is not defined",
            help=near(node.name, context.scope.names()),
        )
    if isinstance(found, NestedFunction):
        knowledge_of(context, found.variable, span)
    return Static(found, span)


@expression("Tuple")
def _tuple(context: Context, node: Any) -> Operand:
    parts = [operand(context, child) for child in node.elts]
    span = context.span(node)
    if all(_foldable(part) for part in parts):
        return Static(tuple(part.value for part in parts if isinstance(part, Static)), span)
    return Items(tuple(parts), span)


def read_variable(context: Context, variable: Variable, span: Span) -> Operand:
    """The value of a variable at this point."""
    knowledge = knowledge_of(context, variable, span)
    if variable in context.errno_of:
        errno, has_errno = context.errno_of[variable]
        return Static(Caught(errno, has_errno), span)
    if not context.scope.owns(variable):
        capture(context, variable)
    match knowledge.type:
        case OptionalInt():
            return MaybeVariable(variable, span)
        case NoneT():
            return Static(None, span)
        case kind:
            found = tree.GetLocal(local=variable.local, type=kind, span=span)
            note_view(context, found)
            return found


def capture(context: Context, variable: Variable, *, writes: bool = False) -> None:
    """Note that a nested function uses a variable of an enclosing one, which then has to live in memory."""
    inner: Context | None = context
    while inner is not None and not inner.scope.owns(variable):
        if variable not in inner.scope.captured:
            inner.scope.captured.append(variable)
        if writes:
            inner.scope.written.add(variable.name)
        inner = inner.parent
    if not variable.local.boxed:
        variable.local.boxed = True
        context.note_change(variable)


_FATES = {
    Fate.PACKET_CHANGED: (
        Code.E0704,
        "`{}` points into the packet, which has been changed since",
        "the packet is changed here",
        "after the change the same offset may hold another byte, and the kernel forgets what was checked",
        "read the packet again after the change",
    ),
    Fate.ITERATION_OVER: (
        Code.E0503,
        "`{}` refers to a value that was built in an earlier iteration of the loop",
        "the loop",
        "each iteration builds the value in the same place",
        "keep a copy that was made before the loop, or copy the fields that you need",
    ),
    Fate.SUBMITTED: (
        Code.E0503,
        "`{}` refers to a ring buffer record that has been submitted",
        "the record lives as long as this block",
        "after the block the record belongs to user space",
        "use it inside the `with` block",
    ),
    Fate.RELEASED: (
        Code.E0809,
        "`{}` has been released",
        "it was released here",
        "a kernel object may be gone once the program has released it",
        "release it after its last use",
    ),
}


def knowledge_of(context: Context, variable: Variable, span: Span) -> Knowledge:
    """What is known of a variable that is about to be read; refuses the reading where it may not be."""
    if context.state is None:
        raise context.bug("expression in unreachable code", span)
    knowledge = context.state.known.get(variable)
    if knowledge is not None and knowledge.poisoned:
        raise Poisoned
    if knowledge is None or not knowledge.bound:
        words = "is not assigned" if knowledge is None else "may be unbound"
        _report_once(context, variable, knowledge)
        raise context.refusal(
            Code.E0202,
            span,
            f"`{variable.name}` {words} here",
            labels=[Label(variable.span, "it is assigned here")] if variable.span != span else [],
            notes=["a name that is assigned anywhere in a function is local to it, and has no value before"],
            help="assign it on every path that leads here",
        )
    if knowledge.fate is not None and knowledge.fate_span is not None:
        code, message, label, note, help_ = _FATES[knowledge.fate]
        _report_once(context, variable, knowledge)
        raise context.refusal(
            code,
            span,
            message.format(variable.name),
            labels=[Label(knowledge.fate_span, label)] if knowledge.fate_span != span else [],
            notes=[note],
            help=help_,
        )
    return knowledge


def _report_once(context: Context, variable: Variable, knowledge: Knowledge | None) -> None:
    """What is wrong with a variable is said at its first use; later uses follow from the same mistake."""
    assert context.state is not None
    known = knowledge or Knowledge(variable.declared or NONE)
    context.state.known[variable] = replace(known, bound=True, poisoned=True)


def variable_of(context: Context, expr: tree.Expr) -> Variable | None:
    """The variable that an expression reads or has just assigned."""
    if not isinstance(expr, tree.GetLocal | tree.Bind) or context.state is None:
        return None
    return next((v for v in context.state.known if v.local is expr.local), None)


def static_attribute(context: Context, found: Static, name: str, span: Span) -> Operand:
    """An attribute of a Python object, read while compiling."""
    try:
        return Static(getattr(found.value, name), span)
    except AttributeError as error:
        if name in dir(found.value):
            raise _attribute_fails(context, name, error, span) from None
        owner = getattr(found.value, "__name__", type(found.value).__name__)
        raise context.refusal(
            Code.E0203,
            span,
            f"`{owner}` has no attribute `{name}`",
            help=near(name, dir(found.value)),
        ) from None
    except Exception as error:
        raise _attribute_fails(context, name, error, span) from None


def _attribute_fails(context: Context, name: str, error: Exception, span: Span) -> Refused:
    return context.refusal(
        Code.E0205,
        span,
        f"reading `{name}` raises {type(error).__name__}: {error}",
        notes=["attributes of Python objects are read by Python while compiling"],
    )
