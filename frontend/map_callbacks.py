"""``bpf.for_each_map_elem(map, callback, state, flags)``: a callback for each element of a map.

The callback takes what the kernel passes: the map, the key, the value and the state. Keys and values of integer
types are integers in it, read when it is called; others are references, the key's to memory that cannot be written.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyebpf.codes import Code
from pyebpf.declare import MapDecl, declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.callbacks import callback_function, refuse_packet_captures, scope_of
from pyebpf.frontend.exceptions import python_name
from pyebpf.frontend.instances import analyse, make_instance, parameters_of
from pyebpf.frontend.maps import value_type
from pyebpf.frontend.packets import packet_changed
from pyebpf.frontend.session import Context, Instance, Poisoned
from pyebpf.frontend.types import Bool, Handle, Int, Maybe, NoneT, Origin, Pointer, Ref
from pyebpf.frontend.values import Operand, Static, VariableType
from pyebpf.hints import Any
from pyebpf.layout import IntType, Layout
from pyebpf.uapi.constants import MapType

_WALKED = frozenset(
    {
        MapType.HASH,
        MapType.LRU_HASH,
        MapType.PERCPU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.ARRAY,
        MapType.PERCPU_ARRAY,
    }
)


def arguments_of(
    context: Context, values: Sequence[Operand], places: Sequence[Span], span: Span
) -> list[tree.Expr]:
    """The four arguments of ``for_each_map_elem``."""
    found, callback, state, flags = values
    declaration = declaration_of(found.value) if isinstance(found, Static) else None
    if not isinstance(declaration, MapDecl) or declaration.type not in _WALKED:
        raise context.refusal(
            Code.E0806, places[0], "`for_each_map_elem` walks hash maps and arrays", help="pass one of these"
        )
    state_expr = _state(context, state, places[2])
    instance = _instance(context, declaration, callback, state_expr, places[1])
    return [
        tree.MapHandle(map=context.use_map(declaration), span=places[0]),
        tree.FunctionHandle(function=instance.function, span=places[1]),
        state_expr,
        conversions.integer(context, flags, "an integer for the flags"),
    ]


def _state(context: Context, found: Operand, place: Span) -> tree.Expr:
    if isinstance(found, Static) and found.value is None:
        return tree.NullConst(type=Maybe(Pointer(Handle.MEMORY)), span=place)
    expr = conversions.runtime(context, found)
    if not isinstance(expr.type, Ref) or expr.type.origin not in (Origin.LOCAL, Origin.CALLER):
        raise context.refusal(
            Code.E0906,
            place,
            "the state of a callback must be a struct, an array or bytes of this function",
            notes=["the kernel passes on a pointer to the stack, or nothing"],
        )
    return expr


def _instance(
    context: Context, declaration: MapDecl, callback: Operand, state: tree.Expr, place: Span
) -> Instance:
    function = callback_function(context, callback, place)
    scope, source = scope_of(context, function, place)
    definition = scope.node
    parameters = parameters_of(definition)
    if len(parameters) != 4:
        raise context.refusal(
            Code.E0906,
            place,
            f"`{definition.name}` must take 4 parameters: the map, the key, the value and the state",
        )
    assert declaration.key is not None and declaration.value is not None
    kinds: list[VariableType] = [
        Pointer(Handle.KERNEL),
        Ref(declaration.key, Origin.CONSTANT),
        value_type(declaration, declaration.value),
        state.type if not isinstance(state.type, Ref) else Ref(state.type.layout, Origin.CALLER),
    ]
    instance = make_instance(source, scope, context.kind, tree.FunctionKind.CALLBACK, kinds)
    params = [
        _as_value(instance, parameters[n].name, kind) if n in (1, 2) else kind for n, kind in enumerate(kinds)
    ]
    finished = analyse(context.session, instance, params, context)
    for diagnostic in finished.diagnostics.found:
        context.report(diagnostic)
    context.instance.callees.append(instance)
    if instance.failed:
        raise Poisoned
    _check(context, instance, definition, place)
    if instance.changes_packet:
        packet_changed(context, place)
    return instance


def _as_value(instance: Instance, name: str, kind: VariableType) -> VariableType:
    """An integer behind a parameter is read when the callback begins: the variable holds the value."""
    layout: Layout | None = kind.layout if isinstance(kind, Ref) else None
    if not isinstance(layout, IntType):
        return kind
    variable = instance.scope.variables[name]
    span = variable.span
    reference = variable.local
    number = conversions.scalar_type(layout)
    variable.local = tree.Local(name, number, span)
    variable.declared = number
    read = conversions.read(tree.GetLocal(local=reference, type=reference.type, span=span))
    instance.prologue.append(tree.SetLocal(local=variable.local, value=read, span=span))
    return number


def _check(context: Context, instance: Instance, definition: Any, place: Span) -> None:
    function = instance.function
    result = function.result
    if isinstance(result, Int) and not (result.lo >= 0 and result.hi <= 1):
        raise context.refusal(
            Code.E0906,
            place,
            f"`{definition.name}` must return 0 to go on or 1 to stop",
            help="return a bool",
        )
    if not isinstance(result, Int | Bool | NoneT):
        raise context.refusal(Code.E0906, place, f"`{definition.name}` must return a bool or nothing")
    if instance.scope.captured:
        names = ", ".join(f"`{v.name}`" for v in instance.scope.captured)
        raise context.refusal(
            Code.E0906,
            place,
            f"`{definition.name}` uses {names} of the enclosing function",
            notes=["the kernel passes one pointer to the callback, which is the state"],
            help="put what it needs into the state",
        )
    if function.raises:
        names = ", ".join(sorted(python_name(e) for e in function.raises))
        raise context.refusal(
            Code.E0906,
            place,
            f"exceptions may leave the callback `{definition.name}`: {names}",
            help="handle them with `try` inside the callback",
        )
    refuse_packet_captures(context, instance, place)
