"""How each function is called: parameters, result, and the hidden record between caller and callee.

A function that may raise, that returns an object of its own, or that uses variables of the function around it
gets one more parameter: a pointer to a *record* on its caller's stack. It holds what these need, each in
multiples of 8 bytes: the exception (``u32 code, u32 errno``, code 0: none), the ``state`` argument of
``bpf.loop``, the result, the captured variables. The caller copies the captured variables in before the call
and those that the callee assigns out after it, so that they can live in registers otherwise.

For the body of ``bpf.loop`` the record is the callback's second argument. Where there is nothing to hold but
a reference to stack memory, that reference is passed itself."""

from __future__ import annotations

from collections.abc import Iterable

from pyebpf import enums
from pyebpf.diagnostics import InternalError
from pyebpf.frontend import tree
from pyebpf.frontend.build_types import ir_type
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.frontend.types import Bool, Int, Origin, Ref
from pyebpf.ir.ops import FunctionRole, Inlining, ParamInfo
from pyebpf.ir.types import I64, VOID, IRType, PtrTy, Space
from pyebpf.layout import I64 as I64_LAYOUT
from pyebpf.layout import U64 as U64_LAYOUT
from pyebpf.layout import Layout, round_up
from pyebpf.records import dataclass, replace

CODE, ERRNO = 0, 4
"""Offsets in the exception field of a record."""
LARGE_RESULT = 256
"""An object of more bytes is not part of the record, so that it may lie in scratch memory."""


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """Offsets in the record, ``None`` for what it does not have. ``result_elsewhere``: at ``result`` is where the object
    that is returned is wanted, not the object itself."""

    exception: int | None
    state: int | None
    result: int | None
    captures: tuple[tuple[tree.Local, int], ...]
    size: int
    result_elsewhere: bool = False


class Calling(enums.Enum):
    """Who calls the function, in which form."""

    ENTRY = "entry"  # the kernel, with the context
    CALL = "call"  # the program, by a call
    LOOP_BODY = "loop body"  # bpf_loop, with the index and the record
    CALLBACK = "callback"  # a helper that was given its address, with the helper's own arguments


@dataclass(frozen=True, slots=True)
class Frame:
    """How a function is called. ``params``: the IR parameters, the record last; ``assigned``: captured
    variables that the function (or a callback in it) assigns."""

    calling: Calling
    role: FunctionRole
    params: tuple[tuple[str, IRType, ParamInfo], ...]
    result: IRType
    result_layout: Layout | None
    record: RecordLayout | None
    assigned: frozenset[tree.Local]
    inlining: Inlining
    caller: Space  # what memory of callers is, in the whole unit
    own: Space  # what the functions' own objects are, in the whole unit
    state_itself: bool  # a loop body whose second argument is the state and not a record


def assigned_locals(function: tree.Function) -> frozenset[tree.Local]:
    """The variables that ``function``, or a function with captures that it calls, may assign."""
    found: set[tree.Local] = set()
    for node in nodes(function.body):
        match node:
            case tree.SetLocal(local=local) | tree.Bind(local=local) | tree.Reserve(local=local):
                found.add(local)
            case tree.ForRange(local=local) | tree.ForConstants(local=local):
                found.add(local)
            case tree.Handler(errno=local) if local is not None:
                found.add(local)
            case tree.Function(captures=captures) if captures and node is not function:
                found |= assigned_locals(node) & set(captures)
            case _:
                pass
    return frozenset(found)


def result_in_record(function: tree.Function) -> bool:
    """Whether the result is an object built in the caller's record."""
    return isinstance(function.result, Ref) and function.result.origin is Origin.LOCAL


def _passes_state_itself(body: tree.Function, caller: Space) -> bool:
    """Whether the body of a ``bpf.loop`` gets its ``state`` reference as the second argument, without a
    record."""
    if body.captures or body.raises or len(body.params) < 2 or caller is not Space.STACK:
        return False
    state = body.params[1].type
    return isinstance(state, Ref) and state.origin in (Origin.LOCAL, Origin.CALLER)


def _record(function: tree.Function, calling: Calling, state_itself: bool) -> RecordLayout | None:
    offset = 0

    def take(wanted: bool, size: int = 8) -> int | None:
        nonlocal offset
        if not wanted:
            return None
        offset += round_up(size, 8)
        return offset - round_up(size, 8)

    body = calling is Calling.LOOP_BODY
    if calling not in (Calling.CALL, Calling.LOOP_BODY) or state_itself:
        return None
    exception = take(bool(function.raises))
    state = take(body and len(function.params) > 1)
    result = None
    elsewhere = False
    if isinstance(function.result, Ref):
        size = function.result.layout.size
        elsewhere = result_in_record(function) and size > LARGE_RESULT
        result = take(result_in_record(function), 8 if elsewhere else size)
    captures = []
    for local in function.captures:
        captures.append((local, offset))
        offset += 8
    layout = RecordLayout(exception, state, result, tuple(captures), offset, elsewhere)
    return layout if offset else None


