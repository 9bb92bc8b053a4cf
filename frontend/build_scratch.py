"""Objects that are too large for the stack, in scratch memory.

Each function that needs it has a per-CPU array of ``SLOTS`` values: a counter of those who hold the value or are just
trying to, and the objects. A call takes the first value whose counter is 1 after it has added 1, and gives it back on every
way out::

    for i in range(SLOTS):
        value = lookup(i)
        value.users += 1  (atomic)
        if value.users == 1: it is ours
        value.users -= 1  (atomic)
    raise MemoryError

Programs interrupt each other on a CPU, also a program itself through what it calls, but none of them moves to another CPU.
Who holds a value has added 1 and not taken it back, so whoever comes later finds at least 2: two never hold one value,
wherever one interrupts the other. (With an exchange it would take one atomic operation less, but Linux 5.12.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyebpf.frontend import tree
from pyebpf.frontend.build_calls import copy_result, give_result
from pyebpf.frontend.build_exits import CleanupScope, Leave
from pyebpf.frontend.build_frame import Calling, result_in_record
from pyebpf.frontend.build_state import USERS_BYTES, Place, Scratch, State
from pyebpf.frontend.types import NoneT, Ref
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.ops import BinOp, Pred, Value
from pyebpf.ir.types import PtrTy, Space
from pyebpf.layout import U32, U64, ArrayType
from pyebpf.object import MapSpec
from pyebpf.uapi.constants import MapType

if TYPE_CHECKING:
    from typing import Final


SLOTS: Final = 8
"""So many activations of a function find room on one CPU. Task, soft interrupt, interrupt and NMI nest four deep; programs
that are preempted, and those that enter themselves again, add to that."""
VALUE_LIMIT: Final = 32_768
"""The largest value of a per-CPU map (``PCPU_MIN_UNIT_SIZE`` in include/linux/percpu.h)."""


@contextmanager
def scratch_memory(f: State) -> Iterator[None]:
    """Take scratch memory at the begin of the function; what is lowered inside has it; give it back on every way out."""
    name = _unused_name(f)
    found, base = _take(f, name)
    f.scratch = Scratch(base)
    cleanup = CleanupScope()
    f.exits.scopes.append(cleanup)
    yield
    f.exits.scopes.pop()
    size = f.scratch.end
    found.type, base.type = PtrTy(Space.MAP_VALUE, size, nullable=True), PtrTy(Space.MAP_VALUE, size)
    words = ArrayType(U64, size // 8)
    f.data.module.maps[name] = MapSpec(name, MapType.PERCPU_ARRAY, 4, size, SLOTS, key=U32, value=words)
    if not f.b.terminated:
        if isinstance(f.source.result, NoneT):
            f.give_back()
            give_result(f, None)
        else:
            f.b.unreachable()  # every way ends in a return
    for exit_, landing in cleanup.landings.items():
        f.go(landing)
        result = f.source.result
        if exit_ is Leave.RETURN and isinstance(result, Ref) and _made_for_caller(f):
            # before it is given back: whoever interrupts may take it then
            made = f.b.load(f.exits.result(), 0, 8, type=f.type_of(result))
            copy_result(f, Place(made, 0, result.layout.align))
            f.give_back()
            f.b.ret()
        else:
            f.give_back()
            f.b.jump(f.exits.route(exit_))


def _made_for_caller(f: State) -> bool:
    return result_in_record(f.source) and f.frame.calling is Calling.CALL


def _take(f: State, name: str) -> tuple[Value, Value]:
    index = f.b.alloca(8, 8, "scratch.index")
    key = f.temporary("key", 4)
    kind = PtrTy(Space.MAP_VALUE, VALUE_LIMIT, nullable=True)
    attempt, trying, ours = (f.b.new_block(n) for n in ("scratch", "trying", "ours"))
    busy = f.exits.cold_block("busy")
    none_free = f.exits.route(tree.Exc.MEMORY)
    f.b.store(index, 0, 8, f.b.const(0))
    f.jump_to(attempt)
    f.b.store(key.pointer, key.offset, 4, f.b.load(index, 0, 8))
    found = f.helper("map_lookup_elem", f.b.map_ref(name), key.pointer, type=kind)
    f.b.branch(f.b.cmp(Pred.EQ, found, f.b.null(kind)), none_free, trying, unlikely=True)
    f.go(trying)
    base = f.b.nonnull(found)
    f.count_users(base, 1)
    f.b.branch(f.b.cmp(Pred.NE, f.b.load(base, 0, USERS_BYTES), f.b.const(1)), busy, ours, unlikely=True)
    f.go(busy)
    f.count_users(base, -1)
    following = f.b.binary(BinOp.ADD, f.b.load(index, 0, 8), f.b.const(1))
    f.b.store(index, 0, 8, following)
    f.b.branch(f.b.cmp(Pred.UGE, following, f.b.const(SLOTS)), none_free, attempt)
    f.go(ours)
    return found, base


def _unused_name(f: State) -> str:
    taken = {*f.data.module.maps, *(function.name for function in f.frames)}
    name, number = f"{f.source.name}_scratch", 2
    while name in taken:
        name, number = f"{f.source.name}_scratch{number}", number + 1
    return name
