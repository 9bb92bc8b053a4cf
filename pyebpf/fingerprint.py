"""What the compilation of a program depends on, as text, found without the compiler: the key of the cache.

From the program's function a walk follows every name that its text mentions, through closures, modules and called
functions, and writes down what each stands for: constants by value, maps, variables and structs by their declarations,
functions by the whole text of their files. It takes more names than the compiler looks at, never fewer, and
raises ``Uncacheable`` where it meets anything that it does not know.
"""

from __future__ import annotations

import builtins
import functools
import marshal
import operator
import os
import sys
import types
import zlib
from collections.abc import Iterable, Mapping

from pyebpf import declare, enums
from pyebpf.declare import (
    Builtin,
    ContextDecl,
    FunctionDecl,
    GlobalDecl,
    HelperDecl,
    KernelTypeDecl,
    MapDecl,
    ProgramDecl,
    UserDecl,
    declaration_of,
)
from pyebpf.decorators import ProgramDecorator
from pyebpf.hints import TYPE_CHECKING, Any, assert_never
from pyebpf.lang import FieldSpec
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, StructType
from pyebpf.records import dataclass, field, fields
from pyebpf.running import annotation_strings, trace
from pyebpf.uapi import constants, programs

if TYPE_CHECKING:
    from pyebpf.target import Target

_WORDS = "".join(sign if sign.isalnum() or sign == "_" else " " for sign in map(chr, range(128)))
"""By the number of each ASCII character: itself where names may have it, a space otherwise."""
_COMPILER = ("", "btf", "ir", "uapi", "frontend", "backend", "backend/passes")
_PREPARED_BY = ("runtime/linker.py", "runtime/prepare.py")
"""The folders and files of the package that decide what a compilation gives and how it is made ready."""

_OF_C = (
    types.BuiltinFunctionType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
)
"""The kinds of methods and properties that are not written in Python."""


class Uncacheable(Exception):
    """The program depends on something whose value cannot be written down."""


@dataclass(eq=False, slots=True)
class Fingerprint:
    """What a compilation depends on (``text``), and the declarations and files that the walk met, in order."""

    text: str = ""
    declarations: list[MapDecl | GlobalDecl] = field(default_factory=list)
    structs: list[StructType] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    functions: list[tuple[str, int, int]] = field(default_factory=list)  # file, first and last line

    def covers(self, file: str, line: int) -> bool:
        """Whether the walk went through a function that has this line."""
        return any(name == file and first <= line <= last for name, first, last in self.functions)


def fingerprint(program: ProgramDecl, target: Target) -> Fingerprint:
    """What compiling ``program`` for ``target`` now depends on. Raises ``Uncacheable``."""
    walk = _Walk()
    stated = declare.LICENSES.get(program.function.__module__)
    walk.out += [
        sys.version,
        sys.byteorder,
        repr(target),
        " ".join(os.uname()),
        repr(stated.text if stated else None),
        _package(),
    ]
    walk.declaration(program, frozenset())
    walk.found.text = "\n".join(walk.out)
    return walk.found


@functools.cache
def _package() -> str:
    """The compiler itself: a checksum of the places, sizes and times of its files, so that a changed checkout compiles anew.
    A process has one."""
    home = os.path.dirname(__file__)
    found = []
    for folder in _COMPILER:
        with os.scandir(os.path.join(home, folder)) as entries:
            found += [_state(entry.path, entry.stat()) for entry in entries if entry.name.endswith(".py")]
    found += [_state(name, os.stat(os.path.join(home, name))) for name in _PREPARED_BY]
    for path in sys.path:
        parser = os.path.join(path, "astroid", "__pkginfo__.py")
        if os.path.isfile(parser):
            found.append(_state(parser, os.stat(parser)))
            break
    found.sort()
    data = marshal.dumps(found, 2)  # without references, which depend on who else uses the text
    return f"{len(found)} {zlib.crc32(data):08x}{zlib.adler32(data):08x}"


def _state(name: str, known: os.stat_result) -> tuple[str, int, int]:
    return name, known.st_mtime_ns, known.st_size


