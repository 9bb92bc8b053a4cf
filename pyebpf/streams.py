"""Ring buffers and perf event arrays: streams of records from programs to user space.

In a program records are put in, in user space taken out: one by one, in lists, as numpy arrays, with ``async for``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType

from pyebpf.declare import Buffers, MapDecl
from pyebpf.hints import TYPE_CHECKING, Any, Generic, TypeVar, cast, is_type_variable, overload
from pyebpf.lang import layout_of
from pyebpf.layout import Layout
from pyebpf.maps import _Declared
from pyebpf.uapi.constants import BPF_F_CURRENT_CPU, MapType

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from typing_extensions import TypeVar as TypeVarWithDefault

    from pyebpf.runtime import events
    from pyebpf.runtime.backing import BufferUse

    V = TypeVarWithDefault("V", default=Any)
else:
    V = TypeVar("V")
W = TypeVar("W")


class Reservation(Generic[W]):
    """What ``with ring.reserve(T) as record`` enters; it exists in programs only."""

    def __enter__(self) -> W | None:
        raise TypeError("ring.reserve works inside programs only")

    def __exit__(self, *exception: object) -> None:
        raise TypeError("ring.reserve works inside programs only")


class _Events(_Declared, Generic[V]):
    """What ring buffers and perf event arrays offer to user space.

    Records are decoded as what the stream was declared with (``bpf.RingBuf[Event](size)``), as ``of`` where a method is
    given that, and are bytes otherwise. Several consumers share the records. ``timeout``: seconds, ``None`` for ever.
    """

    if not TYPE_CHECKING:

        def __class_getitem__(cls, of: Any) -> Any:
            if is_type_variable(of):
                return super().__class_getitem__(of)
            value = layout_of(of)

            def make(*args: Any, **options: Any) -> Any:
                self = cls(*args, **options)
                self.__bpf__.value = value
                return self

            return make

    @property
    def live(self) -> events.EventStream:
        """The kernel's map; made now if no program has been loaded with it yet."""
        return cast("events.EventStream", super().live)

    @overload
    def poll(self, of: type[W], timeout: float | None = 0) -> Iterator[W]: ...
    @overload
    def poll(self, of: None = None, timeout: float | None = 0) -> Iterator[V]: ...
    def poll(self, of: Any = None, timeout: float | None = 0) -> Iterator[Any]:
        """Records as they come; ends when none came for ``timeout`` seconds. With 0 it gives what is there now."""
        return self.live.poll(timeout, _layout(of))

    def __iter__(self) -> Iterator[V]:
        """Records as they come, without an end (until ``close``, in another thread)."""
        return self.poll(timeout=None)

    def __aiter__(self) -> AsyncIterator[V]:
        """Records as they come, for ``async for``: other tasks run meanwhile. Cancelling loses none."""
        return self.stream()

    @overload
    def stream(self, of: type[W]) -> AsyncIterator[W]: ...
    @overload
    def stream(self, of: None = None) -> AsyncIterator[V]: ...
    def stream(self, of: Any = None) -> AsyncIterator[Any]:
        """Records as they come, for ``async for``: ``async for event in events.stream(Event)``."""
        return self.live.stream(_layout(of))

    @overload
    def consume(self, callback: Callable[[W], object], of: type[W]) -> int: ...
    @overload
    def consume(self, callback: Callable[[V], object], of: None = None) -> int: ...
    def consume(self, callback: Callable[[Any], object], of: Any = None) -> int:
        """Call ``callback`` with each record that is there; how many there were. Never waits. An exception of the callback
        goes through, and the records behind stay."""
        return self.live.consume(callback, _layout(of))

    @overload
    def batch(self, of: type[W], timeout: float | None = None, *, limit: int | None = None) -> list[W]: ...
    @overload
    def batch(
        self, of: None = None, timeout: float | None = None, *, limit: int | None = None
    ) -> list[V]: ...
    def batch(self, of: Any = None, timeout: float | None = None, *, limit: int | None = None) -> list[Any]:
        """A list of all records that are there, at most ``limit``; waits for the first one. Empty if none came."""
        return self.live.batch(timeout, _layout(of), limit=limit)

    @overload
    def read_all(self, of: type[W]) -> list[W]: ...
    @overload
    def read_all(self, of: None = None) -> list[V]: ...
    def read_all(self, of: Any = None) -> list[Any]:
        """A list of all records that are there now. Never waits."""
        return self.live.read_all(_layout(of))

    def numpy(self, of: type | None = None, *, timeout: float | None = 0) -> np.ndarray[Any, Any]:
        """All records that are there as a numpy array, whose columns are the fields: ``a["time"]``. Waits at most
        ``timeout`` seconds for the first one. It may be read-only. Needs numpy: ``pip install pyebpf[numpy]``."""
        return self.live.numpy(_layout(of), timeout=timeout)

    def use(self) -> BufferUse:
        """How full the buffer is: ``size``, ``waiting``, ``produced``, ``consumed``, in bytes."""
        return self.live.use()

    def fileno(self) -> int:
        """A descriptor that is readable while there are records, for ``select`` and event loops."""
        return self.live.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it: what was not taken is dropped."""
        self.close()


class RingBuf(_Events[V]):
    """A stream of records to user space, in one buffer for all CPUs. ``BPF_MAP_TYPE_RINGBUF``.

    ``size`` in bytes: a power of two, a multiple of the page size. In a program ``with events.reserve(Event) as e`` or
    ``events.output(record)``, in user space ``for event in events``, ``events.poll(Event)`` and others. Where the buffer
    is full, ``reserve`` gives ``None`` and ``output`` an error number: the kernel does not count losses, a program can.
    """

    TYPE = MapType.RINGBUF

    def __init__(self, size: int, *, name: str | None = None) -> None:
        if size < 4096 or size & (size - 1):
            raise ValueError(
                f"the size of a ring buffer is a power of two of at least 4096 bytes, not {size}"
            )
        self.__bpf__ = MapDecl(self.TYPE, None, None, size, name=name)

    def reserve(self, of: type[W]) -> Reservation[W]:
        """A zeroed record in the buffer, or ``None`` where it is full; leaving the ``with`` submits it."""
        raise TypeError("ring.reserve works inside programs only")

    def output(self, record: object, flags: int = 0) -> int:
        """Copy ``record`` into the buffer; 0 or a negative error number."""
        raise TypeError("ring.output works inside programs only")


class PerfEventArray(_Events[V]):
    """A stream of records to user space, with a buffer for each CPU. ``BPF_MAP_TYPE_PERF_EVENT_ARRAY``.

    Ring buffers are the better choice where there is one, from Linux 5.8 on: they keep the order and share their memory.
    ``pages``: memory of each CPU's buffer, a power of two; ``wakeup``: a consumer that waits is woken after so many
    records on a CPU. In a program ``events.output(ctx, record)``; user space as with ``RingBuf``. Records that are taken
    as bytes end with up to 7 bytes of padding.
    """

    TYPE = MapType.PERF_EVENT_ARRAY

    def __init__(self, *, pages: int = 64, wakeup: int = 1, name: str | None = None) -> None:
        if pages < 1 or pages & (pages - 1):
            raise ValueError(f"a perf buffer has a power of two of pages, not {pages}")
        if wakeup < 1:
            raise ValueError(f"consumers are woken after 1 record or more, not {wakeup}")
        self.__bpf__ = MapDecl(self.TYPE, None, None, 0, name=name, buffers=Buffers(pages, wakeup))

    def output(self, ctx: object, record: object, flags: int = BPF_F_CURRENT_CPU) -> int:
        """Copy ``record`` into the buffer of this CPU, or of the one that ``flags`` says; 0 or a negative error number."""
        raise TypeError("events.output works inside programs only")

    @property
    def lost(self) -> int:
        """How many records did not fit, as far as the kernel has said: it does when there is room again."""
        return self.live.lost or 0

    @property
    def on_lost(self) -> Callable[[int], object] | None:
        """Called with the number of records that were lost since the last time; ``None``: there is a ``LostEvents``
        warning."""
        return self.live.on_lost

    @on_lost.setter
    def on_lost(self, callback: Callable[[int], object] | None) -> None:
        self.live.on_lost = callback


def poll(*streams: _Events[Any], timeout: float | None = None) -> Iterator[tuple[_Events[Any], Any]]:
    """The records of several ring buffers or perf event arrays as they come, each with where it came from.

    Ends when none came for ``timeout`` seconds (0: what is there, ``None``: never). Raises ``ValueError`` without a
    stream.
    """
    from pyebpf.runtime.events_together import poll as poll_live

    declared = {stream.live: stream for stream in streams}
    return ((declared[live], event) for live, event in poll_live(*declared, timeout=timeout))


def _layout(of: object) -> Layout | None:
    return None if of is None else layout_of(of)
