"""Which constructs of the language a program contains, measured from its source and its typed tree.

``CONSTRUCTS`` is the list of all of them. The source says what was written (operators, statements, patterns, methods), the
tree what the compiler made of it (kinds of nodes, widths, map types); the generator is not asked.
"""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterable, Iterator

from pyebpf.frontend import tree
from pyebpf.frontend.types import Int, Ref
from pyebpf.layout import ArrayType, BytesType, IntType, Order
from pyebpf.uapi.constants import MapType
from tests.differential.cpython.vocabulary import INTEGERS, ORDERED

PREPARED = frozenset({"accumulate", "stop_early", "gather", "search", "touch"})
"""Functions that every generated module has, whether it uses them or not."""
OF_TRACING = {
    tree.AddressAs,
    tree.CoreFact,
    tree.EventData,
    tree.FarCopy,
    tree.KernelElement,
    tree.KernelMember,
    tree.KernelRead,
    tree.KernelSetting,
    tree.SyscallRegisters,
    tree.SyscallArgument,
    tree.UsdtArgument,
    tree.UsdtCookie,
    tree.UsdtRecord,
    tree.UserMember,
    tree.UserRead,
}
"""What the kernel and other processes have in memory is not the same on all machines: never in generated programs."""
NODE_KINDS = tuple(
    k.__name__ for k in (*typing.get_args(tree.Expr), *typing.get_args(tree.Stmt)) if k not in OF_TRACING
)
MAPS = {
    MapType.ARRAY: "ArrayMap",
    MapType.HASH: "HashMap",
    MapType.LRU_HASH: "LruHashMap",
    MapType.PERCPU_ARRAY: "PerCpuArray",
    MapType.PERCPU_HASH: "PerCpuHash",
    MapType.LPM_TRIE: "LpmTrie",
    MapType.QUEUE: "Queue",
    MapType.STACK: "Stack",
    MapType.RINGBUF: "RingBuf",
}
_MAP_NODES = (tree.MapLookup, tree.MapUpdate, tree.MapDelete, tree.MapPush, tree.MapPop, tree.RingOutput)
OPERATORS = ("Add", "Sub", "Mult", "FloorDiv", "Mod", "BitAnd", "BitOr", "BitXor", "LShift", "RShift")
AUGMENTED = ("Add", "Sub", "BitAnd", "BitOr", "BitXor")
COMPARISONS = ("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE", "In", "NotIn", "Is", "IsNot")
STATEMENTS: tuple[str, ...] = (
    "AnnAssign",
    "Assert",
    "Assign",
    "AugAssign",
    "Break",
    "Continue",
    "Delete",
    "For",
    "If",
    "Match",
)
STATEMENTS += ("Nonlocal", "Pass", "Raise", "Return", "Try", "While", "With")
EXPRESSIONS = ("Attribute", "BoolOp", "Call", "IfExp", "NamedExpr", "Slice", "Subscript", "Tuple")
PATTERNS = ("MatchAs", "MatchOr", "MatchValue")
METHODS: tuple[str, ...] = (
    "get",
    "update",
    "delete",
    "push",
    "pop",
    "peek",
    "output",
    "reserve",
    "startswith",
)
METHODS += ("read", "load", "load_bytes", "store", "adjust_head", "adjust_tail")
FUNCTIONS: tuple[str, ...] = (
    "abs",
    "bool",
    "int",
    "len",
    "max",
    "min",
    "print",
    "bpf.checked",
    "bpf.copy",
    "bpf.for_each_map_elem",
    "bpf.loop",
    "bpf.sizeof",
)
FUNCTIONS += (
    "bpf.array",
    "bpf.chars",
    "bpf.log2",
    "bpf.htons",
    "bpf.htonl",
    "bpf.htonll",
    "bpf.ntohs",
    "bpf.ntohl",
    "bpf.snprintf",
)
STYLES = ("function", "noinline", "inline", "global_function", "socket_filter", "tc", "xdp")
ENTRIES = {"bpf.socket_filter", "bpf.tc", "bpf.xdp"}
EXCEPTIONS: tuple[str, ...] = (
    "AssertionError",
    "Exception",
    "IndexError",
    "KeyError",
    "LookupError",
    "OSError",
    "ValueError",
)
EXCEPTIONS += ("ArithmeticError", "ZeroDivisionError")
SHAPES = (
    "chained comparison",
    "comparison of signed with unsigned",
    "loop else",
    "try else",
    "finally",
    "raise again",
    "except: of everything",
    "except … as e",
    "match guard",
    "case _",
    "elif",
    "for over a range with steps",
    "for over constants",
    "for over elements",
    "negative index",
    "keyword argument",
    "default argument",
    "function without decorator",
    "nested function",
    "function made by a function",
    "tuple unpacking",
    "store to be16, be32 or be64",
    "atomic update",
    "plain update in memory",
    "array of structs",
    "nested struct",
    "packed struct",
    "union",
    "struct in a map",
    "struct as a key",
    "optional value",
    "division that may fail",
    "index that may be outside",
    "missing key raises",
    "missing key inserts",
    "Const",
    "Global",
    "enum member",
    "context array element",
    "default verdict",
    "slice x[a:b]",
    "slice x[:b]",
    "slice x[a:]",
)
CONSTRUCTS: tuple[str, ...] = (
    *(f"tree {name}" for name in NODE_KINDS),
    *(f"operator {name}" for name in OPERATORS),
    *(
        f"operator {name} on {kind}"
        for name in ("ADD", "SUB", "MUL", "FLOORDIV", "MOD", "SHL", "SHR")
        for kind in ("i64", "u64")
    ),
    *(f"augmented {name}" for name in AUGMENTED),
    *(f"comparison {name}" for name in COMPARISONS),
    *(f"unary {name}" for name in ("Invert", "Not", "UAdd", "USub")),
    *(f"logic {name}" for name in ("And", "Or")),
    *(f"statement {name}" for name in STATEMENTS),
    *(f"expression {name}" for name in EXPRESSIONS),
    *(f"pattern {name}" for name in PATTERNS),
    *(f"method {name}" for name in METHODS),
    *(f"call {name}" for name in (*FUNCTIONS, *INTEGERS)),
    *(f"place {name}" for name in (*INTEGERS, *ORDERED, "bytes")),
    *(f"map {name}" for name in MAPS.values()),
    *(f"decorator {name}" for name in STYLES),
    *(f"except {name}" for name in EXCEPTIONS),
    *SHAPES,
)


