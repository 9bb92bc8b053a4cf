"""Dead code: operations whose result nobody needs.

::

    %1 = load.8 i64 %p + 0
    %2 = add i64 %1, %n               →      return %n
    %3 = helper ktime_get_ns(): i64
    return %n

Liveness is computed forwards from what must stay, so that cycles of phis that only feed each other go too.
Helpers stay, whatever becomes of their results, but for a short list of those that only look at something.
Writes to memory stay too; ``dead_stores`` knows which of them nobody reads.

Requires: nothing. Invalidates: nothing that is left.
"""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir import ops
from pyebpf.ir.edit import remove_ops
from pyebpf.ir.ops import Effects, Function, Op, Value
from pyebpf.uapi.helpers import helper_by_name

if TYPE_CHECKING:
    from typing import Final


_LOOKS_ONLY: Final = (
    "get_current_cgroup_id",
    "get_current_pid_tgid",
    "get_current_task",
    "get_current_uid_gid",
    "get_numa_node_id",
    "get_prandom_u32",
    "get_smp_processor_id",
    "jiffies64",
    "ktime_get_boot_ns",
    "ktime_get_coarse_ns",
    "ktime_get_ns",
    "ktime_get_tai_ns",
)
LOOKS_ONLY: Final = frozenset(row.id for row in map(helper_by_name, _LOOKS_ONLY) if row is not None)
"""Helpers whose call may be dropped when the result is unused."""


def run(function: Function) -> bool:
    """Remove what is dead. Returns whether there was anything."""
    live: set[Value] = {op for op in function.ops() if _must_stay(op)}
    work = list(live)
    while work:
        for operand in work.pop().operands():
            if operand not in live:
                live.add(operand)
                work.append(operand)
    dead = {op for op in function.ops() if op not in live}
    remove_ops(function, dead)
    return bool(dead)


def _must_stay(op: Op) -> bool:
    """Whether ``op`` does something besides giving its result."""
    if isinstance(op, ops.CallHelper):
        return op.helper not in LOOKS_ONLY
    return bool(op.EFFECTS & (Effects.WRITES | Effects.TERMINATES))
