"""The textual form of the SSA: one module prints and parses it, and ``parse_module(print_module(m))`` equals
``m``.

A module, line by line (``#`` starts a comment)::

    license "GPL"
    file 0 "filter.py"                                   # only with spans
    struct $Key 8 align 4 {slot: u32 @ 0, port: be16 @ 4}
    map @packets ARRAY key 4 value 8 entries 256 layouts u32 u64
    data ".rodata" align 1 contents "68656c6c6f"
    var ".rodata" "greeting" at 0 size 5 layout chars(5) static

    func entry socket_filter @main(%skb: ptr<ctx> as skb) -> i64 !0:3:1-3:30 {
    entry:
      %1 = const i64 42 !0:4:12-4:14
      return %1 !0:4:5-4:14
    }

A value is ``%`` with a number, or its name, with a number behind it where the name is not unique; spans are
``!file:line:column-line:column``. Not in the text: BTF types (of maps, variables and externs, which are
nothing but a type) and the Python classes of structs, which come from outside the IR. ``pyebpf.ir.text_data``
does the lines above the functions.

The form of each operation is one line of ``FORMS``, which the printer and the parser both follow:
``<attribute>`` or ``<attribute:codec>``, where a codec prints and parses one kind of attribute (``CODECS``;
the operand is the default).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping

from pyebpf.diagnostics import Span
from pyebpf.hints import TYPE_CHECKING, Any
from pyebpf.ir import ops, text_data
from pyebpf.ir.builder import NameSupply
from pyebpf.ir.ops import (
    AtomicOp,
    BinOp,
    Block,
    Function,
    FunctionRole,
    Inlining,
    Module,
    Op,
    Param,
    ParamInfo,
    Pred,
    Value,
)
from pyebpf.ir.text_data import LineParser, StructTable, TextError
from pyebpf.ir.types import VOID, IntTy, IRType, PtrTy, Space
from pyebpf.records import dataclass
from pyebpf.uapi.helpers import helper_by_id, helper_by_name
from pyebpf.uapi.programs import ProgramKind, kind_by_name

if TYPE_CHECKING:
    from typing import Final


__all__ = ["FORMS", "TextError", "describe", "parse_module", "print_function", "print_module"]

FORMS: Final[tuple[tuple[type[Value], Mapping[str, object], str], ...]] = (
    (ops.Const, {}, "const <type:type> <value:int>"),
    (ops.Undef, {}, "undef <type:type>"),
    (ops.Phi, {}, "phi <type:type> <incoming:incoming>"),
    *((ops.Binary, {"op": op}, f"{op.value} <type:type> <left>, <right>") for op in BinOp),
    (ops.Neg, {}, "neg <type:type> <operand>"),
    (ops.ByteSwap, {}, "bswap.<bits:int> <type:type> <operand>"),
    (ops.Cmp, {}, "cmp <pred:pred> <left>, <right>"),
    (ops.Trunc, {}, "trunc <type:type> <operand>"),
    (ops.Zext, {}, "zext.<bits:int> <type:type> <operand>"),
    (ops.Sext, {}, "sext.<bits:int> <type:type> <operand>"),
    (ops.Alloca, {}, "alloca <size:int> align <align:int> <label:string>"),
    (ops.PtrAdd, {}, "ptradd <type:type> <base>, <offset>"),
    (ops.NonNull, {}, "nonnull <type:type> <pointer>"),
    (ops.Load, {"signed": False}, "load.<width:int> <type:type> <pointer> <offset:offset>"),
    (ops.Load, {"signed": True}, "loads.<width:int> <type:type> <pointer> <offset:offset>"),
    (ops.Store, {}, "store.<width:int> <pointer> <offset:offset>, <value>"),
    (ops.MemZero, {}, "memzero <pointer> <offset:offset>, <size:int> align <align:int>"),
    (
        ops.MemCopy,
        {},
        "memcopy <target> <target_offset:offset>, <source> <source_offset:offset>, "
        "<size:int> align <align:int>",
    ),
    *(
        (ops.Atomic, {"op": op}, f"atomic_{op.value}.<width:int> <pointer> <offset:offset>, <value>")
        for op in AtomicOp
    ),
    (ops.MapRef, {}, "map @<map:word>"),
    (ops.GlobalRef, {}, "global <type:type> <section:string> <variable:string>"),
    (ops.FuncRef, {}, "func @<function:word>"),
    (ops.ExternRef, {}, "extern <type:type> @<extern:word>"),
    (ops.CoreValue, {}, "core.<kind:int> <root:string> <access:string> <value:int>"),
    (
        ops.CoreAddress,
        {},
        "core_address <type:type> <base> <root:string> <access:string> <offset:offset>",
    ),
    *(
        (
            ops.KernelLoad,
            {"signed": signed},
            f"{word}.<width:int> <type:type> <pointer> <root:string> <access:string> <offset:offset>",
        )
        for signed, word in ((False, "kload"), (True, "kloads"))
    ),
    (ops.CallHelper, {}, "helper <helper:helper><args:args><type:result>"),
    (ops.CallKfunc, {}, "kfunc <kfunc:word><args:args><type:result>"),
    (ops.Call, {}, "call @<function:word><args:args><type:result>"),
    (ops.Jump, {}, "jump <target:label>"),
    (ops.Branch, {}, "branch <condition>, <then:label>, <otherwise:label><unlikely:cold>"),
    (
        ops.CompareBranch,
        {},
        "if <pred:pred> <left>, <right>, <then:label>, <otherwise:label><unlikely:cold>",
    ),
    (ops.Return, {}, "return<value:optional>"),
    (ops.Unreachable, {}, "unreachable"),
)


# ---------------------------------------------------------------- what printer and parser know of a function


class _Names:
    """The text of values, blocks and spans of a function that is printed."""

    def __init__(self, function: Function, files: dict[str, int] | None) -> None:
        supply = NameSupply()
        count = 0
        self.files = files
        self.names: dict[Value, str] = {}
        for value in (*function.params, *function.ops()):
            if value.type == VOID:
                continue
            hint = re.sub(r"\W", "_", value.name)
            if hint and not hint.isdigit():
                self.names[value] = f"%{supply.fresh(hint)}"
            else:
                count += 1
                self.names[value] = f"%{count}"

    def value(self, value: Value) -> str:
        # An operand that stands in no block is an error, which the verifier explains; it must still be
        # printable.
        return self.names.get(value, "%detached")

    def span(self, span: Span | None) -> str:
        if span is None or self.files is None:
            return ""
        number = self.files.setdefault(span.file, len(self.files))
        return f" !{number}:{span.line}:{span.column}-{span.end_line}:{span.end_column}"


class _Scope:
    """The values and blocks of a function that is parsed. Either may be used before the line that defines it,
    so each name gets a placeholder, and ``_FunctionParser.finish`` puts the real values in."""

    def __init__(self) -> None:
        self.defined: dict[str, Value] = {}
        self.wanted: dict[str, tuple[ops.Undef, LineParser]] = {}
        self.labels: dict[str, tuple[Block, LineParser]] = {}

    def define(self, name: str, value: Value, p: LineParser) -> None:
        if name in self.defined:
            raise p.error(f"%{name} is defined twice")
        self.defined[name] = value

    def value(self, p: LineParser) -> Value:
        name = p.symbol("%")
        return self.wanted.setdefault(name, (ops.Undef(name=name), p))[0]

    def label(self, p: LineParser) -> Block:
        name = p.word()
        return self.labels.setdefault(name, (Block(name), p))[0]


# ---------------------------------------------------------------- codecs


def _parse_type(p: LineParser) -> IRType:
    text = p.word()
    found = re.fullmatch(r"i(\d+)|(void)|ptr<(\w+)(?::(-?\d+))?(\?)?>", text)
    if not found:
        raise p.error(f"expected a type, found {text!r}")
    bits, void, space, size, nullable = found.groups()
    if bits:
        return IntTy(int(bits))
    return VOID if void else PtrTy(Space(space), int(size) if size else None, bool(nullable))


def _parse_incoming(scope: _Scope, p: LineParser) -> dict[Block, Value]:
    incoming: dict[Block, Value] = {}
    p.expect("[")
    while not p.accept("]"):
        block = scope.label(p)
        p.expect(":")
        incoming[block] = scope.value(p)
        p.accept(",")
    return incoming


def _parse_offset(_: _Scope, p: LineParser) -> int:
    if p.accept("-"):
        return -p.int()
    p.expect("+")
    return p.int()


def _parse_args(scope: _Scope, p: LineParser) -> tuple[Value, ...]:
    args: list[Value] = []
    p.expect("(")
    while not p.accept(")"):
        args.append(scope.value(p))
        p.accept(",")
    return tuple(args)


def _print_helper(_: _Names, number: int) -> str:
    helper = helper_by_id(number)
    return helper.name if helper else str(number)


def _parse_helper(_: _Scope, p: LineParser) -> int:
    name = p.word()
    if name.isdigit():
        return int(name)
    helper = helper_by_name(name)
    if helper is None:
        raise p.error(f"no helper is called {name!r}")
    return helper.id


@dataclass(frozen=True, slots=True)
class _Codec:
    """How one kind of attribute is written."""

    print: Callable[[_Names, Any], str]
    parse: Callable[[_Scope, LineParser], Any]


CODECS: Final[dict[str, _Codec]] = {
    "value": _Codec(_Names.value, _Scope.value),
    "optional": _Codec(
        lambda names, value: "" if value is None else f" {names.value(value)}",
        lambda scope, p: scope.value(p) if p.ahead("%") else None,
    ),
    "label": _Codec(lambda _, block: block.name, _Scope.label),
    "type": _Codec(lambda _, type_: str(type_), lambda _, p: _parse_type(p)),
    "result": _Codec(
        lambda _, type_: "" if type_ == VOID else f": {type_}",
        lambda _, p: _parse_type(p) if p.accept(":") else VOID,
    ),
    "int": _Codec(lambda _, value: str(value), lambda _, p: p.int()),
    "word": _Codec(lambda _, value: value, lambda _, p: p.word()),
    "string": _Codec(lambda _, value: json.dumps(value), lambda _, p: p.string()),
    "pred": _Codec(lambda _, pred: pred.value, lambda _, p: Pred(p.word())),
    "cold": _Codec(lambda _, yes: " unlikely" if yes else "", lambda _, p: p.accept("unlikely")),
    "offset": _Codec(lambda _, n: f"- {-n}" if n < 0 else f"+ {n}", _parse_offset),
    "helper": _Codec(_print_helper, _parse_helper),
    "args": _Codec(lambda names, args: f"({', '.join(map(names.value, args))})", _parse_args),
    "incoming": _Codec(
        lambda names, incoming: f"[{', '.join(f'{b.name}: {names.value(v)}' for b, v in incoming.items())}]",
        _parse_incoming,
    ),
}


@dataclass(frozen=True, slots=True)
class _Form:
    """A line of ``FORMS``, taken apart: ``pieces`` are literals and (attribute, codec) pairs."""

    op: type[Value]
    fixed: Mapping[str, object]
    pieces: tuple[str | tuple[str, _Codec], ...]

    def print(self, names: _Names, op: Op) -> str:
        return "".join(
            piece if isinstance(piece, str) else piece[1].print(names, getattr(op, piece[0]))
            for piece in self.pieces
        )

    def parse(self, scope: _Scope, p: LineParser) -> Op:
        attributes: dict[str, Any] = dict(self.fixed)
        for piece in self.pieces:
            if isinstance(piece, str):
                p.expect_all(piece)
            else:
                attributes[piece[0]] = piece[1].parse(scope, p)
        made = self.op(**attributes)
        assert isinstance(made, Op)
        return made


def _form(op: type[Value], fixed: Mapping[str, object], template: str) -> _Form:
    pieces: list[str | tuple[str, _Codec]] = []
    for literal, attribute, codec in re.findall(r"([^<]*)(?:<(\w+)(?::(\w+))?>)?", template):
        if literal:
            pieces.append(literal)
        if attribute:
            pieces.append((attribute, CODECS[codec or "value"]))
    return _Form(op, fixed, tuple(pieces))


_BY_CLASS: Final[dict[type[Value], list[_Form]]] = {}
_BY_MNEMONIC: Final[dict[str, _Form]] = {}
for _op, _fixed, _template in FORMS:
    _made = _form(_op, _fixed, _template)
    _BY_CLASS.setdefault(_op, []).append(_made)
    _BY_MNEMONIC[re.split(r"[ .<]", _template)[0]] = _made


# ---------------------------------------------------------------- printing


def _print_op(names: _Names, op: Op) -> str:
    form = next(f for f in _BY_CLASS[type(op)] if all(getattr(op, k) == v for k, v in f.fixed.items()))
    result = "" if op.type == VOID else f"{names.value(op)} = "
    return f"  {result}{form.print(names, op)}{names.span(op.span)}"


def _kind_text(kind: ProgramKind) -> str:
    """The decorator's name with the options that were taken: ``xdp.frags``."""
    plain = kind_by_name(kind.name)
    taken = [o.keyword for o in plain.options if o not in kind.options] if plain else []
    return ".".join([kind.name, *taken])


