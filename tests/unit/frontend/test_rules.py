"""What is accepted and what is proven: intervals, narrowing, checks left out, loops, names, resolution."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, TypeVar

import pytest

import pyebpf as bpf
from pyebpf.codes import Code
from pyebpf.declare import ProgramDecl, declaration_of
from pyebpf.diagnostics import CompileError
from pyebpf.frontend import tree
from pyebpf.frontend.infer import analyze
from pyebpf.frontend.types import Int, Maybe, Origin, Ref
from pyebpf.target import Target
from tests.unit.frontend.planting import PREAMBLE, module_of

N = TypeVar("N")


def unit_of(body: str, *, before: str = "", kind: str = "tc", kernel: tuple[int, int] = (6, 1)) -> tree.Unit:
    """The tree of a program ``def program(ctx)`` with a body."""
    lines = "\n".join(f"    {line}" for line in body.strip("\n").split("\n"))
    source = f"{PREAMBLE}\n{before}\n@bpf.{kind}\ndef program(ctx):\n{lines}\n"
    decl = declaration_of(module_of(source, "<rule>").__dict__["program"])
    assert isinstance(decl, ProgramDecl)
    return analyze([decl], Target(kernel=kernel), "GPL")


def codes(body: str, **options: Any) -> list[str]:
    """The codes that a body is refused with."""
    try:
        unit_of(body, **options)
    except CompileError as error:
        return [d.code.name for d in error.diagnostics]
    return []


def walk(node: object) -> Iterator[tree.Node]:
    """Every node of a part of the tree."""
    if isinstance(node, tuple):
        for item in node:
            yield from walk(item)
    elif isinstance(node, tree.Node):
        yield node
        for field in fields(node):
            yield from walk(getattr(node, field.name))


def all_of(unit: tree.Unit, kind: type[N]) -> list[N]:
    """Every node of a class in the unit."""
    return [n for f in (*unit.programs, *unit.functions) for n in walk(f.body) if isinstance(n, kind)]


def returned(body: str, **options: Any) -> Int:
    """The type of the value that the last ``return`` of a body gives."""
    value = all_of(unit_of(body, **options), tree.Return)[-1].value
    assert value is not None and isinstance(value.type, Int)
    return value.type


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize(
    ("expression", "kind", "lo", "hi"),
    [
        ("ctx.mark + 1", "i64", 1, 2**32),
        ("ctx.mark - ctx.priority", "i64", -(2**32) + 1, 2**32 - 1),
        ("ctx.mark * ctx.priority", "u64", 0, (2**32 - 1) ** 2),
        ("ctx.mark * 3", "i64", 0, (2**32 - 1) * 3),
        ("hits.value + 1", "u64", 0, 2**64 - 1),
        ("hits.value & 7", "u64", 0, 7),
        ("(ctx.mark - 5) & 0xFF", "i64", 0, 255),
        ("ctx.mark % 10", "i64", 0, 9),
        ("(ctx.mark - 5) % 10", "i64", 0, 9),
        ("(ctx.mark - 5) % 8", "i64", 0, 7),
        ("ctx.mark // 16", "i64", 0, (2**32 - 1) // 16),
        ("ctx.mark >> 24", "i64", 0, 255),
        ("1 << (ctx.mark & 63)", "u64", 1, 2**63),
        ("ctx.mark << 32", "u64", 0, (2**32 - 1) << 32),
        ("u8(ctx.mark)", "i64", 0, 255),
        ("bpf.i8(ctx.mark)", "i64", -128, 127),
        ("-ctx.mark", "i64", -(2**32) + 1, 0),
        ("~ctx.mark", "i64", -(2**32), -1),
        ("ctx.mark | 5", "i64", 5, 2**32 - 1),
        ("min(ctx.mark, 10)", "i64", 0, 10),
        ("max(ctx.mark, 10)", "i64", 10, 2**32 - 1),
        ("3 if ctx.mark else -4", "i64", -4, 3),
        ("u64(ctx.mark)", "u64", 0, 2**32 - 1),
    ],
)
def test_interval(expression: str, kind: str, lo: int, hi: int) -> None:
    """The kind of a result, and the least and the greatest value that it may have."""
    found = returned(f"return {expression}")
    assert (str(found), found.lo, found.hi) == (kind, lo, hi)


@pytest.mark.parametrize(
    ("expression", "seen"),
    [
        ("ctx.mark + 1", True),
        ("ctx.mark & 7", True),
        ("ctx.mark * 3", True),
        ("(ctx.mark & 3) * (ctx.priority & 3)", False),
        ("ctx.mark % 10", False),
        ("ctx.mark % 8", True),
        ("ctx.mark // 3", False),
        ("ctx.mark // 4", True),
        ("ctx.mark >> 3", True),
        ("ctx.mark >> (ctx.priority & 3)", False),
        ("bpf.get_prandom_u32()", False),
        ("bpf.htons(ctx.mark)", False),
        ("u16(ctx.mark)", True),
    ],
)
def test_what_the_verifier_sees(expression: str, seen: bool) -> None:
    """Only intervals that the kernel follows, on every version, let a check be left out."""
    assert returned(f"return {expression}").seen is seen


@pytest.mark.parametrize(
    ("body", "checked"),
    [
        ("a = bpf.array(u32, 8)\nreturn a[3]", [False]),
        ("a = bpf.array(u32, 8)\nreturn a[-1]", [False]),
        ("a = bpf.array(u32, 8)\nreturn a[ctx.mark & 7]", [False]),
        ("a = bpf.array(u32, 8)\nreturn a[ctx.mark & 8]", [True]),
        ("a = bpf.array(u32, 8)\nreturn a[ctx.mark % 7]", [True]),
        ("a = bpf.array(u32, 8)\nfor i in range(8):\n    a[i] = i\nreturn 0", [False]),
        ("a = bpf.array(u32, 8)\nfor i in range(ctx.mark & 7):\n    a[i] = i\nreturn 0", [False]),
        ("a = bpf.array(u32, 8)\nfor i in range(ctx.mark % 7, 8):\n    a[i] = i\nreturn 0", [True]),
        ("a = bpf.array(u32, 8)\ni = 0\nwhile i < 8:\n    a[i] = i\n    i += 1\nreturn 0", [False]),
        ("a = bpf.array(u32, 8)\ni = ctx.mark\nif i < 8:\n    return a[i]\nreturn 0", [False]),
        ("a = bpf.array(u32, 8)\ni = ctx.mark\nif i > 7:\n    return 0\nreturn a[i]", [False]),
        ("a = bpf.array(u32, 8)\ni = ctx.mark\nif 2 <= i <= 9:\n    return a[i - 2]\nreturn 0", [False]),
        ("a = bpf.array(u32, 8)\nfor x in a:\n    pass\nreturn 0", [False]),
    ],
)
def test_checks_that_are_left_out(body: str, checked: list[bool]) -> None:
    """An index that is proven to be inside has no check at run time."""
    assert [e.checked for e in all_of(unit_of(body), tree.ElementOf)] == checked


def test_a_proven_index_raises_nothing() -> None:
    """What cannot happen is not in the set of what the function raises."""
    assert unit_of("a = bpf.array(u32, 8)\nreturn a[ctx.mark & 7]").programs[0].raises == frozenset()
    raised = unit_of("a = bpf.array(u32, 8)\nreturn a[ctx.mark & 15]").programs[0].raises
    assert raised == {tree.Exc.INDEX}


def test_a_divisor_that_was_tested() -> None:
    """``if n == 0`` before the division makes its check superfluous."""
    body = "n = ctx.mark\nif n == 0:\n    return 0\nreturn 100 // n"
    (division,) = [a for a in all_of(unit_of(body), tree.Arith) if a.op is tree.ArithOp.FLOORDIV]
    assert not division.may_be_zero
    (division,) = all_of(unit_of("return 100 // ctx.mark"), tree.Arith)
    assert division.may_be_zero


def test_wrapped_intervals_are_not_trusted() -> None:
    """A sum that may pass 2**63 may be negative in truth, so a count made of it is masked."""
    body = "n = i64(hits.value)\nif n < 1:\n    return 0\nm = n + i64(table[0])\nreturn 1 << (m & 63)"
    assert codes(body) == []


# ---------------------------------------------------------------- loops


@pytest.mark.parametrize(
    ("body", "trips"),
    [
        ("for i in range(10):\n    pass", 10),
        ("for i in range(2, 11, 4):\n    pass", 3),
        ("for i in range(ctx.mark & 7):\n    pass", 7),
        ("for i in range(10, 0, -3):\n    pass", 4),
        ("n = ctx.mark\nif n > 20:\n    return 0\nfor i in range(n):\n    pass", 20),
        ("i = 0\nwhile i < 10:\n    i += 3", 5),
        ("i = ctx.mark & 31\nwhile i > 0:\n    i -= 1", 32),
        ("x = ctx.mark\nwhile x:\n    x >>= 1", 65),
        ("x = ctx.mark\nwhile x > 0:\n    x //= 10", 65),
        ("x = ctx.mark\nwhile x != 0:\n    x &= x - 1", 65),
        ("i = 0\nwhile True:\n    if i >= 5:\n        break\n    i += 1", 6),
        ("i = 0\nwhile not i >= 5:\n    i = i + 1", 6),
        ("i = 0\nn = ctx.mark & 15\nwhile i != 16 and i < n:\n    i += 1", 16),
        ("i = 0\nwhile i < 10:\n    if ctx.mark:\n        i += 1\n        continue\n    i += 2", 11),
    ],
)
def test_loops_that_end(body: str, trips: int) -> None:
    """The iterations that the rules allow for."""
    unit = unit_of(f"{body}\nreturn 0")
    loops: list[Any] = [*all_of(unit, tree.While), *all_of(unit, tree.ForRange)]
    found = [loop.trips for loop in loops]
    assert found == [trips]


@pytest.mark.parametrize(
    "body",
    [
        "i = 0\nwhile i < 10:\n    i -= 1",
        "i = 0\nwhile i < 10:\n    if ctx.mark:\n        i += 1",
        "i = 0\nn = 10\nwhile i < n:\n    i += 1\n    n += 1",
        "i = 0\nwhile i < 10:\n    i += ctx.mark",
        "i = 0\nwhile i != 10:\n    i += 3",
        "i = 0\nwhile i < hits.value:\n    i += 1",
        "x = ctx.mark - 3\nwhile x:\n    x >>= 1",
        "x = ctx.mark\nwhile x:\n    x >>= 1\n    x += 1",
        "x = ctx.mark\nwhile x:\n    if ctx.priority:\n        x >>= 1",
        "i: u8 = 0\nwhile i < 256:\n    i += 1",
        "while ctx.mark:\n    pass",
        "for i in range(ctx.mark):\n    pass",
        "for i in range(0, 10, ctx.mark):\n    pass",
    ],
)
def test_loops_without_a_bound(body: str) -> None:
    """What the rules do not cover is refused, whether it ends or not."""
    assert codes(f"{body}\nreturn 0") == ["E0401"]


@pytest.mark.parametrize(
    ("body", "kernel", "guarded"),
    [
        ("for i in range(10):\n    pass", (6, 1), False),
        ("for i in range(ctx.mark & 7):\n    pass", (6, 1), True),
        ("for i in range(ctx.mark & 7):\n    pass", (6, 8), False),
        ("for i in range(ctx.mark % 7):\n    pass", (6, 8), True),
        ("for i in range(ctx.mark % 7, 20):\n    pass", (6, 8), True),
        ("i = 0\nwhile i < 10:\n    i += 1", (6, 1), False),
        ("i = 0\nn = ctx.mark & 7\nwhile i < n:\n    i += 1", (6, 1), True),
        ("i = 0\nn = ctx.mark & 7\nwhile i < n:\n    i += 1", (6, 8), False),
        ("i = 0\nn = ctx.mark % 7\nwhile i < n:\n    i += 1", (6, 8), True),
        ("x = ctx.mark\nwhile x:\n    x >>= 1", (6, 1), False),
        ("x = ctx.mark\nwhile x:\n    x //= 4", (6, 1), False),
        ("x = ctx.mark\nwhile x:\n    x //= 10", (6, 8), True),
        ("x = ctx.mark\nwhile x:\n    x &= x - 1", (6, 8), True),
    ],
)
def test_guards(body: str, kernel: tuple[int, int], guarded: bool) -> None:
    """Where the verifier does not see the end of a loop, a counter that it sees is tested as well."""
    unit = unit_of(f"{body}\nreturn 0", kernel=kernel)
    bounds = [c.right.value for c in all_of(unit, tree.Compare) if isinstance(c.right, tree.IntConst)]
    plain = bool(all_of(unit, tree.ForRange)) or not any(bound in (6, 7, 8, 9, 21, 66) for bound in bounds)
    assert plain is not guarded, bounds


def test_nested_loops_multiply() -> None:
    """The estimate of what the verifier walks through counts nested loops as a product."""
    inner = "for i in range({0}):\n    for j in range({0}):\n        total = i * j + 3"
    assert codes(f"total = 0\n{inner.format(100)}\nreturn total") == []
    assert codes(f"total = 0\n{inner.format(1000)}\nreturn total") == ["E0402"]


# ---------------------------------------------------------------- None


@pytest.mark.parametrize(
    "body",
    [
        "v = table.get(1)\nif v is None:\n    return 0\nreturn v",
        "v = table.get(1)\nif v is not None:\n    return v\nreturn 0",
        "v = table.get(1)\nif v:\n    return v\nreturn 0",
        "v = table.get(1)\nif not v:\n    return 0\nreturn v",
        "v = table.get(1)\nreturn v if v is not None else 0",
        "v = table.get(1)\nif v is not None and v > 3:\n    return v\nreturn 0",
        "v = table.get(1)\nif v is None or v > 3:\n    return 0\nreturn v",
        "if (v := table.get(1)) is not None:\n    return v\nreturn 0",
        "v = table.get(1)\nassert v is not None\nreturn v",
        "v = table.get(1)\nwhile v is None:\n    return 1\nreturn v",
        "v = table.get(1)\nmatch v:\n    case None:\n        return 0\n    case _:\n        return v",
        "v = table.get(1)\nif v is None:\n    v = 5\nreturn v",
        "return table.get(1) or 7",
        "return table.get(1, 7)",
    ],
)
def test_narrowed(body: str) -> None:
    """The ways to tell that a value is not None."""
    assert codes(body) == []


@pytest.mark.parametrize(
    "body",
    [
        "v = table.get(1)\nreturn v",
        "v = table.get(1)\nif ctx.mark:\n    if v is None:\n        return 0\nreturn v",
        "v = table.get(1)\nif v is None or ctx.mark:\n    pass\nreturn v",
        "v = table.get(1)\nif v is None and ctx.mark:\n    return 0\nreturn v",
        "v = table.get(1)\nif v is not None:\n    v = table.get(2)\n    return v\nreturn 0",
        "return table.get(1) + 1",
    ],
)
def test_not_narrowed(body: str) -> None:
    """Where a path is left on which it may be None."""
    assert codes(body) == ["E0311"]


def test_a_fresh_lookup_is_tested_by_its_reference() -> None:
    """``v = m.get(k)`` followed by the test: one look-up, one test, one load behind it."""
    unit = unit_of("v = table.get(1)\nif v is None:\n    return 0\nreturn v")
    assert len(all_of(unit, tree.MapLookup)) == 1
    assert len(all_of(unit, tree.IsNone)) == 1
    assert len(all_of(unit, tree.Read)) == 1


def test_an_integer_from_a_map_is_a_value() -> None:
    """The integer is read before anything else can change it, unless the test comes first."""
    unit = unit_of("v = table.get(1)\ntable[1] = 5\nif v is None:\n    return 0\nreturn v")
    body = unit.programs[0].body
    assert isinstance(body[0], tree.If) and all_of(unit, tree.Read)
    assert isinstance(body[1], tree.Evaluate)


# ---------------------------------------------------------------- references


def test_maps_are_shared_unless_per_cpu() -> None:
    """Updates of what other CPUs see are atomic, others are plain."""
    before = "own = bpf.PerCpuArray[u32, u64](max_entries=2)\n"
    unit = unit_of("numbers[0] += 1\nown[0] += 1\nhits.value += 1\nreturn 0", before=before)
    assert [u.atomic for u in all_of(unit, tree.UpdateTo)] == [True, False, True]


def test_default_inserts() -> None:
    """Reading a map with a default inserts it; an array's elements are always there."""
    unit = unit_of("table[1] += 1\nnumbers[1] += 1\nbytewise[2] = 1\nreturn bytewise[2]")
    lookups = all_of(unit, tree.MapLookup)
    assert [look.missing for look in lookups] == [tree.Missing.INSERT, tree.Missing.RAISE, tree.Missing.RAISE]
    assert unit.programs[0].raises == {tree.Exc.OS, tree.Exc.KEY}


