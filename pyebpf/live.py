"""What is alive in a world, as protocols: programs, data sections, loaded objects and what loads them.

``pyebpf.runtime.load`` and ``pyebpf.runtime.vm.load`` both have these shapes.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyebpf.hints import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from pyebpf.ready import Ready
    from pyebpf.runtime.maps import Map
    from pyebpf.runtime.run_result import RunResult


class Closable(Protocol):
    """What can be let go of."""

    def close(self) -> None:
        """Let go; again is harmless."""


class Attachment(Closable, Protocol):
    """A program at its hook."""

    @property
    def attached(self) -> bool:
        """Whether this object still holds the attachment."""


class LiveProgram(Closable, Protocol):
    """A loaded program."""

    def run(self, data: bytes = b"", *, repeat: int = 1, ctx: bytes | None = None) -> RunResult:
        """Run it on data, or on a context."""


class LiveData(Closable, Protocol):
    """A data section with its variables by name."""

    def read(self, name: str) -> Any:
        """The value of a variable now."""

    def write(self, name: str, value: Any) -> None:
        """Set a variable. Raises ``BpfError`` for a constant."""


P = TypeVar("P", bound=LiveProgram)
D = TypeVar("D", bound=LiveData)
P_co = TypeVar("P_co", bound=LiveProgram, covariant=True)
D_co = TypeVar("D_co", bound=LiveData, covariant=True)


class LiveObject(Protocol[P_co, D_co]):
    """What loading an ``ObjectSpec`` gives; ``close`` closes what that loading made."""

    @property
    def programs(self) -> Mapping[str, P_co]:
        """The programs by name."""

    @property
    def maps(self) -> Mapping[str, Map]:
        """The maps by name, those that were given included."""

    @property
    def data(self) -> Mapping[str, D_co]:
        """The data sections by name, those that were given included."""

    def close(self) -> None:
        """Close what was made."""


class Loader(Protocol[P_co, D]):
    """How a world loads: ``pyebpf.runtime.load.load``, or the machine's."""

    def __call__(
        self, ready: Ready, *, maps: Mapping[str, Map], data: Mapping[str, D], log_level: int
    ) -> LiveObject[P_co, D]:
        """Load what is ready with maps and data sections that exist already."""
