"""Exceptions: ``raise``, ``try`` with handlers, ``else`` and ``finally``.

While the body of a ``try`` is analysed, an ``ErrorFrame`` collects what it may raise and the joined state at those
places; the handlers start from that state. What no handler is sure to catch goes on to the next frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyebpf.codes import Code
from pyebpf.frontend import conversions, tree
from pyebpf.frontend.arguments import plain_arguments
from pyebpf.frontend.blocks import block, statement
from pyebpf.frontend.exceptions import EXCEPTIONS
from pyebpf.frontend.expressions import operand
from pyebpf.frontend.flow import Knowledge, State, join_states
from pyebpf.frontend.session import Context, ErrorFrame
from pyebpf.frontend.suggest import near
from pyebpf.frontend.types import Int
from pyebpf.frontend.values import Static
from pyebpf.hints import Any

_ERRNO = Int(False, 0, 4095, seen=False)


def exception_class(context: Context, node: Any) -> tree.Exc:
    """The exception that an expression names."""
    found = operand(context, node)
    if isinstance(found, Static) and isinstance(found.value, type):
        exception = EXCEPTIONS.get(found.value) if issubclass(found.value, Exception) else None
        if exception is not None:
            return exception
        if issubclass(found.value, BaseException):
            names = [cls.__name__ for cls in EXCEPTIONS]
            raise context.refusal(
                Code.E0406,
                node,
                f"programs have no exception `{found.value.__name__}`",
                notes=[f"they have {', '.join(f'`{n}`' for n in names)}"],
                help=near(found.value.__name__, names),
            )
    raise context.refusal(Code.E0406, node, "this is not an exception class")


@statement("Raise")
def _raise(context: Context, node: Any) -> None:
    span = context.span(node)
    if node.cause is not None:
        raise context.refusal(
            Code.E0407, node.cause, "`from` has no meaning in programs", help="raise the exception alone"
        )
    if node.exc is None:
        if not context.handling:
            raise context.refusal(Code.E0407, node, "a bare `raise` is possible inside `except` only")
        for exception in context.handled[-1]:
            context.raises(exception)
        context.out.append(tree.Reraise(span=span))
        context.state = None
        return
    errno: tree.Expr | None = None
    if type(node.exc).__name__ == "Call":
        call = node.exc
        context.coverage.mark(call)
        exception = exception_class(context, call.func)
        errno = _arguments(context, call, exception)
    else:
        exception = exception_class(context, node.exc)
    if exception is tree.Exc.OS and errno is None:
        errno = tree.IntConst(value=0, type=Int(False, 0, 0), span=span)
    context.raises(exception)
    context.out.append(tree.Raise(exception=exception, errno=errno, span=span))
    context.state = None


def _arguments(context: Context, call: Any, exception: tree.Exc) -> tree.Expr | None:
    """The arguments of an exception: the error number of OSError, and messages, which are for readers."""
    plain_arguments(context, call)
    if call.keywords:
        raise context.refusal(Code.E0407, call.keywords[0], "exceptions take no keyword arguments here")
    errno: tree.Expr | None = None
    for position, node in enumerate(call.args):
        found = operand(context, node)
        if (
            exception is tree.Exc.OS
            and position == 0
            and not (isinstance(found, Static) and isinstance(found.value, str))
        ):
            errno = conversions.integer(context, found, "an error number")
        elif not isinstance(found, Static):
            raise context.refusal(Code.E0407, node, "the message of an exception must be a constant")
    return errno


@statement("Try")
def _try(context: Context, node: Any) -> None:
    if node.finalbody:
        _with_final(context, node)
    else:
        handled = _handlers(context, node)
        context.out.append(
            tree.Try(
                body=handled[0], handlers=handled[1], orelse=handled[2], final=(), span=context.span(node)
            )
        )


def _handlers(context: Context, node: Any) -> tuple[tree.Body, tuple[tree.Handler, ...], tree.Body]:
    """The body, handlers and ``else`` of a ``try``; the state afterwards joins their ends."""
    frame = ErrorFrame(loops=len(context.loops))
    before = context.state.copy() if context.state is not None else State()
    context.errors.append(frame)
    body = block(context, node.body)
    context.errors.pop()
    after = context.state
    handlers: list[tree.Handler] = []
    left = set(frame.raised)
    ends: list[State | None] = []
    for handler in node.handlers:
        context.coverage.mark(handler)
        catches = _catches(context, handler)
        caught = {e for e in left if any(e.is_a(c) for c in catches)}
        left -= caught
        context.state = (frame.state or after or before).copy()
        if caught or any(c.is_a(e) for e in left for c in catches):
            handlers.append(_handler(context, handler, catches, caught or set(catches)))
            ends.append(context.state)
        else:  # nothing reaches it; it is still looked at: its errors are errors too
            with _unreached(context):
                handlers.append(_handler(context, handler, catches, set(catches)))
    for exception in sorted(left, key=lambda e: e.value):
        context.state = frame.state
        context.raises(exception)
    context.state = after
    orelse: tree.Body = ()
    if context.state is not None:
        orelse = block(context, node.orelse)
    else:
        for child in node.orelse:
            context.coverage.skip(child)
    for end in ends:
        context.state = join_states(context.state, end)
    return body, tuple(handlers), orelse


@contextmanager
def _unreached(context: Context) -> Iterator[None]:
    """Look at statements that never run: what they do counts nowhere."""
    loops = [(frame, frame.breaks, frame.continues) for frame in context.loops]
    errors = [(frame, set(frame.raised), frame.state, frame.finals) for frame in context.errors]
    results = len(context.results)
    yield
    for loop, breaks, continues in loops:
        loop.breaks, loop.continues = breaks, continues
    for error, raised, state, finals in errors:
        error.raised, error.state, error.finals = raised, state, finals
    del context.results[results:]


def _catches(context: Context, handler: Any) -> tuple[tree.Exc, ...]:
    if handler.type is None:
        return (tree.Exc.EXCEPTION,)
    if type(handler.type).__name__ == "Tuple":
        context.coverage.mark(handler.type)
        return tuple(exception_class(context, child) for child in handler.type.elts)
    return (exception_class(context, handler.type),)


def _handler(
    context: Context, handler: Any, catches: tuple[tree.Exc, ...], caught: set[tree.Exc]
) -> tree.Handler:
    errno: tree.Local | None = None
    if handler.name is not None:
        context.coverage.mark(handler.name)
        variable = context.scope.variable(handler.name.name)
        if variable is None or context.state is None:
            raise context.bug("except target without a variable")
        errno = context.temporary(_ERRNO, context.span(handler.name), f"{handler.name.name}.errno")
        context.errno_of[variable] = (errno, all(c is tree.Exc.OS for c in catches))
        context.state.known[variable] = Knowledge(_ERRNO, poisoned=False)
    context.handling += 1
    context.handled.append(caught)
    body = block(context, handler.body)
    context.handled.pop()
    context.handling -= 1
    if handler.name is not None:
        variable = context.scope.variable(handler.name.name)
        if variable is not None:
            context.errno_of.pop(variable, None)
            if context.state is not None:
                context.state.known.pop(variable, None)  # Python deletes the name at the end of the clause
    return tree.Handler(catches=catches, errno=errno, body=body, span=context.span(handler))


def _with_final(context: Context, node: Any) -> None:
    """``try … finally``: the final block runs on every way out."""
    frame = ErrorFrame(loops=len(context.loops))
    context.errors.append(frame)
    context.guarded += 1
    body, handlers, orelse = _handlers(context, node)
    context.guarded -= 1
    context.errors.pop()
    normal = context.state
    context.state = join_states(join_states(normal, frame.state), frame.finals)
    if context.state is None:
        context.state = State()
    context.guarded += 1
    final = block(context, node.finalbody)
    if normal is not None and context.state is not None:
        # Once more from the normal end alone, for what is known afterwards.
        context.state = normal.copy()
        with context.collecting():
            block(context, node.finalbody)
    elif normal is None:
        context.state = None
    context.guarded -= 1
    if context.state is not None or normal is None:
        for exception in sorted(frame.raised, key=lambda e: e.value):
            context.errors[-1].raised.add(exception)
            context.errors[-1].state = join_states(context.errors[-1].state, frame.state)
    context.out.append(
        tree.Try(body=body, handlers=handlers, orelse=orelse, final=final, span=context.span(node))
    )