def _function_lines(function: Function, structs: StructTable, files: dict[str, int] | None) -> Iterator[str]:
    names = _Names(function, files)
    params = []
    for i, param in enumerate(function.params):
        text = f"{names.value(param)}: {param.type}"
        if function.param_infos:
            about = function.param_infos[i]
            layout = "" if about.layout is None else f" {structs.text(about.layout)}"
            text += f" as {about.name or '_'}{layout}{' *' if about.pointer else ''}"
        params.append(text + names.span(param.span))
    kind = f" {_kind_text(function.kind)}" if function.kind else ""
    layout = f" as {structs.text(function.result_layout)}" if function.result_layout else ""
    inlining = "" if function.inlining is Inlining.AUTO else f" {function.inlining.value}"
    yield (
        f"func {function.role.value}{kind} @{function.name}({', '.join(params)}) -> {function.result}{layout}"
        f"{inlining}{names.span(function.span)} {{"
    )
    for block in function.blocks:
        yield f"{block.name}:"
        for op in block.ops:
            yield _print_op(names, op)
    yield "}"


def print_function(function: Function) -> str:
    """The text of one function without spans, ending in a newline. Its structs are named but not listed."""
    return "\n".join(_function_lines(function, StructTable(), None)) + "\n"


def describe(function: Function, op: Value) -> str:
    """``op`` as it stands in the text of ``function``, for messages."""
    if isinstance(op, Param):
        return f"parameter %{op.name or op.index}"
    assert isinstance(op, Op)
    return f"`{_print_op(_Names(function, None), op).strip()}`"


