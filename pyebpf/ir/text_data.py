"""The other half of the IR's textual form: tokens, layouts, structs, maps and data sections (see
``pyebpf.ir.text``)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pyebpf.diagnostics import PyebpfError, Span
from pyebpf.ir.ops import Module
from pyebpf.layout import ArrayType, BytesType, Field, IntType, Layout, Order, StructType
from pyebpf.object import DataSection, MapSpec, Pinning, Variable
from pyebpf.uapi.constants import MapType

_TOKEN = re.compile(
    r"""\s+ | \#.*
    | ("(?:[^"\\]|\\.)*" | ptr<\w+(?::-?\d+)?\??> | !\d+:\d+:\d+-\d+:\d+
      | [%@$][\w.]* | \w[\w.]* | -> | [^\s\w])""",
    re.VERBOSE,
)
_MNEMONIC = re.compile(r"(load|loads|store|zext|sext|bswap|atomic_\w+)\.(\d+)")


class TextError(PyebpfError):
    """The text is not a module; the message names the line."""


class LineParser:
    """The tokens of one line and a place among them."""

    def __init__(self, line: str, number: int, files: dict[int, str]) -> None:
        self.number = number
        self.files = files
        self.tokens: list[str] = []
        self.at = 0
        for token in _TOKEN.findall(line):
            # A width or a number of bits is part of the mnemonic; block names, which may hold dots too, are
            # not cut.
            suffix = _MNEMONIC.fullmatch(token) if not self.tokens or self.tokens[-1] == "=" else None
            if suffix:
                self.tokens += [suffix[1], ".", suffix[2]]
            elif token:
                self.tokens.append(token)

    def error(self, message: str) -> TextError:
        """An exception that names this line."""
        return TextError(f"line {self.number}: {message}")

    def ahead(self, *starts: str) -> bool:
        """Whether the next token starts with one of ``starts``."""
        return self.at < len(self.tokens) and self.tokens[self.at].startswith(starts)

    def accept(self, token: str) -> bool:
        """Take ``token`` if it is next."""
        if self.at < len(self.tokens) and self.tokens[self.at] == token:
            self.at += 1
            return True
        return False

    def expect(self, token: str) -> None:
        """Take ``token``, which must be next."""
        if not self.accept(token):
            raise self.error(f"expected {token!r}, found {' '.join(self.tokens[self.at :]) or 'the end'!r}")

    def expect_all(self, literal: str) -> None:
        """Take the tokens of ``literal``. A sigil (``@``) at its end is part of the word behind it."""
        for token in re.findall(r"\w+|[^\s\w]", literal):
            if token == "@":
                self.tokens[self.at] = self.symbol("@", keep=True)
            else:
                self.expect(token)

    def word(self) -> str:
        """The next token, whatever it is."""
        if self.at == len(self.tokens):
            raise self.error("the line ends too early")
        self.at += 1
        return self.tokens[self.at - 1]

    def symbol(self, sigil: str, *, keep: bool = False) -> str:
        """The next token without its ``sigil``; with ``keep`` it stays to be read."""
        token = self.word()
        if not token.startswith(sigil) or len(token) == 1:
            raise self.error(f"expected a name with {sigil!r}, found {token!r}")
        if keep:
            self.at -= 1
        return token[1:]

    def int(self) -> int:
        """A number."""
        return int(self.word(), 0)

    def string(self) -> str:
        """A quoted string."""
        text = json.loads(self.word())
        if not isinstance(text, str):
            raise self.error("expected a string")
        return text

    def span(self) -> Span | None:
        """A span, if one is next."""
        if not self.ahead("!"):
            return None
        file, line, column, end_line, end_column = map(int, re.findall(r"\d+", self.word()))
        return Span(self.files[file], line, column, end_line, end_column)

    def end(self) -> None:
        """Nothing may follow."""
        if self.at < len(self.tokens):
            raise self.error(f"unexpected {' '.join(self.tokens[self.at :])!r}")


_INT_NAMES = {
    layout.name: layout
    for order in Order
    for bits in (8, 16, 32, 64)
    for signed in (False, True)
    if not (signed and order is not Order.NATIVE)
    for layout in (IntType(bits, signed, order),)
}


class StructTable:
    """Layouts by name. Two structs that are called the same are told apart by a number."""

    def __init__(self) -> None:
        self._names: dict[StructType, str] = {}
        self._structs: dict[str, StructType] = {}
        self._lines: list[str] = []

    def text(self, layout: Layout) -> str:
        """How ``layout`` is written. Structs are entered into the table, members first."""
        match layout:
            case IntType() | BytesType():
                return layout.name
            case ArrayType():
                return f"array({self.text(layout.element)}, {layout.length})"
            case StructType():
                if layout not in self._names:
                    fields = ", ".join(f"{f.name}: {self.text(f.layout)} @ {f.offset}" for f in layout.fields)
                    name, number = layout.name, 1
                    while name in self._structs:
                        name, number = f"{layout.name}.{number}", number + 1
                    self._names[layout], self._structs[name] = name, layout
                    flags = (" packed" if layout.packed else "") + (" union" if layout.union else "")
                    head = f"struct ${name} {layout.size} align {layout.align}"
                    self._lines.append(f"{head}{flags} {{{fields}}}")
                return f"${self._names[layout]}"

    def lines(self) -> Iterator[str]:
        """The declarations of the structs met so far."""
        return iter(self._lines)

    def parse(self, p: LineParser) -> Layout:
        """A layout."""
        if p.ahead("$"):
            return self._structs[p.symbol("$")]
        name = p.word()
        if name == "chars":
            p.expect("(")
            length = p.int()
            p.expect(")")
            return BytesType(length)
        if name == "array":
            p.expect("(")
            element = self.parse(p)
            p.expect(",")
            length = p.int()
            p.expect(")")
            return ArrayType(element, length)
        return _INT_NAMES[name]

    def declare(self, p: LineParser) -> None:
        """The rest of a ``struct`` line."""
        name = p.symbol("$")
        size = p.int()
        p.expect("align")
        align = p.int()
        packed, union = p.accept("packed"), p.accept("union")
        fields: list[Field] = []
        p.expect("{")
        while not p.accept("}"):
            member = p.word()
            p.expect(":")
            layout = self.parse(p)
            p.expect("@")
            fields.append(Field(member, layout, p.int()))
            p.accept(",")
        self._structs[name] = StructType(name.split(".")[0], tuple(fields), size, align, packed, union)


def _print_map(spec: MapSpec, structs: StructTable) -> str:
    parts = [f"map @{spec.name} {spec.type.name} key {spec.key_size} value {spec.value_size}"]
    parts.append(f"entries {spec.max_entries}")
    if spec.flags:
        parts.append(f"flags {spec.flags:#x}")
    if spec.map_extra:
        parts.append(f"extra {spec.map_extra:#x}")
    if spec.numa_node is not None:
        parts.append(f"node {spec.numa_node}")
    if spec.pinning:
        parts.append("pinned")
    if spec.key or spec.value:
        parts.append(f"layouts {' '.join(structs.text(x) if x else '_' for x in (spec.key, spec.value))}")
    if spec.contents:
        parts.append(f'contents "{spec.contents.hex()}"')
    parts.extend(f"slot {index} {json.dumps(name)}" for index, name in spec.slots.items())
    if spec.inner:
        parts.append(f"inner {_print_map(spec.inner, structs)}")
    return " ".join(parts)


def _parse_map(p: LineParser, structs: StructTable) -> MapSpec:
    name, map_type = p.symbol("@"), MapType[p.word()]
    p.expect("key")
    key_size = p.int()
    p.expect("value")
    value_size = p.int()
    p.expect("entries")
    spec = MapSpec(name, map_type, key_size, value_size, p.int())
    spec.flags = p.int() if p.accept("flags") else 0
    spec.map_extra = p.int() if p.accept("extra") else 0
    spec.numa_node = p.int() if p.accept("node") else None
    spec.pinning = Pinning.BY_NAME if p.accept("pinned") else Pinning.NONE
    if p.accept("layouts"):
        spec.key = None if p.accept("_") else structs.parse(p)
        spec.value = None if p.accept("_") else structs.parse(p)
    if p.accept("contents"):
        spec.contents = bytes.fromhex(p.string())
    while p.accept("slot"):
        index = p.int()
        spec.slots[index] = p.string()
    if p.accept("inner"):
        p.expect("map")
        spec.inner = _parse_map(p, structs)
    return spec


def print_data(module: Module, structs: StructTable) -> list[str]:
    """The lines for licence, maps and data sections; structs are entered into ``structs``."""
    lines = [f"license {json.dumps(module.license)}"] if module.license else []
    lines += [_print_map(spec, structs) for spec in module.maps.values()]
    for section in module.data.values():
        head = f"data {json.dumps(section.name)} align {section.align}"
        lines.append(f'{head} contents "{section.contents.hex()}"')
        for var in section.variables:
            layout = f" layout {structs.text(var.layout)}" if var.layout else ""
            head = f"var {json.dumps(section.name)} {json.dumps(var.name)} at {var.offset} size {var.size}"
            lines.append(f"{head}{layout}{' static' if var.static else ''}")
    return lines


def parse_data(p: LineParser, module: Module, structs: StructTable) -> None:
    """One line outside functions."""
    match p.word():
        case "license":
            module.license = p.string()
        case "file":
            number = p.int()
            p.files[number] = p.string()
        case "struct":
            structs.declare(p)
        case "map":
            spec = _parse_map(p, structs)
            module.maps[spec.name] = spec
        case "data":
            name = p.string()
            p.expect("align")
            align = p.int()
            p.expect("contents")
            module.data[name] = DataSection(name, bytearray.fromhex(p.string()), align=align)
        case "var":
            section, name = p.string(), p.string()
            p.expect("at")
            offset = p.int()
            p.expect("size")
            size = p.int()
            layout = structs.parse(p) if p.accept("layout") else None
            module.data[section].variables.append(
                Variable(name, offset, size, None, layout, p.accept("static"))
            )
        case other:
            raise p.error(f"unexpected {other!r}")
