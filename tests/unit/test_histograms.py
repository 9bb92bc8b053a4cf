"""Histograms as text, whole, and as figures."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

import pyebpf as bpf
from pyebpf import u32, u64


@bpf.struct
class Key:
    disk: bytes = bpf.chars(8)
    slot: u32 = 0


LATENCIES = {0: 3, 1: 0, 3: 120, 4: 40, 6: 1}

TEXT = """\
    usecs : count  distribution
   0 -> 1 : 3     |*                             |
   2 -> 3 : 0     |                              |
   4 -> 7 : 0     |                              |
  8 -> 15 : 120   |******************************|
 16 -> 31 : 40    |**********                    |
 32 -> 63 : 0     |                              |
64 -> 127 : 1     |*                             |"""


def test_powers_of_two(capsys: pytest.CaptureFixture[str]) -> None:
    text = bpf.print_hist(LATENCIES, "usecs", width=50)
    assert [line.rstrip() for line in text.splitlines()] == TEXT.splitlines()
    assert capsys.readouterr().out == text + "\n"
    assert max(map(len, text.splitlines())) <= 50


def test_values_and_steps() -> None:
    out = io.StringIO()
    text = bpf.print_linear_hist({2: 1, 4: 8, 100: 4}, "size", width=28, file=out)
    assert out.getvalue() == text + "\n"
    assert (
        text
        == """\
size : count  distribution
   2 : 1     |**           |
   3 : 0     |             |
   4 : 8     |*************|
 ... :
 100 : 4     |*******      |"""
    )
    stepped = bpf.print_linear_hist({0: 1, 1: 2}, "size", step=10, width=30, file=out)
    assert [line.split(" : ")[0].strip() for line in stepped.splitlines()] == ["size", "0 -> 9", "10 -> 19"]


def test_sections_and_counts_for_each_cpu() -> None:
    counts = {
        Key(disk=b"sdb", slot=1): (1, 2),
        Key(disk=b"sda", slot=0): (4, 0),
        Key(disk=b"sdb", slot=2): (0, 1),
    }
    text = bpf.print_hist(counts, "usecs", bucket="slot", section="disk", width=30, file=io.StringIO())
    assert (
        text
        == """\
sda
 usecs : count  distribution
0 -> 1 : 4     |*************|

sdb
 usecs : count  distribution
2 -> 3 : 3     |*************|
4 -> 7 : 1     |*****        |"""
    )
    pairs = {("b", 1): 1, ("a", 1): 1}
    by_function = bpf.print_hist(
        pairs, bucket=lambda key: key[1], section=lambda key: key[0], width=40, file=io.StringIO()
    )
    assert [line for line in by_function.splitlines() if len(line) == 1] == ["a", "b"]


def test_lines_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (34, 80, 500):
        monkeypatch.setenv("COLUMNS", str(columns))
        text = bpf.print_hist({40: 10**9, 41: 1}, "nanoseconds", file=io.StringIO())
        longest = max(map(len, text.splitlines()))
        assert longest <= max(columns, 60)
    assert bpf.print_hist({}, "usecs", file=io.StringIO()) == "usecs: nothing was counted"
    assert bpf.print_hist({1: 0}, "usecs", file=io.StringIO()) == "usecs: nothing was counted"


def test_what_is_no_bucket_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"integers, not Key: say which part of Key\(.*\) the bucket is, with bucket="
    ):
        bpf.print_hist({Key(b"sda"): 1})
    with pytest.raises(ValueError, match=r"64 is no bucket of bpf.log2l, which are 0 to 63"):
        bpf.print_hist({64: 1})
    for use in (bpf.print_linear_hist, bpf.plot_hist):
        with pytest.raises(ValueError, match="1 or more, not 0"):
            pytest.importorskip("matplotlib")
            use({1: 1}, step=0)


def test_maps_are_printed() -> None:
    with bpf.machine():
        sizes = bpf.ArrayMap[u32, u64](max_entries=8)
        sizes[3] = 5
        text = bpf.print_hist(sizes, "bytes", width=40, file=io.StringIO())
        assert text.splitlines()[1].startswith("8 -> 15 : 5 ")


def test_figures() -> None:
    pytest.importorskip("matplotlib")
    figure = bpf.plot_hist(LATENCIES, "usecs")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [3, 0, 0, 120, 40, 0, 1]
    assert [label.get_text() for label in axes.get_xticklabels()][3] == "8 -> 15"
    written = io.BytesIO()
    figure.savefig(written, format="png")
    assert written.getvalue().startswith(b"\x89PNG")
    counts = {Key(disk=b"sdb", slot=1): 1, Key(disk=b"sda", slot=0): 4}
    sections = bpf.plot_hist(counts, bucket="slot", section="disk", linear=True)
    assert [axes.get_title() for axes in sections.axes] == ["sda", "sdb"]
    assert len(bpf.plot_hist({}).axes) == 1


def test_the_extra_is_named_where_matplotlib_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Any = None
    monkeypatch.setitem(sys.modules, "matplotlib", missing)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pyebpf\[plot\]'"):
        bpf.plot_hist(LATENCIES)
