"""Calls: helpers, functions of the program, ``bpf.loop``, tail calls, printing; and the callee's side of
them.

``build_frame`` says what the hidden record between caller and callee holds; here it is filled and read.
"""

from __future__ import annotations

from pyebpf.frontend import build_memory as memory
from pyebpf.frontend import tree
from pyebpf.frontend.build_counters import forget_each_time, forget_objects, forget_variables
from pyebpf.frontend.build_exits import Exit, Leave
from pyebpf.frontend.build_frame import (
    CODE,
    ERRNO,
    Calling,
    RecordLayout,
    result_in_record,
)
from pyebpf.frontend.build_maps import map_ref, raise_os_if_negative
from pyebpf.frontend.build_refs import layout_of
from pyebpf.frontend.build_state import Operand, Place, State
from pyebpf.frontend.types import Bool, Int, Maybe, NoneT, Pointer, Ref
from pyebpf.hints import assert_never
from pyebpf.ir.ops import Call, Pred, Value
from pyebpf.ir.types import I1, VOID, PtrTy, Space
from pyebpf.layout import BytesType
from pyebpf.records import replace
from pyebpf.uapi.helpers import SIZES

CALLBACK_PARAMS = 4
"""Of ``for_each_map_elem``: the map, key, value and the state, which is the helper's third argument."""
PRINTK_ARGS = 3
"""``bpf_trace_printk`` takes so many values, ``bpf_trace_vprintk`` more."""


# ---------------------------------------------------------------- helpers


def argument(f: State, expr: tree.Expr) -> Value:
    """An expression as an argument of a helper."""
    match expr:
        case tree.MapHandle(map=decl):
            return map_ref(f, decl)
        case tree.FunctionHandle(function=function):
            return f.b.func_ref(function.name)
        case _:
            return f.widen(f.value(expr))


def _size(f: State, expr: tree.Expr, value: Value) -> Value:
    """A size as an argument: it is known to fit the memory, and told to the verifier where that does not know it."""
    assert isinstance(expr.type, Int)
    if expr.type.seen or isinstance(expr, tree.IntConst):
        return value
    least, most = expr.type.lo, expr.type.hi
    if least > 0:
        value = f.confined(value, f.b.cmp(Pred.ULT, value, f.b.const(least)), tree.Exc.INDEX, least)
    return f.confined(value, f.b.cmp(Pred.UGT, value, f.b.const(most)), tree.Exc.INDEX, least)


def helper_call(f: State, node: tree.HelperCall) -> Operand:
    """A raw call of a helper."""
    # A variadic helper has more arguments than its table names; none of those is a size.
    sizes = {number for number, row in enumerate(node.helper.args) if row.kind in SIZES}
    args = tuple(
        _size(f, a, argument(f, a)) if number in sizes else argument(f, a)
        for number, a in enumerate(node.args)
    )
    for expr in node.args:
        if isinstance(expr, tree.FunctionHandle) and len(expr.function.params) == CALLBACK_PARAMS:
            forget_objects(f, expr.function, expr.function.params[-1], args[2])
    match node.type:
        case NoneT():
            f.b.helper(node.helper.id, *args, type=VOID)
            return None
        case Int() | Bool():
            result = f.b.helper(node.helper.id, *args)
            result.name = node.helper.name
            if node.checked:
                raise_os_if_negative(f, result)
            return f.narrow(result, node.type)
        case Ref() | Pointer() if node.checked:
            type_ = replace(f.pointer_type(node.type), nullable=True)
            found = f.b.helper(node.helper.id, *args, type=type_)
            f.fail_if(f.b.cmp(Pred.EQ, found, f.b.null(type_)), tree.Exc.REFERENCE)
            return f.b.nonnull(found)
        case _:
            return f.b.helper(node.helper.id, *args, type=f.type_of(node.type))


def print_(f: State, node: tree.Print) -> Value | None:
    """``bpf_trace_printk``, or ``bpf_trace_vprintk`` for more than three values."""
    args = [_printed(f, node, index, arg) for index, arg in enumerate(node.args)]
    text = node.format + b"\0"
    format_ = f.data.constant_ref(text, BytesType(len(text)), "format", f.b)
    size = f.b.const(len(text))
    if node.file is None and len(args) <= PRINTK_ARGS:
        f.helper("trace_printk", format_, size, *args)
        return None
    array = f.object(node, "arguments", 8 * len(args), "print")
    for index, arg in enumerate(args):
        f.b.store(array.pointer, array.offset + 8 * index, 8, arg)
    data = f.pointer(array) if args else f.b.null(PtrTy(Space.STACK, nullable=True))
    length = f.b.const(8 * len(args))
    if node.file is not None:
        return f.helper("seq_printf", f.value(node.file), format_, size, data, length)
    f.helper("trace_vprintk", format_, size, data, length)
    return None


