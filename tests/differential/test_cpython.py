"""What lets CPython run programs: layouts, maps and errors as the language has them; when it must agree."""

from __future__ import annotations

import errno

import pytest

from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.types import Int
from pyebpf.lang import layout_of
from pyebpf.layout import StructType
from pyebpf.uapi.constants import TcAction, XdpAction
from tests.differential.cpython.contexts import Xdp
from tests.differential.cpython.run import PythonModule
from tests.differential.cpython.storage import Struct
from tests.differential.cpython.vocabulary import INTEGERS, Vocabulary
from tests.differential.departures import folds_as_python, is_python
from tests.differential.evaluator import Departure
from tests.differential.generate import generate
from tests.differential.judge import Verdict, judge, module_of, packets
from tests.differential.machines import Machine

SOURCE = generate(0)[0]


def _stand_ins() -> dict[str, object]:
    words = Vocabulary()
    names: dict[str, object] = {"__name__": "stand_ins", "__builtins__": words.builtins()}
    exec(compile(SOURCE, "<stand_ins>", "exec"), names)
    return names


@pytest.mark.parametrize("name", ["Inner", "Label", "Either", "Packed", "Prefix", "Record"])
def test_structs_have_the_layout_that_the_compiler_gives_them(name: str) -> None:
    made = _stand_ins()[name]
    assert isinstance(made, type) and issubclass(made, Struct)
    with module_of(SOURCE, "layouts") as module:
        layout = layout_of(getattr(module, name))
    assert isinstance(layout, StructType)
    assert made.size == layout.size
    assert {n: at for n, (at, _) in made.fields.items()} == {f.name: f.offset for f in layout.fields}
    assert {n: kind.size for n, (_, kind) in made.fields.items()} == {
        f.name: f.layout.size for f in layout.fields
    }


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [("u8", 300, 44), ("i8", 200, -56), ("u64", -1, 2**64 - 1), ("i64", 2**63, -(2**63)), ("u16", True, 1)],
)
def test_conversions_keep_the_low_bits(kind: str, value: int, kept: int) -> None:
    assert INTEGERS[kind](value) == kept


def _run(body: str) -> int:
    source = f"""
import pyebpf as bpf
from pyebpf import u8, u16, u32, u64, be16, be64, le16, le64
small = bpf.HashMap[u32, u16](max_entries=1)
queue = bpf.Queue[u32](max_entries=1)
@bpf.xdp(on_error=77)
def program(ctx):
    {body}
"""
    module = PythonModule(compile(source, "<run>", "exec"), "run")
    return module.run(Xdp(bytes(range(20))))


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("return small[1]", 77),
        ("try: bpf.checked(small.delete(1))\n    except OSError as e: return e.errno", errno.ENOENT),
        ("try: raise OSError(7)\n    except OSError as e: return e.errno", 7),
        ("small[1] = 70000; return small[1]", 70000 - 65536),
        ("return small.delete(1)", -errno.ENOENT),
        ("small[1] = 1; small[2] = 1; return 0", 77),
        ("small[1] = 1; return small.update(2, 1)", -errno.E2BIG),
        ("return queue.pop()", 77),
        ("queue.push(5); queue.push(6, bpf.BPF_EXIST); return queue.pop()", 6),
        ("return ctx.read(be16, 1)", 0x0102),
        ("return ctx.read(le16, 1)", 0x0201),
        ("return ctx.read(be64, 1) & 0xFFFF", 0x0708),
        ("return ctx.read(le64, 1) & 0xFFFF", 0x0201),
        ("return ctx.read(u32, 17)", 77),
        ("text = bpf.chars(4); return len(text) + text[3]", 0),
        ("array = bpf.array(u8, 3); array[-1] = 257; return array[2]", 1),
        ("return 1 // len(bpf.chars(2))", 77),
        ("text = bpf.chars(4); return bpf.snprintf(text, f'{300}a{2}') * 10 + len(text)", 63),
    ],
)
def test_programs_behave_as_the_language_says(body: str, verdict: int) -> None:
    assert _run(body) == verdict


@pytest.mark.parametrize("call", ["", "()"])
@pytest.mark.parametrize(("kind", "verdict"), [("xdp", XdpAction.ABORTED), ("tc", TcAction.SHOT)])
def test_the_verdict_of_an_error_is_the_kinds_own(kind: str, call: str, verdict: int) -> None:
    source = f"import pyebpf as bpf\n@bpf.{kind}{call}\ndef program(ctx): raise ValueError"
    module = PythonModule(compile(source, "<default>", "exec"), "default")
    assert module.run(Xdp(bytes(20))) == verdict


def test_an_error_in_a_stand_in_is_no_verdict() -> None:
    with pytest.raises(AttributeError):
        _run("return ctx.no_such_thing")


@pytest.mark.parametrize(
    ("source", "text", "kept", "agrees"),
    [
        ("v: u8 = u8(x + 1)", "u8(x + 1)", "u8", True),
        ("v: u8 = u16(x + 1)", "u16(x + 1)", "u8", False),
        ("v: u8 = x + 1", "x + 1", "u8", False),
        ("table[1] = u64(x)", "x", "u64", True),
        ("v = y + z", "y + z", "", False),
        ("v: u8 = u8(x) + u8(y)", "u8(x) + u8(y)", "u8", False),
    ],
)
def test_only_spelled_conversions_are_pythons(source: str, text: str, kept: str, agrees: bool) -> None:
    column = source.index(text) + 1
    departure = Departure(Span("", 1, column, 1, column + len(text)), kept)
    assert is_python([departure], source) is agrees


WRAPPING = """
import pyebpf as bpf
from pyebpf import u8, u64

@bpf.xdp(on_error=1)
def program(ctx: bpf.Xdp) -> int:
    narrow: u8 = ctx.read(u8, 0) {operator} 255
    return narrow
"""


@pytest.mark.parametrize(("operator", "compared"), [("&", True), ("+", False)])
def test_a_program_that_wraps_is_not_compared(operator: str, compared: bool) -> None:
    source = WRAPPING.format(operator=operator)
    judgement = judge(source, "wrapping", packets(1), on=[Machine.CPYTHON])
    assert judgement.verdict is Verdict.AGREED
    assert (Machine.CPYTHON in judgement.agreed) is compared
    assert bool(judgement.absent) is not compared


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: PythonModule, context: object) -> int:
        return 123456

    monkeypatch.setattr(PythonModule, "run", other)
    judgement = judge(WRAPPING.format(operator="&"), "different", packets(1), on=[Machine.CPYTHON])
    assert judgement.verdict is Verdict.MISMATCH and judgement.text.startswith("cpython")


@pytest.mark.parametrize(
    "text", ["4294967295 ^ bpf.log2(1000)", "WORD[1] + 99999", "Color.RED - 1", "N * N", "len(WORD) + 99999"]
)
def test_a_folded_constant_is_compared_with_what_its_text_means(text: str) -> None:
    source = "WORD = b'hello'\nN = 1000\nclass Color(enum.IntEnum):\n    RED = 70000\n"
    line = f"v: u16 = {text}"
    span = Span("m.py", 5, len("v: u16 = ") + 1, 5, len(line) + 1)
    plain = Int(False, 0, 1 << 33)
    value = {"4": 4294967295 ^ 9, "W": 101 + 99999, "C": 69999, "N": 1_000_000, "l": 100_004}[text[0]]
    exact = tree.IntConst(value=value, type=plain, span=span)
    cut = tree.IntConst(value=value & 0xFFFF, type=plain, span=span)
    assert folds_as_python([exact], source + line)
    assert not folds_as_python([cut], source + line)