def print_module(module: Module, *, spans: bool = False) -> str:
    """The text of a module, ending in a newline; with ``spans`` each operation carries its source place."""
    structs = StructTable()
    files: dict[str, int] | None = {} if spans else None
    data = text_data.print_data(module, structs)
    functions = ["\n".join(_function_lines(f, structs, files)) for f in module.functions.values()]
    head = [f"file {number} {json.dumps(file)}" for file, number in (files or {}).items()]
    parts = ["\n".join([*head, *structs.lines(), *data]), *functions]
    return "\n\n".join(part for part in parts if part) + "\n"


# ---------------------------------------------------------------- parsing


def _hint(name: str) -> str:
    return "" if name.isdigit() else name.split(".")[0]


def _parse_kind(p: LineParser) -> ProgramKind:
    name, *options = p.word().split(".")
    kind = kind_by_name(name)
    if kind is None:
        raise p.error(f"no kind of program is called {name!r}")
    for option in options:
        kind = kind.with_option(option)
    return kind


def _parse_header(p: LineParser, scope: _Scope, structs: StructTable) -> Function:
    role = FunctionRole(p.word())
    kind = None if p.ahead("@") else _parse_kind(p)
    name = p.symbol("@")
    params: list[Param] = []
    infos: list[ParamInfo] = []
    p.expect("(")
    while not p.accept(")"):
        value = p.symbol("%")
        p.expect(":")
        param = Param(len(params), type=_parse_type(p), name=_hint(value))
        if p.accept("as"):
            about = p.word()
            layout = None if p.ahead(",", ")", "*", "!") else structs.parse(p)
            infos.append(ParamInfo("" if about == "_" else about, layout, p.accept("*")))
        param.span = p.span()
        params.append(param)
        scope.define(value, param, p)
        p.accept(",")
    p.expect("->")
    result = _parse_type(p)
    layout = structs.parse(p) if p.accept("as") else None
    inlining = Inlining.AUTO if p.ahead("!", "{") else Inlining(p.word())
    span = p.span() or Span("<ir>", p.number, 1, p.number, 1)
    p.expect("{")
    return Function(name, params, result, [], role, span, kind, inlining, tuple(infos), layout)