def _printed(f: State, node: tree.Print, index: int, arg: tree.Expr) -> Value:
    """A value to be printed. Byte strings are read up to a NUL, so one that may be full is copied behind
    one."""
    if not isinstance(arg.type, Ref):
        return f.widen(f.value(arg))
    if isinstance(arg, tree.ConstData):
        return f.data.constant_ref(arg.data.split(b"\0")[0] + b"\0", None, arg.label or "text", f.b)
    size = layout_of(arg, f).size
    source = f.place(arg)
    buffer = f.object(node, f"text {index}", size + 1, "print")
    memory.copy(f, buffer, source, size)
    memory.zero(f, buffer.at(size), -size % 8 or 8)
    return buffer.pointer


def tail_call(f: State, node: tree.TailCall) -> None:
    """``return progs[index](ctx)``: comes back only where the slot is empty or outside."""
    context = f.value(node.context)
    index = f.number(node.index)
    if not (index.never_negative and index.at_most((1 << 32) - 1)):
        limit = f.b.const(node.map.max_entries)
        f.fail_if(f.b.cmp(Pred.UGE, index.value, limit), tree.Exc.KEY)
    f.give_back()  # nothing of this program runs any more if the call succeeds
    f.helper("tail_call", context, map_ref(f, node.map), index.value, type=VOID)
    f.b.jump(f.exits.out(tree.Exc.KEY) if f.scratch is not None else f.exits.route(tree.Exc.KEY))


# ---------------------------------------------------------------- the caller's side


def _fill_record(f: State, callee: tree.Function, layout: RecordLayout, record: Place) -> None:
    """Prepare the record: no exception, the captured variables. Fields are stored as they are loaded, so that
    the record goes away where the callee is inlined."""
    if layout.exception is not None:
        f.b.store(record.pointer, layout.exception + CODE, 4, f.b.const(0))
        if tree.Exc.OS in callee.raises:
            f.b.store(record.pointer, layout.exception + ERRNO, 4, f.b.const(0))
    for local, offset in layout.captures:
        home = f.local(local)
        held = f.b.load(home.pointer, home.offset, 8, type=f.type_of(local.type), name=local.name)
        f.b.store(record.pointer, offset, 8, held)


def _read_record(f: State, callee: tree.Function, layout: RecordLayout, record: Place) -> None:
    """Take over what the callee assigned, then raise what it raised."""
    for local, offset in layout.captures:
        if local in f.frames[callee].assigned:
            held = f.b.load(record.pointer, offset, 8, type=f.type_of(local.type), name=local.name)
            f.store_local(local, held)
    if layout.exception is None:
        return
    at = layout.exception
    code = f.b.load(record.pointer, at + CODE, 4, name="code")
    raised, rest = f.exits.cold_block("raised"), f.b.new_block("returned")
    f.b.branch(f.b.cmp(Pred.NE, code, f.b.const(0)), raised, rest, unlikely=True)
    f.go(raised)
    if tree.Exc.OS in callee.raises:
        f.b.store(f.exits.errno(), 0, 8, f.b.load(record.pointer, at + ERRNO, 4, name="errno"))
    dispatch(f, code, frozenset(callee.raises))
    f.go(rest)


def dispatch(f: State, code: Value, possible: frozenset[tree.Exc]) -> None:
    """Raise the exception whose code is in ``code``, one of ``possible``; ends the current block."""
    *others, last = sorted(possible, key=lambda e: e.value)
    for exception in others:
        rest = f.exits.cold_block("raised")
        f.b.branch(f.b.cmp(Pred.EQ, code, f.b.const(exception.value)), f.exits.route(exception), rest)
        f.go(rest)
    f.b.jump(f.exits.route(last))