def _param_type(function: tree.Function, local: tree.Local, caller: Space, own: Space) -> IRType:
    if function.kind is tree.FunctionKind.GLOBAL and isinstance(local.type, Ref):
        # The kernel verifies a global function for every argument of its BTF type: memory may be null there.
        return PtrTy(Space.MEM, local.type.layout.size, nullable=True)
    return ir_type(local.type, caller, own)


def _param_info(local: tree.Local) -> ParamInfo:
    match local.type:
        case Int(unsigned=unsigned):
            return ParamInfo(local.name, U64_LAYOUT if unsigned else I64_LAYOUT)
        case Ref(layout=layout):
            return ParamInfo(local.name, layout, pointer=True)
        case _:
            pointer = not isinstance(local.type, Bool)
            return ParamInfo(local.name, None if pointer else I64_LAYOUT, pointer)


def frame_of(function: tree.Function, calling: Calling, caller: Space, own: Space) -> Frame:
    """How ``function``, called as ``calling`` says, gets its arguments and gives its result."""
    state_itself = calling is Calling.LOOP_BODY and _passes_state_itself(function, caller)
    record = _record(function, calling, state_itself)
    shown = function.params
    if calling is Calling.LOOP_BODY and record is not None:
        shown = function.params[:1]  # the state is in the record
    params = [(p.name, _param_type(function, p, caller, own), _param_info(p)) for p in shown]
    if record is not None:
        params.append(("record", PtrTy(Space.STACK, record.size), ParamInfo("record", None, pointer=True)))
    result = ir_type(function.result, caller, own)
    result_layout: Layout | None = None
    match calling:
        case Calling.ENTRY:
            role, result = FunctionRole.ENTRY, I64
        case Calling.LOOP_BODY | Calling.CALLBACK:
            role, result = FunctionRole.CALLBACK, I64
        case Calling.CALL:
            is_global = function.kind is tree.FunctionKind.GLOBAL
            role = FunctionRole.GLOBAL if is_global else FunctionRole.SUBPROGRAM
            if isinstance(function.result, Int):
                result_layout = U64_LAYOUT if function.result.unsigned else I64_LAYOUT
            if result_in_record(function):
                result = VOID
            elif isinstance(result, PtrTy) and function.raises:
                result = replace(result, nullable=True)
    return Frame(
        calling,
        role,
        tuple(params),
        result,
        result_layout,
        record,
        assigned_locals(function) & frozenset(function.captures),
        _inlining(function),
        caller,
        own,
        state_itself,
    )


def _inlining(function: tree.Function) -> Inlining:
    if isinstance(function.result, Ref) and function.result.origin is Origin.CALLER:
        return Inlining.ALWAYS  # the verifier refuses a stack pointer as the result of a call
    return function.inlining


def _takes_memory(function: tree.Function) -> bool:
    """Whether it is a global function whose arguments the kernel verifies as memory of unknown origin."""
    of_refs = any(isinstance(p.type, Ref) for p in function.params)
    return function.kind is tree.FunctionKind.GLOBAL and of_refs


def reachable(functions: Iterable[tree.Function]) -> list[tree.Function]:
    """``functions`` and all that they call or pass on, each once, callers first."""
    found: dict[tree.Function, None] = {}
    waiting = list(functions)[::-1]
    while waiting:
        function = waiting.pop()
        if function not in found:
            found[function] = None
            waiting.extend(node for node in nodes(function.body) if isinstance(node, tree.Function))
    return list(found)


def frames_of(functions: Iterable[tree.Function], *, scratch: bool = False) -> dict[tree.Function, Frame]:
    """The frame of every function of a unit. ``scratch``: functions that may use scratch memory do. Raises
    ``InternalError`` for one that is called in two forms."""
    functions = list(functions)
    bodies: set[tree.Function] = set()
    addressed: set[tree.Function] = set()
    for function in functions:
        for node in nodes(function.body):
            if isinstance(node, tree.LoopCall):
                bodies.add(node.body)
            elif isinstance(node, tree.FunctionHandle):
                addressed.add(node.function)
    own = Space.MEM if scratch and any(f.scratch for f in functions) else Space.STACK
    caller = Space.MEM if any(_takes_memory(f) for f in functions) else own
    found: dict[tree.Function, Frame] = {}
    for function in functions:
        callback = function.kind is tree.FunctionKind.CALLBACK
        if callback and function in bodies and function in addressed:
            raise InternalError(
                "the body of a loop is passed to another helper as well",
                phase="building SSA",
                function=function.name,
                span=function.span,
            )
        if function.kind is tree.FunctionKind.ENTRY:
            calling = Calling.ENTRY
        elif not callback:
            calling = Calling.CALL
        else:
            calling = Calling.LOOP_BODY if function in bodies else Calling.CALLBACK
        found[function] = frame_of(function, calling, caller, own)
    return found
