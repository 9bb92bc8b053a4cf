"""Loops over one of the kernel's number iterators, for what takes too many iterations to be followed.

The verifier goes through the body until nothing changes any more, instead of following every iteration
(``process_iter_next_call`` in kernel/bpf/verifier.c). What a test looks at must therefore not become another known number
in each iteration (``build_known``). An iterator belongs to the function that made it until it is destroyed, which must
happen on every way out.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf import btf
from pyebpf.frontend.build_exits import CleanupScope, LoopScope
from pyebpf.frontend.build_hiding import forget
from pyebpf.frontend.build_known import Hidden
from pyebpf.frontend.build_state import State
from pyebpf.frontend.loop_weight import ITERATOR_ROUNDS, Loop
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.ops import Block, Pred, Value
from pyebpf.ir.types import I64, VOID, IRType, PtrTy, Space
from pyebpf.object import Extern

if TYPE_CHECKING:
    from typing import Final


_INT: Final = btf.Int("int", 4, btf.IntEncoding.SIGNED)
_WORD: Final = btf.Int("unsigned long long", 8)
_STATE: Final = btf.Ptr(
    btf.Struct("bpf_iter_num", 8, (btf.Member("__opaque", btf.Array(_WORD, 1), 0),)),
)
NEW: Final = "bpf_iter_num_new"
NEXT: Final = "bpf_iter_num_next"
DESTROY: Final = "bpf_iter_num_destroy"
_PROTOTYPES: Final = {
    NEW: btf.FuncProto(_INT, (btf.Param("it", _STATE), btf.Param("start", _INT), btf.Param("end", _INT))),
    NEXT: btf.FuncProto(btf.Ptr(_INT), (btf.Param("it", _STATE),)),
    DESTROY: btf.FuncProto(None, (btf.Param("it", _STATE),)),
}
"""As include/linux/bpf.h and kernel/bpf/bpf_iter.c have them."""
EXTERNS: Final = {
    name: Extern(name, ".ksyms", btf.Func(name, proto, btf.FuncLinkage.EXTERN))
    for name, proto in _PROTOTYPES.items()
}
_NUMBER: Final = PtrTy(Space.MEM, 4, nullable=True)
_RESULTS: Final[dict[str, IRType]] = {NEW: I64, NEXT: _NUMBER, DESTROY: VOID}


def driven(f: State, node: Loop, hidden: Hidden, count: Value, begin: Callable[[Value, Block], None]) -> None:
    """A loop over the numbers 0 … ``count`` - 1. ``begin``: lowers what comes before the body, given the number and the
    block to which it goes where the loop is over; it continues where the body begins."""
    head, inside, ended, left, done = (f.b.new_block(n) for n in ("next", "number", "ended", "left", "done"))
    place = f.slot(node, "iterator", 8, "iterator")

    def destroy() -> None:
        _call(f, DESTROY, place.pointer)

    _call(f, NEW, place.pointer, f.b.const(0), count)
    cleanup = CleanupScope()
    f.exits.scopes.append(cleanup)
    f.jump_to(head)
    # The verifier compares states where it takes the next number, and nowhere else in the loop.
    forget(f, node, hidden.inside, node.known.head, hidden.measured)
    found = _call(f, NEXT, place.pointer)
    f.b.branch(f.b.cmp(Pred.EQ, found, f.b.null(_NUMBER)), ended, inside)
    f.go(inside)
    begin(f.b.load(f.b.nonnull(found), 0, 4, name="number"), ended)
    f.exits.scopes.append(LoopScope(left, head, ITERATOR_ROUNDS))
    f.run(node.body)
    f.exits.scopes.pop()
    f.exits.scopes.pop()
    if not f.b.terminated:
        f.b.jump(head)
    f.go(ended)
    destroy()
    if node.orelse:
        forget(f, node, hidden.behind, node.known.ended, hidden.measured)
    f.run(node.orelse)
    if not f.b.terminated:
        f.b.jump(done)
    f.go(left)
    destroy()
    f.b.jump(done)
    for exit_, landing in cleanup.landings.items():
        f.go(landing)
        destroy()
        f.b.jump(f.exits.route(exit_))
    f.go(done)
    forget(f, node, hidden.behind, node.known.leaving, hidden.measured)


def _call(f: State, name: str, *args: Value) -> Value:
    f.data.use_extern(EXTERNS[name])
    return f.b.kfunc(name, *args, type=_RESULTS[name])
