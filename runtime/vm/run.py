"""What the parts of the machine know of each other: one run of a program, as helpers and contexts see it.

``translate`` makes Python of the code, ``machine`` runs it, ``helpers``, ``maps`` and ``contexts`` do the kernel's part.
"""

from __future__ import annotations

from collections.abc import Callable

from pyebpf.hints import TYPE_CHECKING, Any, Protocol
from pyebpf.records import dataclass, field
from pyebpf.runtime.vm.memory import Memory
from pyebpf.uapi.constants import AttachType, ProgType

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.runtime.vm.environment import Environment
    from pyebpf.runtime.vm.maps import MachineMap

M64: Final = 0xFFFF_FFFF_FFFF_FFFF


class ContextModel(Protocol):
    """The context of a run: bytes at ``address`` laid out as in linux/bpf.h, with whatever they point to mapped."""

    address: int

    def results(self) -> tuple[bytes, bytes]:
        """After the run: the packet (empty without one) and the context's bytes, as the kernel's test run gives them
        back."""

    def close(self) -> None:
        """Take all of its regions away."""


@dataclass(slots=True)
class Run:
    """One run. ``maps``: by the address that ``ld_imm64`` gives programs for a map. ``call``: runs the function at the
    address of a FUNC reference with up to five arguments and gives its r0, for callbacks. ``extra``: what helpers keep
    for the length of a run (reserved records, held locks)."""

    memory: Memory
    maps: dict[int, MachineMap]
    environment: Environment
    prog_type: ProgType
    attach_type: AttachType | None
    context: Any
    call: Callable[..., int]
    extra: dict[str, Any] = field(default_factory=dict)


HelperImplementation = Callable[[Run, int, int, int, int, int], int]
"""A helper: the run and r1 … r5 as unsigned 64-bit numbers; the result is taken modulo 2**64. Unused arguments may be
anything."""