def constructs_of(source: str, nodes: Iterable[tree.Node]) -> frozenset[str]:
    """The names in ``CONSTRUCTS`` (and others) of what a program contains."""
    found: set[str] = set()
    for node in nodes:
        found.update(_of_tree(node))
    module = ast.parse(source)
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef):
            _of_function(statement, found)
    return frozenset(found)


# ---------------------------------------------------------------- the typed tree


def _place(layout: object) -> Iterator[str]:
    match layout:
        case IntType(order=Order.NATIVE):
            yield f"place {'i' if layout.signed else 'u'}{layout.bits}"
        case IntType():
            yield f"place {'be' if layout.order is Order.BIG else 'le'}{layout.bits}"
        case BytesType():
            yield "place bytes"
        case _:
            pass


def _of_tree(node: tree.Node) -> Iterator[str]:
    yield f"tree {type(node).__name__}"
    match node:
        case tree.Arith(op=op, type=of):
            yield f"operator {op.name} on {'u64' if of.unsigned else 'i64'}"
            if node.may_be_zero:
                yield "division that may fail"
        case tree.Compare(left=left, right=right):
            kinds = {side.type.unsigned for side in (left, right) if isinstance(side.type, Int)}
            if len(kinds) == 2:
                yield "comparison of signed with unsigned"
        case tree.Read(ref=ref) | tree.StoreTo(ref=ref) if isinstance(ref.type, Ref):
            yield from _place(ref.type.layout)
            layout = ref.type.layout
            if isinstance(node, tree.StoreTo) and isinstance(layout, IntType) and layout.order is Order.BIG:
                yield "store to be16, be32 or be64"
        case tree.UpdateTo(atomic=atomic):
            yield "atomic update" if atomic else "plain update in memory"
        case tree.FieldOf(base=base, field=field):
            if isinstance(base, tree.FieldOf | tree.ElementOf):
                yield "nested struct"
            if isinstance(base.type, Ref) and isinstance(base.type.layout, BytesType | ArrayType):
                yield "array of structs"
            yield from _place(field.layout)
        case tree.ElementOf(base=base, checked=checked):
            if checked:
                yield "index that may be outside"
            if isinstance(base.type, Ref) and isinstance(base.type.layout, ArrayType):
                yield from _place(base.type.layout.element)
                if not isinstance(base.type.layout.element, IntType):
                    yield "array of structs"
        case tree.EqualBytes() | tree.LengthOfBytes():
            yield "place bytes"
        case tree.ForConstants():
            yield "for over constants"
        case tree.GlobalVar(decl=decl):
            yield "Const" if decl.constant else "Global"
        case tree.IsNone():
            yield "optional value"
        case tree.ContextField(row=row) if row.length:
            yield "context array element"
        case tree.Reserve(map=decl):
            yield f"map {MAPS[decl.type]}"
        case _ if isinstance(node, _MAP_NODES):
            yield from _of_map(node)
        case _:
            pass