def test_types_of_references() -> None:
    """Where a reference points decides its origin."""
    unit = unit_of("pair = Pair(1)\ncopy = bpf.copy(pair)\npair.left = copy.right\nreturn pair.left")
    assert {e.type.origin for e in all_of(unit, tree.FieldOf)} == {Origin.LOCAL}
    (local,) = {
        e.base.local
        for e in all_of(unit, tree.FieldOf)
        if isinstance(e.base, tree.GetLocal) and e.base.local.name == "pair"
    }
    assert isinstance(local.type, Ref) and local.type.layout.name == "Pair"


def test_optional_struct() -> None:
    """A struct that may be missing is an optional reference."""
    before = "pairs = bpf.HashMap[u32, Pair](max_entries=4)\n"
    unit = unit_of("p = pairs.get(1)\nif p is None:\n    return 0\nreturn p.left", before=before)
    (set_p,) = [s for s in all_of(unit, tree.SetLocal) if s.local.name == "p"]
    assert isinstance(set_p.local.type, Maybe)


# ---------------------------------------------------------------- names and constants


def test_names_of_maps() -> None:
    """A map is called like the variable that holds it."""
    unit = unit_of("numbers[0] = 1\nhits.value = 2\nreturn 0")
    assert [m.name for m in unit.maps] == ["numbers"]
    assert [g.name for g in unit.globals] == ["hits"]


