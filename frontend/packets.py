"""What happens to references into the packet when the packet is changed: they die, and their use is refused.

The kernel forgets what it knew of packet pointers at every helper that may move or change the packet. A loop or a
called function that does so counts as well: ``State`` at a loop head joins what the last iteration left.
"""

from __future__ import annotations

from pyebpf.diagnostics import Span
from pyebpf.frontend.flow import Fate
from pyebpf.frontend.session import Context
from pyebpf.frontend.types import Maybe, Origin, Ref


def packet_changed(context: Context, span: Span) -> None:
    """Note that the packet is changed at ``span``: every variable that refers to it is dead from here on."""
    context.instance.changes_packet = True
    if context.state is None:
        return
    dead = []
    for variable, knowledge in context.state.known.items():
        of = knowledge.type.of if isinstance(knowledge.type, Maybe) else knowledge.type
        if isinstance(of, Ref) and of.origin is Origin.PACKET and knowledge.fate is None:
            dead.append(variable)
    context.state.end(Fate.PACKET_CHANGED, span, dead)
