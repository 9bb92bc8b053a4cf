"""What relations have to do with one another: the same with exchanged sides, the opposite, the one without sign."""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.ops import Pred

if TYPE_CHECKING:
    from typing import Final


MIRRORED: Final = {
    Pred.EQ: Pred.EQ,
    Pred.NE: Pred.NE,
    Pred.ULT: Pred.UGT,
    Pred.ULE: Pred.UGE,
    Pred.UGT: Pred.ULT,
    Pred.UGE: Pred.ULE,
    Pred.SLT: Pred.SGT,
    Pred.SLE: Pred.SGE,
    Pred.SGT: Pred.SLT,
    Pred.SGE: Pred.SLE,
    Pred.TEST: Pred.TEST,
}
"""The relation that holds of (b, a) when the key holds of (a, b)."""

INVERSE: Final = {
    Pred.EQ: Pred.NE,
    Pred.NE: Pred.EQ,
    Pred.ULT: Pred.UGE,
    Pred.ULE: Pred.UGT,
    Pred.UGT: Pred.ULE,
    Pred.UGE: Pred.ULT,
    Pred.SLT: Pred.SGE,
    Pred.SLE: Pred.SGT,
    Pred.SGT: Pred.SLE,
    Pred.SGE: Pred.SLT,
}
"""The relation that holds when the key does not. ``TEST`` has none."""

UNSIGNED: Final = {Pred.SLT: Pred.ULT, Pred.SLE: Pred.ULE, Pred.SGT: Pred.UGT, Pred.SGE: Pred.UGE}
"""The unsigned relation that is the same where both sides are non-negative."""