def test_maps_of_a_factory() -> None:
    """Two maps that variables of one name hold get different names."""

    def make(name: str) -> Any:
        counts = bpf.ArrayMap[bpf.u32, bpf.u64](max_entries=1)

        @bpf.tc(name=name)
        def count(skb: bpf.SkBuff) -> int:
            counts[0] += 1
            return 0

        return count

    programs = [declaration_of(make("one")), declaration_of(make("two"))]
    unit = analyze([p for p in programs if isinstance(p, ProgramDecl)], Target(), "GPL")
    assert [m.name for m in unit.maps] == ["counts", "counts_2"]
    assert len({id(m) for m in unit.maps}) == 2


def test_captured_constants() -> None:
    """A function that returns a decorated function is how programs are made from parameters."""

    def make(port: int) -> Any:
        @bpf.tc
        def check(skb: bpf.SkBuff) -> int:
            if port == 80:
                return 1
            return port

        return check

    verdicts = []
    for port in (80, 443):
        decl = declaration_of(make(port))
        assert isinstance(decl, ProgramDecl)
        value = all_of(analyze([decl], Target(), None), tree.Return)[0].value
        assert isinstance(value, tree.IntConst)
        verdicts.append(value.value)
    assert verdicts == [1, 443]


def test_constants_are_folded() -> None:
    """What Python can compute is not computed in the kernel."""
    unit = unit_of(
        "return len(NUMBERS) * 2 + Color.BLUE + socket.IPPROTO_TCP + int(1.5 * 2) + (3 if NUMBERS else 4)"
    )
    value = all_of(unit, tree.Return)[0].value
    assert isinstance(value, tree.IntConst) and value.value == 6 + 2 + 6 + 3 + 3


