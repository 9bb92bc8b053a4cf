"""Many records of events at once: where they lie in memory that was copied out of a buffer, and what they mean.

Records of one length that follow one another are a ``Run``, which is decoded as a whole: by ``struct`` into objects,
or by numpy without looking at a single record. Ring and perf buffers (``ring_memory``, ``perf_memory``) find the runs.
"""

from __future__ import annotations

import functools
import struct
import sys
from collections.abc import Callable, Iterable, Sequence

from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, Order, StructType
from pyebpf.records import dataclass
from pyebpf.runtime.constructors import Constructor, constructor
from pyebpf.runtime.map_codec import codec_for

if TYPE_CHECKING:
    from typing import Final

    import numpy as np

_ORDER: Final = "<" if sys.byteorder == "little" else ">"
_FIRST_LOOK: Final = 32
"""How many records are compared before it is known that they are alike."""


@dataclass(frozen=True, slots=True)
class Run:
    """``count`` records of ``length`` bytes, the first one's header at ``start``, the next at ``start + stride``."""

    start: int
    stride: int
    length: int
    count: int

    def after(self, count: int) -> Run:
        """The run without its first ``count`` records."""
        return Run(self.start + count * self.stride, self.stride, self.length, self.count - count)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in ``data``, which is a copy. Each has ``header`` bytes before it."""

    data: bytes
    header: int
    runs: list[Run]

    @property
    def count(self) -> int:
        """How many records."""
        return sum(run.count for run in self.runs)

    def split(self, count: int) -> tuple[Batch, Batch]:
        """The first ``count`` records, fewer than all, and the others."""
        index = 0
        while count >= self.runs[index].count:
            count -= self.runs[index].count
            index += 1
        run = self.runs[index]
        first = [*self.runs[:index], *([Run(run.start, run.stride, run.length, count)] if count else [])]
        others = [run.after(count), *self.runs[index + 1 :]]
        return Batch(self.data, self.header, first), Batch(self.data, self.header, others)


def split(batches: Sequence[Batch], count: int) -> tuple[list[Batch], list[Batch]]:
    """The first ``count`` records of several batches, and the others."""
    for index, batch in enumerate(batches):
        here = batch.count
        if count < here:
            first, others = batch.split(count)
            return [*batches[:index], *([first] if count else [])], [others, *batches[index + 1 :]]
        count -= here
    return list(batches), []


def append_run(runs: list[Run], start: int, stride: int, length: int, count: int) -> None:
    """Add records behind those of ``runs``, to the last run where they continue it."""
    if runs:
        last = runs[-1]
        if last.length == length and last.stride == stride and last.start + last.count * stride == start:
            runs[-1] = Run(last.start, stride, length, last.count + count)
            return
    runs.append(Run(start, stride, length, count))


def same_at_start(words: bytes, word: bytes) -> int:
    """How often ``words`` repeats ``word`` from its start on."""
    size = len(word)
    low, high = 0, len(words) // size
    if words == word * high:
        return high
    while low < high - 1:
        middle = (low + high) // 2
        if words[: middle * size] == word * middle:
            low = middle
        else:
            high = middle
    return low


def alike(words: memoryview, at: int, stride: int, most: int) -> int:
    """How many records, at most ``most``, begin with the same word as the one at the byte ``at``, one every ``stride``
    bytes. If that word tells the stride, these are records: each begins where the one before it ends."""
    first, step = at // words.itemsize, stride // words.itemsize
    heads = words[first : first + (most - 1) * step + 1 : step].tobytes()
    return same_at_start(heads, heads[: words.itemsize])


class RunFinder:
    """How many records to expect alike: many where there were many, and none for a while where there were few."""

    __slots__ = ("_look", "_singles", "_words")

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._look = _FIRST_LOOK
        self._singles = 0

    def count(self, at: int, stride: int, end: int) -> int:
        """How many records at the byte ``at`` and behind it, before ``end``, are known to be like the first one."""
        if self._singles:
            self._singles -= 1
            return 1
        most = min(self._look, (end - at + stride - 1) // stride)
        count = alike(self._words, at, stride, most)
        if count == most:
            self._look *= 8
        else:
            self._look = _FIRST_LOOK
            self._singles = _FIRST_LOOK if count < 4 else 0
        return count


class EventCodec:
    """Decodes records as ``layout``, or gives bytes where that is ``None``. A record may be longer than its layout."""

    __slots__ = ("_dtypes", "_structs", "layout", "size")

    def __init__(self, layout: Layout | None) -> None:
        self.layout = layout
        self.size = 0 if layout is None else layout.size
        self._structs: dict[int, Callable[[memoryview], Iterable[tuple[Any, ...]]]] = {}
        self._dtypes: dict[tuple[int, int], np.dtype[Any]] = {}

    def objects(self, batch: Batch, run: Run) -> list[Any]:
        """The values of a run, whose records are not shorter than the layout."""
        data, header = batch.data, batch.header
        if self.layout is None:
            first, length = run.start + header, run.length
            end = first + run.count * run.stride
            return [data[at : at + length] for at in range(first, end, run.stride)]
        made = _constructor(self.layout)
        if made is None:
            return self._slowly(batch, run, self.layout)
        unpack = self._structs.get(run.stride << 8 | header)
        if unpack is None:
            behind = run.stride - header - self.size
            unpack = struct.Struct(f"{_ORDER}{header}x{made.format}{behind}x").iter_unpack
            self._structs[run.stride << 8 | header] = unpack
        part = memoryview(data)[run.start : run.start + run.count * run.stride]
        return made.rows(unpack(part))

    def _slowly(self, batch: Batch, run: Run, layout: Layout) -> list[Any]:
        decode = codec_for(layout, layout.size).decode
        first = run.start + batch.header
        places = range(first, first + run.count * run.stride, run.stride)
        return [_changeable(decode(batch.data, at), layout) for at in places]

    def array(self, batches: Sequence[Batch]) -> np.ndarray[Any, Any]:
        """The records as a numpy array of the layout's ``dtype``; of ``uint8`` rows where there is no layout, which
        needs records of one length.

        Where all records follow one another the array lies over the copied memory and is read-only. Raises
        ``ValueError`` for records that are too short, or of several lengths.
        """
        np = _numpy()
        parts = []
        for batch in batches:
            for run in batch.runs:
                dtype = self._dtype(run.length, run.stride, batch.header)
                parts.append(np.frombuffer(batch.data, dtype, run.count, run.start))
        if self.layout is None:
            lengths = {part.dtype["record"].shape[0] for part in parts}
            if len(lengths) > 1:
                raise ValueError(
                    f"records of {len(lengths)} lengths do not make an array; say what they are: "
                    "`numpy(of=…)`, or take them as bytes"
                )
            rows = [part["record"] for part in parts]
            return rows[0] if len(rows) == 1 else np.concatenate(rows or [np.empty((0, 0), np.uint8)])
        if len(parts) == 1:
            return _valued(parts[0])
        if not parts:
            return np.empty(0, numpy_dtype(self.layout))
        if len({part.dtype for part in parts}) == 1:
            return _valued(np.concatenate(parts))
        packed = numpy_dtype(self.layout)
        return np.concatenate([_valued(part).astype(packed) for part in parts])

    def _dtype(self, length: int, stride: int, header: int) -> np.dtype[Any]:
        """Of one record with its header: the layout's fields where they lie, nothing for what is between."""
        np = _numpy()
        found = self._dtypes.get((length, stride << 8 | header))
        if found is not None:
            return found
        if self.layout is None:
            spec: dict[str, Any] = {"names": ["record"], "formats": [(np.uint8, (length,))]}
            spec["offsets"] = [header]
        else:
            inner = numpy_dtype(self.layout)
            if inner.names is None:
                spec = {"names": [_SINGLE], "formats": [inner], "offsets": [header]}
            else:
                fields = [inner.fields[name] for name in inner.names] if inner.fields is not None else []
                spec = {"names": list(inner.names), "formats": [field[0] for field in fields]}
                spec["offsets"] = [field[1] + header for field in fields]
        found = np.dtype({**spec, "itemsize": stride})
        self._dtypes[length, stride << 8 | header] = found
        return found


