"""The static types of expressions in a typed tree: integers with an interval, references with a provenance, handles.

Acceptance rules ("may be negative", "shift count in 0…63", "index inside") are decided on these types alone, so
they depend on what the user wrote and never on an optimisation.
"""

from __future__ import annotations

from pyebpf import btf, enums
from pyebpf.declare import ContextDecl, MapDecl
from pyebpf.layout import Layout
from pyebpf.records import dataclass

I64_MIN, I64_MAX, U64_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Int:
    """A 64-bit integer value, ``u64`` or ``i64``, known to lie in ``lo … hi`` (both included).

    The interval takes arithmetic not to wrap (a result that would pass 2**63 or 2**64 is clamped to the type's
    bounds). ``seen``: the interval holds also for wrapped results *and* the kernel's verifier can follow it, so a
    run-time check may be left out on its strength. Intervals that only acceptance may use have ``seen=False``.
    ``exact``: the interval holds also for wrapped results, whether the verifier follows it or not.
    """

    unsigned: bool
    lo: int
    hi: int
    seen: bool = True
    exact: bool = True

    @property
    def nonnegative(self) -> bool:
        """No value of it is below zero."""
        return self.lo >= 0

    def __str__(self) -> str:
        return "u64" if self.unsigned else "i64"


@dataclass(frozen=True, slots=True)
class Bool:
    """True or False; an integer 0 or 1 where one is wanted (``ToInt`` says so in the tree)."""

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True, slots=True)
class NoneT:
    """The type of ``None`` and of calls without a result."""

    def __str__(self) -> str:
        return "None"


class Origin(enums.Enum):
    """Where a reference points, for rights and for the kernel's rules."""

    LOCAL = "local"  # this activation's stack
    CALLER = "caller"  # stack memory of a caller, through a parameter
    MAP_VALUE = "map value"
    GLOBAL = "global"
    CONSTANT = "constant"  # .rodata: may not be written
    PACKET = "packet"
    RECORD = "ring buffer record"
    MIXED = "memory of several kinds"  # a join of LOCAL, CALLER, MAP_VALUE and GLOBAL: writable, never in the packet


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to storage laid out as ``layout`` (a scalar's storage, a struct, an array, bytes).

    Never null. ``shared``: other CPUs may change it at the same time (map values that are not per-CPU, globals), so
    ``+=`` on it is atomic. ``owner``: the map of a map value.
    """

    layout: Layout
    origin: Origin
    shared: bool = False
    owner: MapDecl | None = None

    def __str__(self) -> str:
        return self.layout.name


class Handle(enums.Enum):
    """Kernel objects that helpers return and take, and that programs cannot look into as memory of a layout."""

    SOCKET = "socket"
    PACKET_START = "packet pointer"
    PACKET_END = "packet end"
    KERNEL = "kernel object"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Pointer:
    """A handle to a kernel object. Never null."""

    handle: Handle

    def __str__(self) -> str:
        return self.handle.value


class Trust(enums.Enum):
    """How a program may read through an address in the kernel."""

    TRACKED = "tracked"  # the verifier knows the object (by BTF id) and lets programs load its fields
    PROBED = "probed"  # a number to the verifier: read by ``probe_read_kernel``


@dataclass(frozen=True, slots=True)
class Kernel:
    """An address in the kernel of something of the type ``of``: a struct, an array, a scalar.

    As in C it may be null or wild: reading through it then gives zeros. ``of`` is without typedefs and qualifiers, and is one
    of the target's own types or one that the program declares; ``None`` is C's ``void``.
    """

    of: btf.Type | None
    trust: Trust = Trust.PROBED

    def __str__(self) -> str:
        return f"{btf.describe(self.of)} *"


@dataclass(frozen=True, slots=True)
class User:
    """An address in the memory of the current task, of something laid out as ``layout`` (None: bytes). May be anything."""

    layout: Layout | None

    def __str__(self) -> str:
        return f"User[{'bytes' if self.layout is None else self.layout.name}]"


@dataclass(frozen=True, slots=True)
class Maybe:
    """``of`` or ``None``: must be narrowed (``is None``, truth test) before use."""

    of: Ref | Pointer

    def __str__(self) -> str:
        return f"{self.of} | None"


@dataclass(frozen=True, slots=True)
class ContextPtr:
    """The program's context argument."""

    decl: ContextDecl

    def __str__(self) -> str:
        return self.decl.context.name


Type = Int | Bool | NoneT | Ref | Pointer | Kernel | User | Maybe | ContextPtr

U64 = Int(True, 0, U64_MAX)
I64 = Int(False, I64_MIN, I64_MAX)
BOOL = Bool()
NONE = NoneT()