def test_instances_by_argument_types() -> None:
    """A function is analysed once for each combination of rounded types."""
    unit = unit_of("return add(ctx.mark) + add(ctx.priority) + add(hits.value) + add(3, 4)")
    assert [f.name for f in unit.functions] == ["add", "add_2", "add_3"]
    assert [str(f.result) for f in unit.functions] == ["i64", "u64", "i64"]


def test_only_what_is_reached() -> None:
    """Instances of earlier rounds, for types that did not last, are not in the result."""
    unit = unit_of("n = 0\nfor i in range(4):\n    n = add(n, i) & 255\nreturn n")
    assert [f.name for f in unit.functions] == ["add"]


def test_boxed_locals() -> None:
    """Variables that a callback shares live in memory; others do not."""
    body = "a = b = 0\ndef body(i):\n    nonlocal a\n    a += i\nbpf.loop(4, body)\nreturn a + b"
    unit = unit_of(body)
    (callback,) = unit.functions
    assert [v.name for v in callback.captures] == ["a"]
    assert {s.local.name: s.local.boxed for s in all_of(unit, tree.SetLocal)} == {"a": True, "b": False}


def test_captured_and_read_only() -> None:
    """A callback may read what the enclosing function knows, the context too."""
    body = "n = ctx.mark\ndef body(i):\n    return i > n and ctx.priority > 3\nreturn bpf.loop(4, body)"
    assert {v.name for v in unit_of(body).functions[0].captures} == {"n", "ctx"}


