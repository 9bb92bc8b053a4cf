"""Histograms of what programs counted: text in the form that BCC and bpftrace use, and figures of matplotlib.

A program counts in a map by ``bpf.log2l(value)`` (or by the value itself, or by the value divided by a step); user space
hands the map, or any mapping from buckets to counts, to ``print_hist`` (or ``print_linear_hist``).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping

from pyebpf.hints import TYPE_CHECKING, Any, Protocol
from pyebpf.records import dataclass

if TYPE_CHECKING:
    from typing import Final, TextIO

    from matplotlib.figure import Figure

_BITS: Final = 64
_WIDEST: Final = 60
_NARROWEST: Final = 8
_GAP: Final = 8
"""So many empty rows and more are left out."""

Choice = str | Callable[[Any], Any] | None
"""A part of a key: the name of a field, a function of the key, or ``None``."""


class Counts(Protocol):
    """A map, or any other mapping from buckets (or keys with a bucket) to counts."""

    def items(self) -> Any:
        """The pairs."""


@dataclass(frozen=True, slots=True)
class _Scale:
    """What buckets stand for: powers of two, or multiples of ``step``."""

    log2: bool
    step: int = 1

    def low(self, bucket: int) -> int:
        """The least value of a bucket."""
        if not self.log2:
            return bucket * self.step
        return 1 << bucket if bucket else 0

    def range(self, bucket: int) -> str:
        """The values of a bucket, for people."""
        low, high = self.low(bucket), self.low(bucket + 1) - 1
        return f"{low}" if low == high else f"{low} -> {high}"

    def check(self, bucket: object, given: object) -> int:
        """``bucket`` as an integer. Raises ``TypeError`` or ``ValueError`` where it is none of this scale."""
        if not isinstance(bucket, int):
            raise TypeError(
                f"the buckets of a histogram are integers, not {type(bucket).__name__}: "
                f"say which part of {given!r} the bucket is, with bucket="
            )
        if self.log2 and not 0 <= bucket < _BITS:
            raise ValueError(f"{bucket} is no bucket of bpf.log2l, which are 0 to {_BITS - 1}")
        return bucket


def print_hist(
    counts: Counts,
    label: str = "value",
    *,
    bucket: Choice = None,
    section: Choice = None,
    width: int | None = None,
    file: TextIO | None = None,
) -> str:
    """Print counts by powers of two, as ``bpf.log2l`` gives them: bucket n counts 2**n to 2**(n+1) - 1, bucket 0 also 0.

    ``counts``: a map or mapping from buckets to counts; counts for each CPU are added up. ``label``: what was measured.
    Where keys are structs or tuples, ``bucket`` names the field with the bucket (or is a function of the key), and
    ``section`` the part of the key that gets a histogram of its own, in order. ``width``: of the lines, if not the
    terminal's. ``file``: if not standard output. Returns the text.
    """
    return _print(counts, label, _Scale(log2=True), bucket, section, width, file)


def print_linear_hist(
    counts: Counts,
    label: str = "value",
    *,
    step: int = 1,
    bucket: Choice = None,
    section: Choice = None,
    width: int | None = None,
    file: TextIO | None = None,
) -> str:
    """Print counts by value: bucket n counts n, or the ``step`` values from n * ``step`` on. The rest is as for
    ``print_hist``."""
    if step < 1:
        raise ValueError(f"the step of a histogram is 1 or more, not {step}")
    return _print(counts, label, _Scale(log2=False, step=step), bucket, section, width, file)


def plot_hist(
    counts: Counts,
    label: str = "value",
    *,
    linear: bool = False,
    step: int = 1,
    bucket: Choice = None,
    section: Choice = None,
) -> Figure:
    """A matplotlib figure of what ``print_hist`` prints (``linear``: ``print_linear_hist``), sections below one another.

    Notebooks show it; ``figure.savefig("hist.png")`` writes it. Needs matplotlib: ``pip install pyebpf[plot]``.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "figures need matplotlib, which is not installed: pip install 'pyebpf[plot]'", name="matplotlib"
        ) from None
    if step < 1:
        raise ValueError(f"the step of a histogram is 1 or more, not {step}")
    scale = _Scale(log2=not linear, step=step)
    found = _sections(counts, scale, bucket, section) or {None: {}}
    figure = Figure(figsize=(8, 3 * len(found)), layout="constrained")
    for axes, (title, rows) in zip(
        figure.subplots(len(found), squeeze=False)[:, 0], found.items(), strict=True
    ):
        span = range(min(rows), max(rows) + 1) if rows else range(0)
        if scale.log2:
            axes.bar(list(span), [rows.get(n, 0) for n in span], width=0.9)
            axes.set_xticks(list(span), [scale.range(n) for n in span], rotation=45, ha="right", fontsize=8)
        else:
            axes.bar(
                [scale.low(n) for n in rows],
                list(rows.values()),
                width=0.9 * step,
                align="edge" if step > 1 else "center",
            )
        axes.set_xlabel(label)
        axes.set_ylabel("count")
        if title is not None:
            axes.set_title(_name(title))
    return figure