def _changeable(value: Any, layout: Layout) -> Any:
    """``value``, with the objects of the user's classes in it not frozen, as the values of maps are."""
    match layout:
        case ArrayType(element=ArrayType() | StructType() as element):
            for item in value:
                _changeable(item, element)
        case StructType(python_class=made, fields=fields) if made is not None:
            object.__setattr__(value, "__class__", made)
            for field in fields:
                _changeable(getattr(value, field.name), field.layout)
    return value


_SINGLE: Final = "(value)"
"""The field of records that are no structs: no name that a struct's field can have."""


def _valued(records: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The values in ``records``: a field of its own where the layout is no struct."""
    single: np.ndarray[Any, Any] = records[_SINGLE] if records.dtype.names == (_SINGLE,) else records
    return single


def _numpy() -> Any:
    try:
        import numpy
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "events as arrays need numpy, which is not installed: pip install 'pyebpf[numpy]'", name="numpy"
        ) from None
    return numpy


@functools.lru_cache(maxsize=256)
def _constructor(layout: Layout) -> Constructor | None:
    return constructor(layout)


@functools.lru_cache(maxsize=256)
def event_codec(layout: Layout | None) -> EventCodec:
    """The codec of ``layout``."""
    return EventCodec(layout)


def numpy_dtype(layout: Layout) -> np.dtype[Any]:
    """The ``dtype`` of ``layout``: integers in their byte order, byte strings without their zeros at the end, arrays
    as subarrays, structs as records of the same size."""
    np = _numpy()
    match layout:
        case IntType(signed=signed, size=size, order=order):
            mark = {Order.NATIVE: "=", Order.LITTLE: "<", Order.BIG: ">"}[order]
            return np.dtype(f"{mark}{'i' if signed else 'u'}{size}")
        case BytesType(length=length):
            return np.dtype(f"S{length}")
        case ArrayType(element=element, length=length):
            return np.dtype((numpy_dtype(element), (length,)))
        case StructType(fields=fields):
            return np.dtype(
                {
                    "names": [field.name or f"_{index}" for index, field in enumerate(fields)],
                    "formats": [numpy_dtype(field.layout) for field in fields],
                    "offsets": [field.offset for field in fields],
                    "itemsize": layout.size,
                }
            )
