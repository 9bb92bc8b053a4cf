"""Displays in notebooks: what they show, and that nothing from programs or packets becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

import pyebpf as bpf
from pyebpf import notebook, u32
from pyebpf.diagnostics import CompileError, paint
from pyebpf.runtime.run_result import RunResult

bpf.license("GPL")

values = bpf.HashMap[u32, u32](max_entries=4)


@bpf.xdp
def fine(ctx: bpf.Xdp) -> int:
    if 1 < len(ctx) < 3:  # <script>alert(1)</script> & more
        values[1] = 2
    return bpf.XDP_PASS


@bpf.xdp
def wrong(ctx: bpf.Xdp) -> int:
    return values.get(1) + 1  # <b>refused</b>


class Tags(HTMLParser):
    """Collects the tags, and checks that they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


PLAIN = {"div", "b", "table", "thead", "tbody", "tr", "th", "td", "pre", "p"}


def _plain(text: str) -> str:
    assert Tags(text).seen <= PLAIN
    return text


def test_a_program_stands_beside_its_instructions() -> None:
    shown = _plain(fine._repr_html_())
    assert "xdp program fine: " in shown
    assert re.search(r"<td[^>]*>    return bpf\.XDP_PASS</td><td[^>]*> *\d+: r0 = 2\n *\d+: exit</td>", shown)
    assert "if 1 &lt; len(ctx) &lt; 3:  # &lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in shown


def test_a_refused_program_shows_its_diagnostics() -> None:
    shown = _plain(wrong._repr_html_())
    assert "error[E0311]" in shown and "^^^^" in shown
    assert "&lt;b&gt;refused&lt;/b&gt;" in shown


def test_a_map_that_is_not_made_is_not_made_by_looking() -> None:
    assert "HashMap[u32, u32] " in _plain(values._repr_html_())
    assert "not made yet" in values._repr_html_()


def test_a_result() -> None:
    shown = _plain(notebook.result_html(RunResult(-3, b"<script>" + bytes(130), 12, machine=True)))
    assert "-3" in shown and "12 ns" in shown and "the built-in machine" in shown
    assert "0000  3c 73 63 72 69 70 74 3e 00 00 00 00 00 00 00 00  &lt;script&gt;........" in shown
    assert "… 10 bytes more" in shown
    assert "<pre" not in notebook.result_html(RunResult(0, b"", 1))


def test_hexdump() -> None:
    assert list(notebook.hexdump(b"")) == []
    assert list(notebook.hexdump(bytes(range(60, 78)))) == [
        "0000  3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK",
        f"0010  {'4c 4d':<47}  LM",
    ]


def test_an_error_is_drawn_in_colours_without_frames() -> None:
    with pytest.raises(CompileError) as refused:
        wrong.check()
    lines = refused.value._render_traceback_()
    assert re.sub(r"\x1b\[[\d;]*m", "", "\n".join(lines)) == str(refused.value)
    assert lines[0].startswith("\x1b[1;31merror[E0311]\x1b[0m")
    assert any("\x1b[1;31m^" in line for line in lines)


@pytest.mark.parametrize(
    "line", ["", "plain", "12 | x = '^^^'", "   | ---- here", "  = help: do this", "x --> y"]
)
def test_paint_adds_colours_only(line: str) -> None:
    assert re.sub(r"\x1b\[[\d;]*m", "", paint(line)) == line


def test_tables_of_nothing_and_of_odd_texts() -> None:
    assert _plain(notebook.table(["<a>"], [["</td><script>"]])).count("script") == 1
    assert "&lt;/td&gt;&lt;script&gt;" in notebook.table([], [["</td><script>"]])