def function_call(f: State, node: tree.FunctionCall) -> Operand:
    """A call of another function of the program."""
    callee, frame = node.function, f.frames[node.function]
    args = [f.widen(f.value(a)) for a in node.args]
    if len(args) != len(callee.params):
        raise f.bug(f"{len(args)} arguments for {callee.name}")
    record: Place | None = None
    made: Place | None = None
    if frame.record is not None:
        record = f.slot(node, "record", frame.record.size, callee.name)
        _fill_record(f, callee, frame.record, record)
        if frame.record.result is not None:
            made = record.at(frame.record.result)
            if frame.record.result_elsewhere:
                assert isinstance(callee.result, Ref)
                made = f.object(node, "object", callee.result.layout.size, callee.name)
                f.b.store(record.pointer, frame.record.result, 8, f.pointer(made))
        args.append(record.pointer)
    result: Call = f.b.call(callee.name, *args, type=frame.result)
    if frame.record is not None and record is not None:
        _read_record(f, callee, frame.record, record)
        if made is not None:
            return made
    match node.type:
        case NoneT():
            return None
        case Int() | Bool():
            return f.narrow(result, node.type)
        case Maybe():
            return result
        case _:
            assert isinstance(result.type, PtrTy)
            return f.b.nonnull(result) if result.type.nullable else result


def loop_call(f: State, node: tree.LoopCall) -> Value:
    """``bpf_loop`` with a function of the program as its body."""
    count = f.number(node.count)
    state = f.widen(f.value(node.state)) if node.state is not None else None
    number = count.constant
    if number is not None:
        return _run_loop(f, node, count.value, state) if number > 0 else f.b.const(0)
    if count.type.exact and count.type.lo > 0:
        return _run_loop(f, node, count.value, state)
    # The verifier drops a callback that it never sees called, and then fails on its address: where it knows that
    # the count is 0 (the initial value of a frozen variable, say), this test hides call and address from it.
    zero = f.b.const(0)
    start, some, after = f.b.block, f.b.new_block("some"), f.b.new_block("counted")
    f.b.branch(f.b.cmp(Pred.NE if count.never_negative else Pred.SGT, count.value, zero), some, after)
    f.go(some)
    called = _run_loop(f, node, count.value, state)
    end = f.b.block
    f.b.jump(after)
    f.go(after)
    return f.b.phi(called.type, {start: zero, end: called})


def _run_loop(f: State, node: tree.LoopCall, times: Value, state: Value | None) -> Value:
    body, frame = node.body, f.frames[node.body]
    forget_objects(f, body, body.params[1] if state is not None else None, state)
    second: Value
    record: Place | None = None
    if frame.record is not None:
        record = f.slot(node, "record", frame.record.size, body.name)
        _fill_record(f, body, frame.record, record)
        forget_variables(f, body, frame.record, record)
        if frame.record.state is not None:
            if state is None:
                raise f.bug(f"{body.name} takes a state and is given none")
            f.b.store(record.pointer, frame.record.state, 8, state)
        second = record.pointer
    elif state is not None and frame.state_itself:
        second = state
    else:
        second = f.b.null(PtrTy(Space.STACK))
    result = f.helper("loop", times, f.b.func_ref(body.name), second, f.b.const(0))
    if frame.record is not None and record is not None:
        _read_record(f, body, frame.record, record)
    return result


# ---------------------------------------------------------------- the callee's side


def enter(f: State) -> None:
    """Put the parameters into their variables; captured variables live in the caller's record."""
    frame = f.frame
    layout = frame.record
    if layout is not None:
        f.record = f.b.function.params[-1]
        for local, offset in layout.captures:
            f.storage[local] = Place(f.record, offset, 8)
    for local, param in zip(f.source.params, f.b.function.params, strict=False):
        if layout is not None and param is f.record:
            break
        value: Value = param
        if isinstance(param.type, PtrTy) and param.type.nullable and isinstance(local.type, Ref):
            value = _never_null(f, param)
        f.store_local(local, value)
    if layout is not None and layout.state is not None and f.record is not None:
        state = f.source.params[1]
        f.store_local(state, f.b.load(f.record, layout.state, 8, type=f.type_of(state.type), name=state.name))
    if frame.calling is Calling.LOOP_BODY:
        forget_each_time(f, layout, f.source.params[1] if len(f.source.params) > 1 else None)
    elif frame.calling is Calling.CALLBACK:
        forget_each_time(f, layout, f.source.params[-1] if len(f.source.params) == CALLBACK_PARAMS else None)


def _never_null(f: State, param: Value) -> Value:
    """The kernel lets a global function's memory argument be null; ours never pass that, so the answer is
    free."""
    assert isinstance(param.type, PtrTy)
    null, rest = f.exits.cold_block("null"), f.b.new_block("memory")
    f.b.branch(f.b.cmp(Pred.EQ, param, f.b.null(param.type)), null, rest, unlikely=True)
    f.go(null)
    f.b.ret(f.b.const(0))
    f.go(rest)
    return f.b.nonnull(param)