class _FunctionParser:
    """Parses the lines between a function's braces."""

    def __init__(self, header: LineParser, structs: StructTable) -> None:
        self.scope = _Scope()
        self.function = _parse_header(header, self.scope, structs)
        self.placed: set[Block] = set()

    def line(self, p: LineParser) -> None:
        if len(p.tokens) == 2 and p.tokens[1] == ":":
            block = self.scope.label(p)
            if block in self.placed:
                raise p.error(f"block {block.name} is defined twice")
            self.placed.add(block)
            self.function.blocks.append(block)
            return
        if not self.function.blocks:
            raise p.error("an operation outside a block")
        name = p.symbol("%") if p.ahead("%") else None
        if name is not None:
            p.expect("=")
        mnemonic = p.tokens[p.at] if p.at < len(p.tokens) else ""
        if mnemonic not in _BY_MNEMONIC:
            raise p.error(f"unknown operation {mnemonic!r}")
        op = _BY_MNEMONIC[mnemonic].parse(self.scope, p)
        op.span = p.span()
        p.end()
        if name is not None:
            op.name = _hint(name)
            self.scope.define(name, op, p)
        self.function.blocks[-1].ops.append(op)

    def finish(self) -> Function:
        final: dict[Value, Value] = {}
        for name, (placeholder, p) in self.scope.wanted.items():
            if name not in self.scope.defined:
                raise p.error(f"%{name} is not defined")
            final[placeholder] = self.scope.defined[name]
        for block, p in self.scope.labels.values():
            if block not in self.placed:
                raise p.error(f"block {block.name} is not defined")
        for op in self.function.ops():
            op.map_operands(final.__getitem__)
        return self.function


def parse_module(text: str) -> Module:
    """Read what ``print_module`` wrote. Raises ``TextError``, which names the line."""
    module = Module()
    structs = StructTable()
    files: dict[int, str] = {}
    current: _FunctionParser | None = None
    for number, line in enumerate(text.splitlines(), 1):
        p = LineParser(line, number, files)
        if not p.tokens:
            continue
        try:
            if current is not None and p.accept("}"):
                function = current.finish()
                module.functions[function.name] = function
                current = None
            elif current is not None:
                current.line(p)
            elif p.accept("func"):
                current = _FunctionParser(p, structs)
            else:
                text_data.parse_data(p, module, structs)
                p.end()
        except (ValueError, KeyError) as error:
            raise p.error(str(error)) from error
    if current is not None:
        raise TextError(f"function @{current.function.name} has no closing brace")
    return module
