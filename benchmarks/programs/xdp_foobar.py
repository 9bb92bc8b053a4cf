"""XDP: drops packets with the word ``foobar`` in their first bytes."""

from __future__ import annotations

import pyebpf as bpf

bpf.license("GPL")

WORD = b"foobar"
POSITIONS = 128


@bpf.struct
class Window:
    """As many bytes of the packet as the word has."""

    text: bytes = bpf.chars(len(WORD))


@bpf.xdp(on_error=bpf.XDP_PASS)
def xdp_foobar(ctx: bpf.Xdp) -> int:
    """The end of the packet ends the search: reading beyond it is an ``IndexError``, and the packet passes."""
    for position in range(POSITIONS):
        if ctx.read(Window, position).text == WORD:
            return bpf.XDP_DROP
    return bpf.XDP_PASS