# ---------------------------------------------------------------- the licence, kernels


def test_gpl_strings_are_exact() -> None:
    """Only the kernel's own strings count."""
    decl = declaration_of(
        module_of(f"{PREAMBLE}\n@bpf.tc\ndef program(ctx):\n    print('x')\n    return 0\n", "<l>").program
    )
    assert isinstance(decl, ProgramDecl)
    for text in (
        "GPL",
        "GPL v2",
        "GPL and additional rights",
        "Dual BSD/GPL",
        "Dual MIT/GPL",
        "Dual MPL/GPL",
    ):
        analyze([decl], Target(), text)
    for wrong in ("gpl", "GPLv2", "GPL ", "MIT", "", None):
        with pytest.raises(CompileError) as caught:
            analyze([decl], Target(), wrong)
        assert [d.code for d in caught.value.diagnostics] == [Code.E0804]


def test_kernel_of_the_target() -> None:
    """What came later than the target is refused."""
    body = "bpf.loop(3, lambda_)\nreturn 0"
    before = "def lambda_(i):\n    return 0\n"
    assert codes(body, before=before, kernel=(5, 17)) == []
    assert codes(body, before=before, kernel=(5, 16)) == ["E0803"]


# ---------------------------------------------------------------- the machinery


def test_importing_is_cheap() -> None:
    """astroid is imported when the first function is compiled, not before."""
    import subprocess

    code = "import sys, pyebpf; print(sorted(m for m in ('astroid', 'elftools', 'llvmlite') if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_callback_for_each_element() -> None:
    """Keys and values of integers are read when the callback begins; the helper gets the function itself."""
    before = "def each(map, key, value, pair):\n    pair.left += value\n    return key > 3\n"
    body = "pair = Pair()\nbpf.for_each_map_elem(table, each, pair, 0)\nreturn pair.left"
    unit = unit_of(body, before=before)
    (callback,) = unit.functions
    assert callback.kind is tree.FunctionKind.CALLBACK
    assert [type(s) for s in callback.body[:2]] == [tree.SetLocal, tree.SetLocal]
    assert [type(a) for a in all_of(unit, tree.HelperCall)[0].args[:2]] == [
        tree.MapHandle,
        tree.FunctionHandle,
    ]


