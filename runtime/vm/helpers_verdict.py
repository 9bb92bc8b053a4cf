"""Helpers that decide where a packet goes. The machine has no other interfaces and no sockets: as in a test run the
verdict comes out, and the packet goes nowhere. Source: net/core/filter.c, net/core/sock_map.c."""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.vm.errors import BadArgument
from pyebpf.runtime.vm.helpers_map import map_at
from pyebpf.runtime.vm.maps_array import SockArray
from pyebpf.runtime.vm.run import HelperImplementation, Run
from pyebpf.uapi.constants import BPF_F_INGRESS, ProgType

if TYPE_CHECKING:
    from typing import Final


_XDP_ABORTED: Final = 0
_XDP_REDIRECT: Final = 4
_TC_ACT_SHOT: Final = 2
_TC_ACT_REDIRECT: Final = 7
_SK_DROP: Final = 0
_SK_PASS: Final = 1
_NEIGHBOUR_BYTES: Final = 20


def redirect(run: Run, ifindex: int, flags: int, r3: int, r4: int, r5: int) -> int:
    """The verdict that redirects; that which drops where a flag is not allowed."""
    if run.prog_type is ProgType.XDP:
        return _XDP_ABORTED if flags else _XDP_REDIRECT
    return _TC_ACT_SHOT if flags & ~BPF_F_INGRESS else _TC_ACT_REDIRECT


def redirect_peer(run: Run, ifindex: int, flags: int, r3: int, r4: int, r5: int) -> int:
    """As ``redirect``, without flags."""
    return _TC_ACT_SHOT if flags else _TC_ACT_REDIRECT


def redirect_neigh(run: Run, ifindex: int, params: int, size: int, flags: int, r5: int) -> int:
    """As ``redirect``, without flags, with a whole ``struct bpf_redir_neigh`` or none."""
    size &= 0xFFFF_FFFF
    if size:
        run.memory.read(params, size)
    return _TC_ACT_SHOT if flags or 0 < size < _NEIGHBOUR_BYTES else _TC_ACT_REDIRECT


def sk_redirect_map(run: Run, ctx: int, map_: int, key: int, flags: int, r5: int) -> int:
    """SK_PASS if there is a socket."""
    found = map_at(run, map_)
    if not isinstance(found, SockArray):
        raise BadArgument(f"the map {found.spec.name!r} holds no sockets")
    if flags & ~BPF_F_INGRESS or found.object_at(key & 0xFFFF_FFFF) is None:
        return _SK_DROP
    return _SK_PASS


TABLE: Final[dict[str, HelperImplementation]] = {
    function.__name__: function for function in (redirect, redirect_peer, redirect_neigh, sk_redirect_map)
}