def _of_others(module: str | None) -> bool:
    """Whether a module is Python's or our own: what it defines changes with their versions only."""
    top = (module or "").partition(".")[0]
    return top in sys.stdlib_module_names or top == "pyebpf"


def _of_python(attribute: object) -> bool:
    """Whether an attribute is a method or property of Python's own classes, which programs cannot use anyway."""
    if isinstance(attribute, property):
        return _of_others(
            attribute.fget.__module__ if isinstance(attribute.fget, types.FunctionType) else None
        )
    return isinstance(attribute, _OF_C) or (
        isinstance(attribute, types.MethodType) and _of_others(attribute.__module__)
    )


class _Walk:
    """Writes down values; what it meets again gets a number instead."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.found = Fingerprint()
        self._met: dict[object, int] = {}
        self._keep: list[object] = []  # ids stay those of these objects while the walk lasts

    def _again(self, kind: str, value: object, key: object = None) -> bool:
        """Whether the value was met before; it is written down as its number then."""
        known = (id(value), key)
        if known in self._met:
            self.out.append(f"{kind} {self._met[known]}")
            return True
        self._met[known] = len(self._met)
        self._keep.append(value)
        return False

    # ------------------------------------------------------------ values

    def value(self, value: object, names: frozenset[str]) -> None:
        """Write down ``value``. ``names``: the names in the text of the function that mentions it."""
        kind = type(value)
        if value is None or kind in (bool, int, str, bytes, float):
            self.out.append(repr(value))
        elif enums.is_member(value) and declaration_of(value) is None:
            self._member(value, names)
        elif isinstance(value, tuple | list) and kind in (tuple, list):
            self.out.append(f"{kind.__name__} {len(value)}")
            for item in value:
                self.value(item, names)
        elif isinstance(value, dict) and kind is dict:
            self.out.append(f"dict {len(value)}")
            for key, item in value.items():
                self.value(key, names)
                self.value(item, names)
        elif isinstance(value, types.ModuleType):
            self.module(value, names)
        elif isinstance(value, FieldSpec):
            self.layout(value.layout, names)
        elif isinstance(value, ProgramDecorator):
            self.out.append(repr(value))
        else:
            self._object(value, names)

    def _object(self, value: object, names: frozenset[str]) -> None:
        found = declaration_of(value)
        if isinstance(found, StructType) and value is not found and not isinstance(value, type):
            self.layout(found, names)
            for one in found.fields:
                self.value(getattr(value, one.name), names)
        elif found is not None:
            self.declaration(found, names)
            if isinstance(found, FunctionDecl | ProgramDecl):
                self._attributes(value, names & vars(value).keys(), names)
        elif isinstance(value, types.FunctionType):
            self.function(value)
            self._attributes(value, names & vars(value).keys(), names)
        elif isinstance(value, type):
            self._class(value, names)
        elif isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, types.ModuleType):
            self.out.append(f"{value.__module__}.{value.__qualname__}")
        else:
            raise Uncacheable(f"a value of type {type(value).__qualname__}")

    def _attributes(self, value: object, which: Iterable[str], names: frozenset[str]) -> None:
        """Write down attributes of a Python object. They are read as the compiler reads them, so that metaclasses,
        properties and what was set from outside count."""
        for name in sorted(which):
            try:
                found = getattr(value, name)
            except Exception:  # of any kind: the object's own code ran; the compiler would refuse it
                continue
            self.out.append(name)
            if not _of_python(found):
                self.value(found, names)

    def _member(self, member: enums.Enum, names: frozenset[str]) -> None:
        kind = type(member)
        self.out.append(f"{kind.__module__}.{kind.__qualname__}.{member.name}")
        if self._again("member", member, names):
            return
        self.out.append(repr(bool(member)))
        if isinstance(member, int):
            self.out.append(f"{int(member)} {operator.index(member)}")
        self.value(member.value, names)
        self._attributes(member, names, names)

    def module(self, module: types.ModuleType, names: frozenset[str]) -> None:
        """Write down what the names mean in a module; which of them follow the module's own name does not matter."""
        self.out.append(f"module {module.__name__}")
        members = vars(module)
        if module.__name__.partition(".")[0] == "pyebpf":
            self._set_in_ours(members, names)
            return
        if self._again("module", module, names):
            return
        if "__getattr__" in members or type(module) is not types.ModuleType:
            raise Uncacheable(f"module {module.__name__} makes its names when they are asked for")
        for name in sorted(names & members.keys()):
            self.out.append(name)
            self.value(members[name], names)

    def _set_in_ours(self, members: Mapping[str, object], names: frozenset[str]) -> None:
        """Write down the constants that somebody else has put into a module of ours."""
        for name in sorted(names & members.keys()):
            value = members[name]
            known = getattr(constants, name, None), getattr(programs, name, None)
            if isinstance(value, int | str | bytes | tuple) and value not in known:
                self.out.append(f"ours {name} {value!r}")

    def _class(self, cls: type, names: frozenset[str]) -> None:
        self.out.append(f"class {cls.__module__}.{cls.__qualname__}")
        if cls.__module__.partition(".")[0] == "pyebpf" or self._again("class", cls, names):
            return
        self.out += [f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__]
        self._attributes(cls, names | cls.__members__.keys() if enums.is_enumeration(cls) else names, names)

    # ------------------------------------------------------------ functions

    def function(self, function: types.FunctionType) -> None:
        """Write down a function: the text of its file, and what every name in its own lines stands for."""
        code = function.__code__
        self.out.append(f"function {function.__module__}.{function.__qualname__}")
        if _of_others(function.__module__) or self._again("function", function):
            return
        self.out.append(f"{code.co_filename}:{code.co_firstlineno} {code.co_name} {code.co_flags}")
        # An edited file that was not imported again has another text than what runs, which compiling would refuse.
        self.out.append(f"{trace(code)} {annotation_strings(function)!r}")
        lines = self._file(code.co_filename).splitlines()
        first, last = code.co_firstlineno, _last_line(code, lines)
        self.found.functions.append((code.co_filename, first, last))
        names = _names("\n".join(lines[first - 1 : last]))
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        for name in sorted(names):
            if name in cells:
                self.out.append(f"captured {name}")
                try:
                    captured = cells[name].cell_contents
                except ValueError:
                    continue
                self.value(captured, names)
            elif name in function.__globals__:
                self.out.append(f"global {name}")
                self.value(function.__globals__[name], names)
            elif hasattr(builtins, name):
                self._builtin(name, names)
        self.value(function.__defaults__, names)
        self.value(function.__kwdefaults__, names)
        self._declared(function.__globals__, names)

    def _builtin(self, name: str, names: frozenset[str]) -> None:
        found: object = getattr(builtins, name)
        self.out.append(f"builtin {name}")
        # What `site` adds for interactive use is there or not; programs cannot use it.
        if (
            type(found).__module__ != "_sitebuiltins"
            and found is not Ellipsis
            and found is not NotImplemented
        ):
            self.value(found, names)

    def _declared(self, namespace: dict[str, object], names: frozenset[str]) -> None:
        """The names of all maps and variables of a module and of those that it imports: declarations are named after
        them, and all variables of a module lie in its program's sections."""
        if self._again("namespace", namespace):
            return
        for name, value in list(namespace.items()):
            self._named(name, value, names)
            if isinstance(value, types.ModuleType) and not _of_others(value.__name__):
                for inner, member in list(vars(value).items()):
                    self._named(inner, member, names)

    def _named(self, name: str, value: object, names: frozenset[str]) -> None:
        found = None if isinstance(value, types.ModuleType) else declaration_of(value)
        if isinstance(found, MapDecl | GlobalDecl):
            self.out.append(f"declared {name}")
            self.declaration(found, names)

    def _file(self, name: str) -> str:
        text = self.found.files.get(name)
        if text is None:
            try:
                with open(name, encoding="utf-8") as opened:
                    text = opened.read()
            except (OSError, ValueError):
                raise Uncacheable(f"the source of {name} cannot be read") from None
            self.found.files[name] = text
            self.out += [f"file {name} {len(text)}", text]
        return text

    # ------------------------------------------------------------ declarations

    def declaration(self, found: declare.Declaration, names: frozenset[str]) -> None:
        """Write down a declaration; its identity is that of its number."""
        match found:
            case IntType() | BytesType() | ArrayType() | StructType():
                self.layout(found, names)
            case MapDecl():
                self._map(found, names)
            case GlobalDecl():
                self._global(found, names)
            case FunctionDecl():
                self.out.append(found.style.name)
                self.function(found.function)
            case ProgramDecl():
                self._program(found, names)
            case HelperDecl(name=name):
                self.out.append(f"helper {name}")
            case ContextDecl(context=context):
                self.out.append(f"context {context.name}")
            case KernelTypeDecl(name=name, local=local):
                self.out.append(f"kernel type {name}")
                self.layout(local, names)
            case UserDecl(layout=layout):
                self.out.append("user")
                self.layout(layout, names)
            case Builtin():
                self.out.append(f"builtin {found.name}")
            case _:
                assert_never(found)

    def _map(self, found: MapDecl, names: frozenset[str]) -> None:
        if self._again("map", found):
            return
        self.found.declarations.append(found)
        self.out.append(f"map {found.type!r} {found.max_entries!r} {found.flags!r} {found.default!r}")
        self.out.append(f"{found.name!r} {found.pinned!r}")
        for layout in (found.key, found.value):
            self.layout(layout, names)

    def _global(self, found: GlobalDecl, names: frozenset[str]) -> None:
        if self._again("variable", found):
            return
        self.found.declarations.append(found)
        self.out.append(f"variable {found.constant!r} {found.name!r}")
        self.layout(found.layout, names)
        self.value(found.initial, names)

    def _program(self, found: ProgramDecl, names: frozenset[str]) -> None:
        if self._again("program", found):
            return
        kind = found.kind
        row = [getattr(kind, one.name) for one in fields(kind) if one.name != "context"]
        self.out.append(f"program {found.name!r} {found.on_error!r} {found.flags!r} {found.target!r} {row!r}")
        self.out.append(repr(None if kind.context is None else kind.context.name))
        self.function(found.function)

    def layout(self, of: Layout | None, names: frozenset[str]) -> None:
        """Write down a layout; structs are the same only if they are the same declaration."""
        match of:
            case None:
                self.out.append("none")
            case IntType():
                self.out.append(f"{of.name} {of.order.name}")
            case BytesType(length=length):
                self.out.append(f"bytes {length}")
            case ArrayType(element=element, length=length):
                self.out.append(f"array {length}")
                self.layout(element, names)
            case StructType():
                self._struct(of, names)

    def _struct(self, of: StructType, names: frozenset[str]) -> None:
        if self._again("struct", of):
            return
        self.found.structs.append(of)
        self.out.append(f"struct {of.name} {of.size} {of.align} {of.packed} {of.union}")
        for one in of.fields:
            self.out.append(f"{one.name} {one.offset}")
            self.layout(one.layout, names)
        members: Mapping[str, Any] = vars(of.python_class) if isinstance(of.python_class, type) else {}
        for name in sorted(names & members.keys()):
            if of.field(name) is None:
                self.out.append(name)
                self.value(members[name], names)


def _names(text: str) -> frozenset[str]:
    """Every name that a piece of source mentions, also in strings and annotations; as Python normalises names."""
    if text.isascii():  # without ``re``, which takes longer to import than a script has functions to read
        return frozenset(word.lstrip("0123456789") for word in text.translate(_WORDS).split()) - {""}
    import re
    import unicodedata

    found = set(re.findall(r"[^\W\d]\w*", text))
    return frozenset(found | {unicodedata.normalize("NFKC", name) for name in found})


def _last_line(code: types.CodeType, lines: list[str]) -> int:
    """The last line of a function: that of its code, or of the indented lines behind (annotations have no code)."""
    last = _last_code_line(code)
    first = lines[code.co_firstlineno - 1] if code.co_firstlineno <= len(lines) else ""
    indent = len(first) - len(first.lstrip())
    while last < len(lines):
        line = lines[last]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        last += 1
    return last


def _last_code_line(code: types.CodeType) -> int:
    found = max((end or 0 for _, end, _, _ in code.co_positions()), default=code.co_firstlineno)
    inner = (_last_code_line(one) for one in code.co_consts if isinstance(one, types.CodeType))
    return max(found, code.co_firstlineno, *inner, 0)