def leave(f: State, value: tree.Expr | None) -> None:
    """``return``: at once, or by way of the cleanups around."""
    operand = f.operand(value) if value is not None else None
    if not f.exits.through_cleanup():
        give_result(f, operand)
        return
    if isinstance(operand, Place):
        operand = f.pointer(operand)
    if operand is not None:
        f.b.store(f.exits.result(), 0, 8, f.widen(operand))
    f.b.jump(f.exits.route(Leave.RETURN))


def give_result(f: State, operand: Operand) -> None:
    """Return ``operand`` in the form that the caller expects; ends the current block."""
    function, frame = f.source, f.frame
    if result_in_record(function) and frame.calling is Calling.CALL:
        _give_object(f, operand)
        return
    value = f.pointer(operand) if isinstance(operand, Place) else operand
    match frame.calling:
        case Calling.ENTRY:
            f.b.ret(f.b.const(0) if value is None else f.widen(value))
        case Calling.LOOP_BODY | Calling.CALLBACK:
            f.b.ret(_stop(f, value))
        case Calling.CALL:
            if frame.result == VOID:
                f.b.ret()
            else:
                f.b.ret(f.widen(_required(f, value)))
        case _:
            assert_never(frame.calling)


def _give_object(f: State, operand: Operand) -> None:
    """Return an object."""
    assert isinstance(f.source.result, Ref)
    align = f.source.result.layout.align
    copy_result(f, operand if isinstance(operand, Place) else Place(_required(f, operand), 0, align))
    f.b.ret()


def copy_result(f: State, source: Place) -> None:
    """Copy the object that is returned to where the caller wants it."""
    layout, type_ = f.record_layout(), f.source.result
    assert isinstance(type_, Ref) and f.record is not None and layout.result is not None
    target = Place(f.record, layout.result, 8)
    if layout.result_elsewhere:
        where = PtrTy(Space.MEM, type_.layout.size)
        target = Place(f.b.load(f.record, layout.result, 8, type=where, name="result"), 0, 8)
    memory.copy(f, target, source, type_.layout.size)


def _required(f: State, value: Value | None) -> Value:
    if value is None:
        raise f.bug("a return without the function's result")
    return value


def _stop(f: State, value: Value | None) -> Value:
    """What a callback returns: 1 to stop where its Python function returns something true."""
    if value is None:
        return f.b.const(0)
    if value.type != I1:
        value = f.b.cmp(Pred.NE, value, f.b.const(0))
    return f.b.zext(1, value)


def finish_exits(f: State) -> None:
    """Fill the blocks at which the function is left."""
    for exit_, block in f.exits.function.items():
        f.go(block)
        _leave_by(f, exit_)


def _leave_by(f: State, exit_: Exit) -> None:
    if exit_ is Leave.RETURN:
        type_ = f.source.result
        if isinstance(type_, NoneT):
            give_result(f, None)
            return
        held = f.b.load(f.exits.result(), 0, 8, type=f.type_of(type_))
        give_result(f, f.narrow(held, type_))
        return
    if not isinstance(exit_, tree.Exc):
        raise f.bug(f"{exit_.value} outside of a loop", f.source.span)
    match f.frame.calling:
        case Calling.ENTRY:
            f.b.ret(f.b.const(f.source.error_verdict))
        case Calling.CALLBACK:
            f.b.ret(f.b.const(0))
        case Calling.CALL | Calling.LOOP_BODY:
            _report(f, exit_)
        case _:
            assert_never(f.frame.calling)


def _report(f: State, exception: tree.Exc) -> None:
    """Leave by an exception: its code goes into the caller's record."""
    layout = f.record_layout()
    if layout.exception is None or exception not in f.source.raises or f.record is None:
        raise f.bug(f"{exception.name} leaves a function that does not declare it", f.source.span)
    f.b.store(f.record, layout.exception + CODE, 4, f.b.const(exception.value))
    if exception is tree.Exc.OS:
        f.b.store(f.record, layout.exception + ERRNO, 4, f.b.load(f.exits.errno(), 0, 8))
    result = f.frame.result
    if f.frame.calling is Calling.LOOP_BODY:
        f.b.ret(f.b.const(1))
    elif result == VOID:
        f.b.ret()
    elif isinstance(result, PtrTy):
        f.b.ret(f.b.null(result))
    else:
        f.b.ret(f.b.const(0))
