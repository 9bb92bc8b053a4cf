"""The textual form: every operation has one, everything that it can say comes back, errors name their
line."""

from __future__ import annotations

import typing

import pytest

from pyebpf.ir import ops
from pyebpf.ir.ops import Inlining, Module
from pyebpf.ir.text import FORMS, TextError, parse_module, print_function, print_module
from pyebpf.layout import ArrayType, Field, StructType
from pyebpf.object import Pinning

WHOLE = """\
file 0 "odd \\"name\\".py"
struct $Pair 4 align 2 packed {a: be16 @ 0, b: chars(2) @ 2}
struct $Key 12 align 4 {slot: u32 @ 0, pairs: array($Pair, 2) @ 4}
struct $Key.1 4 align 4 union {x: i32 @ 0, y: le16 @ 0}
license "GPL"
map @first HASH key 12 value 4 entries 256 flags 0x1 extra 0x2 node 1 pinned layouts $Key $Key.1
map @outer ARRAY_OF_MAPS key 4 value 4 entries 2 slot 1 "a" inner map @in ARRAY key 4 value 8 entries 1
map @ops STRUCT_OPS key 4 value 2 entries 1 layouts _ u16 contents "00ff"
data ".rodata" align 4 contents "00ff10"
var ".rodata" "s" at 0 size 3 layout chars(3) static
var ".rodata" "t" at 1 size 1

func entry xdp.frags @main(%ctx: ptr<ctx> as ctx !0:1:1-1:4) -> i64 as u32 !0:1:1-9:1 {
entry:
  %key = alloca 12 align 4 "key" !0:2:5-2:8
  %1 = const i64 18446744073709551615
  %2 = const ptr<map_value:4?> 0
  %3 = undef i64
  %4 = map @first
  %v = helper map_lookup_elem(%4, %key): ptr<map_value:4?> !0:3:1-4:2
  %5 = cmp ne %v, %2
  branch %5, then.x, else.1 unlikely
then.x:
  %v.1 = nonnull ptr<map_value:4> %v
  %6 = loads.2 i64 %v.1 + 2
  %7 = load.4 i64 %v.1 - 4
  %8 = trunc i32 %6
  %9 = neg i32 %8
  %10 = zext.32 i64 %9
  %11 = sext.16 i64 %7
  %12 = bswap.32 i64 %11
  store.4 %v.1 + 0, %12
  memzero %key + 0, 12 align 4
  memcopy %key + 4, %v.1 + 0, 4 align 2
  atomic_xor.4 %v.1 + 0, %1
  %13 = global ptr<global:3> ".rodata" "s"
  %14 = ptradd ptr<global> %13, %10
  %15 = func @body
  %16 = kfunc bpf_some(%1, %key): ptr<kernel?>
  call @sub(%1, %v.1)
  if test %1, %12, then.2, else.1
then.2:
  unreachable
else.1:
  %17 = phi i64 [entry: %1, then.x: %12]
  %18 = ashr i64 %17, %1
  jump last
last:
  return %18
}

func subprogram @sub(%x: i64 as x u32, %p: ptr<mem:4> as _ $Key *) -> void never !0:1:1-1:2 {
entry:
  return
}

func callback @body() -> i64 always !0:1:1-1:2 {
entry:
  %1 = const i64 0
  return %1
}
"""


def key_fields(module: Module) -> tuple[Field, ...]:
    key = module.maps["first"].key
    assert isinstance(key, StructType)
    return key.fields


def test_everything_comes_back() -> None:
    module = parse_module(WHOLE)
    assert print_module(module, spans=True) == WHOLE
    sub = module.functions["sub"]
    assert sub.inlining is Inlining.NEVER
    assert [(i.name, i.pointer) for i in sub.param_infos] == [("x", False), ("", True)]
    assert module.functions["main"].kind is not None and not module.functions["main"].kind.options
    layouts = {f.layout.element for f in key_fields(module) if isinstance(f.layout, ArrayType)}
    assert len(layouts) == 1
    assert module.maps["first"].pinning is Pinning.BY_NAME
    span = module.functions["main"].entry.ops[0].span
    assert span is not None and (span.file, span.line, span.end_column) == ('odd "name".py', 2, 8)


def test_every_operation_has_a_form() -> None:
    assert {form[0] for form in FORMS} == set(typing.get_args(ops.Op))
    for op in typing.get_args(ops.Op):
        mnemonics = {form[2].split(" ")[0].split(".")[0].split("<")[0] for form in FORMS if form[0] is op}
        assert any(m in (op.__doc__ or "") for m in mnemonics), f"{op.__name__} does not show its form"


def test_a_function_alone() -> None:
    module = parse_module(WHOLE)
    assert print_function(module.functions["body"]) == (
        "func callback @body() -> i64 always {\nentry:\n  %1 = const i64 0\n  return %1\n}\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("func subprogram @f() -> i64 {\n  return\n}", "line 2: an operation outside a block"),
        ("func subprogram @f() -> i64 {\nentry:\n  %1 = frob i64 3\n}", "line 3: unknown operation 'frob'"),
        ("func subprogram @f() -> i64 {\nentry:\n  return %1\n}", "line 3: %1 is not defined"),
        ("func subprogram @f() -> i64 {\nentry:\n  jump there\n}", "line 3: block there is not defined"),
        ("func subprogram @f() -> i64 {\nentry:\nentry:\n}", "line 3: block entry is defined twice"),
        ("func subprogram @f(%a: i64, %a: i64) -> i64 {", "line 1: %a is defined twice"),
        ("func subprogram @f() -> i64 {\nentry:\n  %1 = const i65 x\n}", "line 3: invalid literal"),
        ("func subprogram @f() -> i64 {\nentry:\n  %1 = const int 1\n}", "expected a type, found 'int'"),
        ("func subprogram @f() -> i64 {\nentry:\n  return 3\n}", "line 3: unexpected '3'"),
        (
            "func subprogram @f() -> i64 {\nentry:\n  %1 = helper no_such(): i64\n}",
            "no helper is called 'no_such'",
        ),
        ("func entry no_such @f() -> i64 {", "no kind of program is called 'no_such'"),
        ("func subprogram @f() -> i64 {", "function @f has no closing brace"),
        ("func nothing @f() -> i64 {", "line 1: 'nothing' is not a valid FunctionRole"),
        ("strange", "line 1: unexpected 'strange'"),
        ('license "GPL" 3', "line 1: unexpected '3'"),
        ("map", "line 1: the line ends too early"),
        ("map @", "line 1: expected a name with '@', found '@'"),
        ("map @m HASH key 4 value 4 entries", "line 1: the line ends too early"),
        ("map @m HASH kye 4", "line 1: expected 'key', found 'kye 4'"),
    ],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(TextError) as caught:
        parse_module(text)
    assert message in str(caught.value)
