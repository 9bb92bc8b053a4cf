"""The helpers of the machine: one function each, in a table by helper number.

A helper that the machine cannot do honestly is not here; a program that calls it gets ``MissingHelper``. What each does
and which errno it gives is the kernel's: kernel/bpf/helpers.c, net/core/filter.c.
"""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.vm import (
    helpers_map,
    helpers_skb,
    helpers_task,
    helpers_text,
    helpers_verdict,
    helpers_xdp,
)
from pyebpf.runtime.vm.run import HelperImplementation
from pyebpf.uapi.helpers import helper_by_name

if TYPE_CHECKING:
    from typing import Final


_TABLES: Final = (
    helpers_map.TABLE,
    helpers_task.TABLE,
    helpers_text.TABLE,
    helpers_skb.TABLE,
    helpers_verdict.TABLE,
    helpers_xdp.TABLE,
)


def _number(name: str) -> int:
    found = helper_by_name(name)
    assert found is not None, name
    return found.id


HELPERS: Final[dict[int, HelperImplementation]] = {
    _number(name): implementation for table in _TABLES for name, implementation in table.items()
}
"""By helper number. bpf_tail_call (12) is the machine's own."""
