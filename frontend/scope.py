"""Which names a function binds, and what a name means that it does not bind.

As in Python, a name that is assigned anywhere in a function is local to it everywhere. Other names are looked up
in the enclosing functions being compiled, the closure's cells, the module and the builtins, with their values at
the time of compiling.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Iterator

from pyebpf.frontend import tree
from pyebpf.frontend.flow import Variable
from pyebpf.frontend.parse import Source
from pyebpf.frontend.types import NONE
from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.records import dataclass, field

if TYPE_CHECKING:
    from astroid import nodes


@dataclass(eq=False, slots=True)
class NestedFunction:
    """A function defined inside the function being compiled: a callback or a helper of its own.

    ``variable`` stands for its name in states: bound once its ``def`` has been run.
    """

    node: nodes.FunctionDef
    scope: Scope  # of the enclosing function
    source: Source
    variable: Variable

    @property
    def __name__(self) -> str:
        return str(self.node.name)


class Unbound:
    """The result of a look-up that found nothing."""


UNBOUND = Unbound()


@dataclass(eq=False, slots=True)
class Scope:
    """The names of one function. ``function`` is the outermost Python function, whose closure and module count."""

    function: types.FunctionType
    node: nodes.FunctionDef
    parent: Scope | None = None
    variables: dict[str, Variable] = field(default_factory=dict)
    nested: dict[str, NestedFunction] = field(default_factory=dict)
    captured: list[Variable] = field(default_factory=list)
    written: set[str] = field(default_factory=set)  # names of the captured ones that it assigns

    def variable(self, name: str) -> Variable | None:
        """The variable that ``name`` means here, of this function or of an enclosing one."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.variables.get(name)
            if found is not None:
                return found
            if name in scope.nested:
                return None
            scope = scope.parent
        return None

    def owns(self, variable: Variable) -> bool:
        """Whether it is this function's own."""
        return self.variables.get(variable.name) is variable

    def constant(self, name: str) -> object:
        """The Python object that a name means which is no variable; ``UNBOUND`` if there is none."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.nested:
                return scope.nested[name]
            scope = scope.parent
        closure = self.function.__closure__ or ()
        for free, cell in zip(self.function.__code__.co_freevars, closure, strict=True):
            if free == name:
                try:
                    return cell.cell_contents
                except ValueError:
                    return UNBOUND
        if name in self.function.__globals__:
            return self.function.__globals__[name]
        return getattr(builtins, name, UNBOUND)

    def names(self) -> Iterator[str]:
        """Every name that means something here, for suggestions; the user's own come first."""
        scope: Scope | None = self
        while scope is not None:
            yield from scope.variables
            yield from scope.nested
            scope = scope.parent
        yield from self.function.__code__.co_freevars
        yield from self.function.__globals__
        yield from dir(builtins)


def bind_names(scope: Scope, source: Source) -> None:
    """Fill ``scope`` with the names that its function binds (parameters too)."""
    outer = {name for name in _declared(scope.node, "Nonlocal") if _belongs_to_parent(scope, name)}
    for found in _bindings(scope.node):
        if type(found).__name__ == "FunctionDef":
            span = source.name_span(found)
            name = Variable(found.name, span, tree.Local(found.name, NONE, span))
            scope.nested.setdefault(found.name, NestedFunction(found, scope, source, name))
        elif found.name not in scope.variables and found.name not in outer:
            span = source.span(found)
            scope.variables[found.name] = Variable(found.name, span, tree.Local(found.name, NONE, span))


def _bindings(function: nodes.FunctionDef) -> Iterator[Any]:
    """The nodes that bind a name, in source order, without those of nested functions."""
    arguments = function.args
    yield from (*arguments.posonlyargs, *(arguments.args or ()), *arguments.kwonlyargs)
    work: list[Any] = list(reversed(function.body))
    while work:
        node = work.pop()
        kind = type(node).__name__
        if kind in ("AssignName", "FunctionDef"):
            yield node
        if kind not in _OWN_SCOPE:
            work.extend(reversed(list(node.get_children())))


_OWN_SCOPE = frozenset(
    {
        "FunctionDef",
        "AsyncFunctionDef",
        "ClassDef",
        "Lambda",
        "ListComp",
        "SetComp",
        "DictComp",
        "GeneratorExp",
    }
)


def _belongs_to_parent(scope: Scope, name: str) -> bool:
    return scope.parent is not None and scope.parent.variable(name) is not None


def _declared(function: nodes.FunctionDef, statement: str) -> set[str]:
    """The names in the function's statements of a class."""
    names: set[str] = set()
    work: list[Any] = list(function.body)
    while work:
        node = work.pop()
        if type(node).__name__ == statement:
            names.update(node.names)
        elif type(node).__name__ not in _OWN_SCOPE:
            work.extend(node.get_children())
    return names