def test_references_of_several_kinds() -> None:
    """A variable may refer to a map's value or to an object of its own."""
    before = "pairs = bpf.HashMap[u32, Pair](max_entries=4)\n"
    unit = unit_of(
        "p = pairs.get(1)\nif p is None:\n    p = Pair()\np.left += 1\nreturn p.left", before=before
    )
    (update,) = all_of(unit, tree.UpdateTo)
    assert isinstance(update.ref.type, Ref)
    assert (update.ref.type.origin, update.atomic) == (Origin.MIXED, True)


@pytest.mark.parametrize(
    ("trips", "body", "refused"),
    [
        (9000, "total += ctx.read(u8, i & 31)", True),
        (7900, "total += ctx.read(u8, i & 31)", False),
        (4100, "if ctx.read(u8, i & 31) > 3:\n        total += 1", True),
        (8100, "if i & 1:\n        total += 1", False),
        (100, "for j in range(100):\n        total += ctx.read(u8, i + j)", True),
        (100, "for j in range(ctx.read(u8, i) & 31):\n        total += ctx.read(u8, j)", False),
        (100, "for j in range(ctx.read(u8, i)):\n        total += ctx.read(u8, j)", True),
    ],
)
def test_tests_that_the_verifier_puts_aside(trips: int, body: str, refused: bool) -> None:
    """Tests of what the verifier does not know are counted over all iterations."""
    found = codes(f"total = 0\nfor i in range({trips}):\n    {body}\nreturn total")
    assert found == (["E0402"] if refused else [])
