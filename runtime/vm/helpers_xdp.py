"""Helpers of XDP programs. Source: net/core/filter.c."""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.vm.contexts_xdp import XdpContext
from pyebpf.runtime.vm.errors import BadArgument
from pyebpf.runtime.vm.run import HelperImplementation, Run

if TYPE_CHECKING:
    from typing import Final


_M32: Final = 0xFFFF_FFFF


def _frame(run: Run, ctx: int) -> XdpContext:
    if not isinstance(run.context, XdpContext) or ctx != run.context.address:
        raise BadArgument(f"{ctx:#x} is not the context of an XDP program")
    return run.context


def _signed(number: int) -> int:
    """The lower half as a C int."""
    number &= _M32
    return number - (number >> 31 << 32)


def xdp_adjust_head(run: Run, ctx: int, delta: int, r3: int, r4: int, r5: int) -> int:
    """Move the start of the frame."""
    return _frame(run, ctx).adjust_head(_signed(delta))


def xdp_adjust_tail(run: Run, ctx: int, delta: int, r3: int, r4: int, r5: int) -> int:
    """Move the end of the frame."""
    return _frame(run, ctx).adjust_tail(_signed(delta))


def xdp_adjust_meta(run: Run, ctx: int, delta: int, r3: int, r4: int, r5: int) -> int:
    """Move the start of the metadata."""
    return _frame(run, ctx).adjust_meta(_signed(delta))


def xdp_get_buff_len(run: Run, ctx: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Bytes of the frame."""
    return _frame(run, ctx).size


def xdp_load_bytes(run: Run, ctx: int, offset: int, buffer: int, size: int, r5: int) -> int:
    """Copy out of the frame."""
    found = _frame(run, ctx).read(offset & _M32, size & _M32)
    if isinstance(found, int):
        return found
    run.memory.write(buffer, found)
    return 0


def xdp_store_bytes(run: Run, ctx: int, offset: int, buffer: int, size: int, r5: int) -> int:
    """Copy into the frame."""
    return _frame(run, ctx).write(offset & _M32, run.memory.read(buffer, size & _M32))


TABLE: Final[dict[str, HelperImplementation]] = {
    function.__name__: function
    for function in (
        xdp_adjust_head,
        xdp_adjust_tail,
        xdp_adjust_meta,
        xdp_get_buff_len,
        xdp_load_bytes,
        xdp_store_bytes,
    )
}