def _print(
    counts: Counts,
    label: str,
    scale: _Scale,
    bucket: Choice,
    section: Choice,
    width: int | None,
    file: TextIO | None,
) -> str:
    found = _sections(counts, scale, bucket, section)
    columns = width if width is not None else shutil.get_terminal_size().columns
    parts = []
    for title, rows in found.items():
        head = [] if section is None else [_name(title)]
        parts.append("\n".join([*head, *_lines(rows, label, scale, columns)]))
    text = "\n\n".join(parts) if parts else f"{label}: nothing was counted"
    print(text, file=file if file is not None else sys.stdout)
    return text


def _name(title: object) -> str:
    return title.decode(errors="replace") if isinstance(title, bytes) else str(title)


def _part(key: Any, choice: Choice) -> Any:
    if choice is None:
        return key
    if callable(choice):
        return choice(key)
    if isinstance(key, Mapping):
        return key[choice]
    return getattr(key, choice)


def _sections(counts: Counts, scale: _Scale, bucket: Choice, section: Choice) -> dict[Any, dict[int, int]]:
    """The counts that are not 0 by section and bucket, both in order."""
    found: dict[Any, dict[int, int]] = {}
    for key, value in counts.items():
        number = scale.check(_part(key, bucket), key)
        count = sum(value) if isinstance(value, tuple | list) else value
        if count:
            rows = found.setdefault(None if section is None else _part(key, section), {})
            rows[number] = rows.get(number, 0) + count
    try:
        titles = sorted(found)
    except TypeError:  # sections of several kinds, or structs
        titles = sorted(found, key=repr)
    return {title: dict(sorted(found[title].items())) for title in titles}


def _rows(rows: Mapping[int, int]) -> Iterator[tuple[int, int] | None]:
    """All buckets from the first to the last with their counts; ``None`` for many empty ones in a row."""
    last: int | None = None
    for bucket, count in rows.items():
        if last is not None:
            missing = range(last + 1, bucket)
            if len(missing) >= _GAP:
                yield None
            else:
                yield from ((n, 0) for n in missing)
        yield bucket, count
        last = bucket


def _lines(rows: Mapping[int, int], label: str, scale: _Scale, columns: int) -> Iterator[str]:
    most = max(rows.values())
    left = max(len(label), *(len(scale.range(bucket)) for bucket in rows))
    middle = max(len("count"), len(str(most)))
    room = max(_NARROWEST, min(_WIDEST, columns - left - middle - len(" :  ||")))
    yield f"{label:>{left}} : {'count':<{middle}}  distribution"
    for row in _rows(rows):
        if row is None:
            yield f"{'...':>{left}} :"
            continue
        bucket, count = row
        stars = "*" * (-(-count * room // most) if count > 0 else 0)
        yield f"{scale.range(bucket):>{left}} : {count:<{middle}} |{stars:<{room}}|"