def _of_map(
    node: tree.MapLookup | tree.MapUpdate | tree.MapDelete | tree.MapPush | tree.MapPop | tree.RingOutput,
) -> Iterator[str]:
    yield f"map {MAPS[node.map.type]}"
    if node.map.value is not None and not isinstance(node.map.value, IntType):
        yield "struct in a map"
    if node.map.key is not None and not isinstance(node.map.key, IntType):
        yield "struct as a key"
    if isinstance(node, tree.MapLookup):
        match node.missing:
            case tree.Missing.RAISE:
                yield "missing key raises"
            case tree.Missing.INSERT:
                yield "missing key inserts"
            case tree.Missing.NULL:
                yield "optional value"


# ---------------------------------------------------------------- the source


def _of_function(function: ast.FunctionDef, found: set[str]) -> None:
    decorators = [ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in function.decorator_list]
    found.update(f"decorator {name.removeprefix('bpf.')}" for name in decorators)
    if set(decorators) & ENTRIES and not any(
        isinstance(d, ast.Call) and d.keywords for d in function.decorator_list
    ):
        found.add("default verdict")
    if not decorators and function.name not in PREPARED:
        found.add("function without decorator")
    if function.args.defaults:
        found.add("default argument")
    for statement in function.body:
        for node in ast.walk(statement):
            found.update(_of_source(node))
            if isinstance(node, ast.FunctionDef) and node.decorator_list:
                found.add("function made by a function")


def _of_source(node: ast.AST) -> Iterator[str]:
    name = type(node).__name__
    if isinstance(node, ast.stmt):
        yield f"statement {name}"
    elif isinstance(node, ast.expr):
        yield f"expression {name}"
    elif isinstance(node, ast.pattern):
        yield f"pattern {name}"
    match node:
        case ast.BinOp(op=op):
            yield f"operator {type(op).__name__}"
        case ast.AugAssign(op=op):
            yield f"augmented {type(op).__name__}"
        case ast.UnaryOp(op=op):
            yield f"unary {type(op).__name__}"
        case ast.BoolOp(op=logic):
            yield f"logic {type(logic).__name__}"
        case ast.Compare(ops=ops):
            yield from (f"comparison {type(op).__name__}" for op in ops)
            if len(ops) > 1:
                yield "chained comparison"
        case ast.Call():
            yield from _of_call(node)
        case ast.Subscript(slice=ast.UnaryOp(op=ast.USub())):
            yield "negative index"
        case ast.Slice(lower=lower, upper=upper):
            yield f"slice x[{'a' if lower else ''}:{'b' if upper else ''}]"
        case ast.FunctionDef():
            yield "nested function"
        case ast.Attribute(value=ast.Name(id="Color")):
            yield "enum member"
        case ast.Assign(targets=[ast.Tuple()]):
            yield "tuple unpacking"
        case ast.Raise(exc=None):
            yield "raise again"
        case ast.If(orelse=[ast.If()]):
            yield "elif"
        case ast.ExceptHandler():
            yield from _of_handler(node)
        case ast.Try():
            if node.orelse:
                yield "try else"
            if node.finalbody:
                yield "finally"
        case ast.match_case(pattern=pattern, guard=guard):
            if guard is not None:
                yield "match guard"
            if isinstance(pattern, ast.MatchAs) and pattern.name is None:
                yield "case _"
        case ast.For() | ast.While():
            yield from _of_loop(node)
        case _:
            pass


def _of_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    yield f"call {name}"
    if isinstance(node.func, ast.Attribute):
        yield f"method {node.func.attr}"
    if name == "Packed" or (node.args and ast.unparse(node.args[0]) == "Packed"):
        yield "packed struct"
    if name == "Either" or (node.args and ast.unparse(node.args[0]) == "Either"):
        yield "union"
    if node.keywords and not name[0].isupper():
        yield "keyword argument"


def _of_handler(node: ast.ExceptHandler) -> Iterator[str]:
    if node.type is None:
        yield "except: of everything"
        return
    if node.name:
        yield "except … as e"
    for part in node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]:
        yield f"except {ast.unparse(part)}"


def _of_loop(node: ast.For | ast.While) -> Iterator[str]:
    if node.orelse:
        yield "loop else"
    if isinstance(node, ast.For):
        over = node.iter
        is_range = isinstance(over, ast.Call) and isinstance(over.func, ast.Name) and over.func.id == "range"
        if isinstance(over, ast.Call) and is_range:
            if len(over.args) == 3:
                yield "for over a range with steps"
        elif isinstance(over, ast.Attribute | ast.Subscript) or (
            isinstance(over, ast.Name) and not over.id.isupper()
        ):
            yield "for over elements"
