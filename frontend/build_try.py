"""``raise``, ``try`` with its handlers, ``finally``.

The handlers of a ``try`` are lowered after its body, when it is known which exceptions can arrive; one that
none can reach becomes nothing. A ``finally`` body is lowered once for each kind of exit that passes through
it."""

from __future__ import annotations

from pyebpf.frontend import tree
from pyebpf.frontend.build_calls import dispatch
from pyebpf.frontend.build_exits import CleanupScope, HandlerScope, Handling
from pyebpf.frontend.build_state import State
from pyebpf.frontend.tree_nodes import nodes
from pyebpf.ir.ops import Alloca, Block


def raise_(f: State, node: tree.Raise) -> None:
    """``raise E``."""
    if node.exception is tree.Exc.OS:
        f.raise_os(f.value(node.errno) if node.errno is not None else f.b.const(0))
        return
    f.b.jump(f.exits.route(node.exception))


def reraise(f: State) -> None:
    """A bare ``raise``."""
    if not f.exits.handling:
        raise f.bug("`raise` outside of a handler")
    handling = f.exits.handling[-1]
    if tree.Exc.OS in handling.possible:
        f.b.store(f.exits.errno(), 0, 8, f.b.load(handling.errno, 0, 8))
    dispatch(f, f.b.load(handling.code, 0, 8), handling.possible)


def try_(f: State, node: tree.Try) -> None:
    """``try: body; except …: …; else: orelse; finally: final``."""
    if not node.final:
        _with_handlers(f, node)
        return
    cleanup = CleanupScope()
    f.exits.scopes.append(cleanup)
    _with_handlers(f, node)
    f.exits.scopes.pop()
    done = f.b.new_block("tried")
    if not f.b.terminated:
        f.run(node.final)
        if not f.b.terminated:
            f.b.jump(done)
    for exit_, landing in cleanup.landings.items():
        f.go(landing)
        saved: Alloca | None = None
        if exit_ is tree.Exc.OS:
            saved = f.b.alloca(8, 8, "errno")
            f.b.store(saved, 0, 8, f.b.load(f.exits.errno(), 0, 8))
        f.run(node.final)
        if f.b.terminated:
            continue
        if saved is not None:
            f.b.store(f.exits.errno(), 0, 8, f.b.load(saved, 0, 8))
        f.b.jump(f.exits.route(exit_))
    f.go(done)


def _with_handlers(f: State, node: tree.Try) -> None:
    """Everything but ``finally``. Goes on in a block that is complete where no path comes out."""
    if not node.handlers:
        f.run(node.body)
        if not f.b.terminated:
            f.run(node.orelse)
        return
    scope = HandlerScope(node.handlers)
    f.exits.scopes.append(scope)
    f.run(node.body)
    f.exits.scopes.pop()
    done = f.b.new_block("handled")
    if not f.b.terminated:
        f.run(node.orelse)
        if not f.b.terminated:
            f.b.jump(done)
    for handler in node.handlers:
        arriving = {e: block for e, block in scope.landings.items() if scope.handler_of(e) is handler}
        if arriving:
            with f.at(handler.span):
                _handler(f, handler, arriving, done)
    f.go(done)


def _handler(f: State, handler: tree.Handler, arriving: dict[tree.Exc, Block], done: Block) -> None:
    reraises = any(isinstance(n, tree.Reraise) for n in nodes(handler.body))
    handling = (
        Handling(frozenset(arriving), f.b.alloca(8, 8, "code"), f.b.alloca(8, 8, "errno"))
        if reraises
        else None
    )
    start = f.b.new_block("except")
    for exception, landing in arriving.items():
        f.go(landing)
        if handling is not None:
            f.b.store(handling.code, 0, 8, f.b.const(exception.value))
            if exception is tree.Exc.OS:
                f.b.store(handling.errno, 0, 8, f.b.load(f.exits.errno(), 0, 8))
        if handler.errno is not None:
            of_os = exception is tree.Exc.OS
            f.store_local(handler.errno, f.b.load(f.exits.errno(), 0, 8) if of_os else f.b.const(0))
        f.b.jump(start)
    f.go(start)
    if handling is not None:
        f.exits.handling.append(handling)
    f.run(handler.body)
    if handling is not None:
        f.exits.handling.pop()
    if not f.b.terminated:
        f.b.jump(done)
