"""From the typed tree to SSA: ``build`` lowers a unit to a module.

Variables become stack slots with loads and stores (the pass mem2reg makes values of them), exceptions become
branches. The subjects:

- ``build_state``: what is carried along, values and places; ``build_types``: types of values
- ``build_expr`` and ``build_control``: the dispatchers over expressions and statements
- ``build_arith``, ``build_memory``, ``build_refs``, ``build_objects``: numbers, storage, references, objects
- ``build_maps``, ``build_packet``: what the kernel gives
- ``build_loops``, ``build_try``, ``build_exits``: control flow
- ``build_calls``, ``build_frame``: how functions call each other; ``build_scratch``: objects too large for the stack
- ``build_data``: maps, variables and constants; ``build_facts``: what is known of references beforehand
"""

from __future__ import annotations

from contextlib import nullcontext

from pyebpf.frontend import build_calls, build_control, build_expr, build_usdt, tree
from pyebpf.frontend.build_data import DataBuilder
from pyebpf.frontend.build_exits import Exits
from pyebpf.frontend.build_facts import Facts, facts
from pyebpf.frontend.build_frame import Calling, Frame, frames_of, reachable
from pyebpf.frontend.build_scratch import scratch_memory
from pyebpf.frontend.build_state import Lowering, State
from pyebpf.frontend.types import NoneT
from pyebpf.ir.builder import Builder
from pyebpf.ir.edit import remove_unreachable_blocks
from pyebpf.ir.ops import Function, Module, Param, Unreachable
from pyebpf.object import map_spec
from pyebpf.records import replace
from pyebpf.target import Target

_LOWERING = Lowering(build_expr.expression, build_expr.branch, build_control.body)


def build(unit: tree.Unit, target: Target, *, checks: bool = True, scratch: bool = False) -> Module:
    """Lower ``unit`` for ``target``. ``scratch``: the functions that may use scratch memory do.

    The tree has been checked: whatever is wrong with it raises ``InternalError``, never a diagnostic. Without
    ``checks`` (for tests) nothing is tested at run time, so that the kernel's own checks can be seen.
    """
    lowering = replace(_LOWERING, checks=checks)
    module = Module(license=unit.license)
    data = DataBuilder(module, target)
    for decl in unit.maps:
        spec = map_spec(decl)
        module.maps[spec.name] = spec
    for variable in unit.globals:
        data.add_global(variable)
    functions = reachable([*unit.programs, *unit.functions])
    frames = frames_of(functions, scratch=scratch)
    known = facts(frames)
    for function in functions:
        state = _begin(function, frames, known, data, target, lowering)
        with scratch_memory(state) if scratch and function.scratch else nullcontext():
            state.run(function.body)
        module.functions[function.name] = _end(state)
    return module


def _begin(
    source: tree.Function,
    frames: dict[tree.Function, Frame],
    known: Facts,
    data: DataBuilder,
    target: Target,
    lowering: Lowering,
) -> State:
    frame = frames[source]
    params = [Param(i, type=t, name=name, span=source.span) for i, (name, t, _) in enumerate(frame.params)]
    function = Function(
        source.name,
        params,
        frame.result,
        [],
        frame.role,
        source.span,
        kind=source.program_kind,
        arguments=build_usdt.arguments_read(source),
        inlining=frame.inlining,
        param_infos=tuple(info for _, _, info in frame.params),
        result_layout=frame.result_layout,
    )
    builder = Builder(function, source.span)
    alike = frame.calling in (Calling.ENTRY, Calling.CALLBACK)
    exits = Exits(builder, errors_alike=alike)
    state = State(source, frames, data, target, builder, exits, lowering, known)
    build_calls.enter(state)
    return state


def _end(f: State) -> Function:
    function = f.b.function
    _fall_off(f)
    build_calls.finish_exits(f)
    remove_unreachable_blocks(function)
    if any(isinstance(op, Unreachable) for op in function.ops()):
        raise f.bug("a path falls off the end of a function that has a result", f.source.span)
    _lay_out(f, function)
    return function


def _lay_out(f: State, function: Function) -> None:
    """Blocks in the order of the source, what hardly ever happens last."""
    place = {block: number for number, block in enumerate([function.entry, *f.visited])}
    function.blocks.sort(key=lambda block: (block in f.exits.cold, place[block]))


def _fall_off(f: State) -> None:
    """End the function where the body does not: with ``None``, or nowhere if no path comes here."""
    if f.b.terminated:
        return
    if isinstance(f.source.result, NoneT):
        build_calls.give_result(f, None)
    else:
        f.b.unreachable()
