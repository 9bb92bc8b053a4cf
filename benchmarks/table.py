"""Tables of ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table: what ``ours`` and each rival's figure is; ``None`` where a rival has none."""

    label: str
    ours: float
    rivals: tuple[float | None, ...]


def ratio(ours: float, theirs: float | None) -> float | None:
    """Ours divided by theirs; one where both are zero, none where only theirs is."""
    if theirs is None:
        return None
    if theirs == 0:
        return 1.0 if ours == 0 else None
    return ours / theirs


def geometric_mean(values: Iterable[float]) -> float | None:
    """The geometric mean of what is not zero; none of nothing."""
    logarithms = [math.log(value) for value in values if value > 0]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None


def render(title: str, names: Sequence[str], lines: Sequence[Line], *, digits: int = 0) -> str:
    """A table: one column for us, then each rival's figure and the ratio of ours to it; below, the geometric means."""
    width = max(len(line.label) for line in lines)
    text = [f"{title:<{width}}{names[0]:>9}" + "".join(f"{name:>12}{'ratio':>7}" for name in names[1:])]
    for line in lines:
        cells = [f"{line.label:<{width}}{line.ours:>9.{digits}f}"]
        for theirs in line.rivals:
            figure = "-" if theirs is None else f"{theirs:.{digits}f}"
            cells.append(f"{figure:>12}{_shown(ratio(line.ours, theirs)):>7}")
        text.append("".join(cells))
    cells = [f"{'geometric mean':<{width}}{'':>9}"]
    for index in range(len(names) - 1):
        found = (ratio(line.ours, line.rivals[index]) for line in lines)
        cells.append(f"{'':>12}{_shown(geometric_mean(one for one in found if one is not None)):>7}")
    return "\n".join([*text, "".join(cells)])


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
