"""The typed tree as text, for people: one node per line or, where it is short, nested in one line.

Made from the dataclasses themselves, so that a new node prints without a word here: the class, then its fields that
are not nodes, then its children.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf import enums
from pyebpf.declare import GlobalDecl, MapDecl
from pyebpf.frontend import tree
from pyebpf.layout import ArrayType, BytesType, Field, IntType, StructType
from pyebpf.records import fields, is_dataclass
from pyebpf.uapi.contexts import ContextField
from pyebpf.uapi.helpers import Helper

_WIDTH = 100
_HIDDEN = frozenset({"span", "type", "label", "known"})


def print_unit(unit: tree.Unit) -> str:
    """All functions of ``unit``, programs first."""
    functions = dict.fromkeys([*unit.programs, *unit.functions])
    return "\n\n".join(_function(f) for f in functions)


def _function(function: tree.Function) -> str:
    params = ", ".join(f"{p.name}: {p.type}" for p in function.params)
    head = f"{function.kind.value} {function.name}({params}) -> {function.result}"
    if function.captures:
        head += f" captures {', '.join(c.name for c in function.captures)}"
    if function.raises:
        head += f" raises {', '.join(sorted(e.name for e in function.raises))}"
    if function.scratch:
        head += " scratch"
    return "\n".join([f"{head}  # {function.span}", *_body(function.body, 1)])


def _body(body: tree.Body, depth: int) -> Iterator[str]:
    for statement in body:
        yield from _node(statement, depth, f"{statement.span.line}: ")


def _node(node: object, depth: int, prefix: str) -> Iterator[str]:
    short = _short(node)
    indent = "  " * depth
    if short is not None and len(indent) + len(prefix) + len(short) <= _WIDTH:
        yield f"{indent}{prefix}{short}"
        return
    assert is_dataclass(node)
    plain = [f"{name}={_short(value)}" for name, value in _members(node) if not _is_child(value)]
    yield f"{indent}{prefix}{type(node).__name__}({', '.join(plain)}){_type(node)}"
    for name, value in _members(node):
        if not _is_child(value):
            continue
        if not isinstance(value, tuple):
            yield from _node(value, depth + 1, f"{name} = ")
            continue
        if value:
            yield f"{indent}  {name}:"
        for item in value:
            yield from _node(item, depth + 2, f"{item.span.line}: " if isinstance(item, tree.Node) else "")


def _members(node: object) -> list[tuple[str, object]]:
    assert is_dataclass(node)
    found = [(f.name, getattr(node, f.name)) for f in fields(node) if f.name not in _HIDDEN]
    return [(name, value) for name, value in found if value is not None]


def _is_child(value: object) -> bool:
    if isinstance(value, tuple):
        return any(_is_child(item) for item in value)
    return isinstance(value, tree.Node) and not isinstance(value, tree.Function)


def _type(node: object) -> str:
    of = getattr(node, "type", None)
    return f": {of}" if of is not None else ""


def _short(node: object) -> str | None:
    """The whole of ``node`` in one line, or ``None`` if it has statements inside."""
    match node:
        case tree.Function(name=name):
            return f"@{name}"
        case tree.IntConst(value=value):
            return str(value)
        case tree.GetLocal(local=local):
            return local.name
        case tree.Local(name=name):
            return name
        case MapDecl(name=name) | GlobalDecl(name=name):
            return str(name)
        case IntType() | BytesType() | ArrayType() | StructType():
            return node.name
        case Field(name=name) | ContextField(name=name) | Helper(name=name):
            return name
        case enums.Enum():
            return node.name
        case tuple():
            parts = [_short(item) for item in node]
            return None if None in parts else f"({', '.join(p for p in parts if p is not None)})"
        case tree.Node():
            if any(
                isinstance(v, tuple) and any(isinstance(i, tree.Stmt) for i in v) for _, v in _members(node)
            ):
                return None
            parts = [_short(value) for _, value in _members(node)]
            if None in parts:
                return None
            return f"{type(node).__name__}({', '.join(p for p in parts if p is not None)}){_type(node)}"
        case _:
            return repr(node)
