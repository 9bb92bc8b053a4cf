"""The debug information of compiled functions: their BTF types and the source line of every instruction.

The kernel needs function types for callbacks and global functions, and shows line records in the verifier's
log. Rules: docs of BTF (Documentation/bpf/btf.rst) and ``check_btf_func``, ``check_btf_line`` in the
verifier.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator

from pyebpf import btf
from pyebpf.backend.emit import Code
from pyebpf.diagnostics import Span
from pyebpf.hints import TYPE_CHECKING
from pyebpf.ir.ops import Call, FuncRef, Function, FunctionRole, Module, ParamInfo
from pyebpf.ir.types import IntTy, IRType, PtrTy, Space, VoidTy
from pyebpf.object import DataSection, LineInfo, MapSpec, ObjectSpec
from pyebpf.target import Target
from pyebpf.uapi.contexts import TRACING_ARGS

if TYPE_CHECKING:
    from typing import Final


MAX_COLUMN: Final = 1023  # ten bits of line_col
_MAX_TEXT: Final = 200  # bytes of a source line; longer ones say nothing more in a log
_PLAIN_MEMORY: Final = frozenset({Space.STACK, Space.MAP_VALUE, Space.GLOBAL, Space.RINGBUF, Space.MEM})


# ---------------------------------------------------------------- types


def callees(function: Function) -> list[str]:
    """The functions that run in a frame below that of ``function``: called, or given to a helper as
    callback."""
    found: dict[str, None] = {}
    for op in function.ops():
        match op:
            case Call(function=name) | FuncRef(function=name):
                found[name] = None
            case _:
                pass
    return list(found)


class FunctionTypes:
    """Makes the BTF of the functions of ``module``; each context struct is one type in it."""

    def __init__(self, module: Module) -> None:
        self._structs: dict[str, btf.Struct] = {}
        # By function, the contexts of the programs that come to it.
        self._contexts: dict[str, set[str]] = {name: set() for name in module.functions}
        for name, function in module.functions.items():
            if function.kind is not None and function.kind.context is not None:
                work = [name]
                while work:
                    reached = work.pop()
                    if function.kind.context.name not in self._contexts[reached]:
                        self._contexts[reached].add(function.kind.context.name)
                        work += callees(module.functions[reached])

    def of(self, function: Function, name: str) -> btf.Func:
        """The ``FUNC`` of ``function``, which the object calls ``name``. All parameters are named."""
        params = tuple(
            btf.Param(_param_name(info, number, param.name), self._param(function, info, param.type))
            for number, (param, info) in enumerate(zip(function.params, _infos(function), strict=True))
        )
        role = function.role
        outside = role in (FunctionRole.ENTRY, FunctionRole.GLOBAL)
        linkage = btf.FuncLinkage.GLOBAL if outside else btf.FuncLinkage.STATIC
        return btf.Func(name, btf.FuncProto(self._result(function), params), linkage)

    def _result(self, function: Function) -> btf.Type | None:
        if function.result_layout is not None and function.role is not FunctionRole.ENTRY:
            return btf.from_layout(function.result_layout)
        match function.result:
            case VoidTy():
                return None
            case IntTy(bits=64) if function.role not in (FunctionRole.ENTRY, FunctionRole.CALLBACK):
                return btf.S64
            case IntTy():
                return btf.INT
            case PtrTy():
                return btf.Ptr(None)

    def _param(self, function: Function, info: ParamInfo | None, type_: IRType) -> btf.Type:
        match type_:
            case PtrTy(space=Space.CTX) if len(self._contexts[function.name]) == 1:
                (name,) = self._contexts[function.name]
                return btf.Ptr(self._context(name))
            case PtrTy() if info is not None and info.layout is not None:
                return btf.Ptr(btf.from_layout(info.layout))
            case PtrTy(space=space, size=int(size)) if space in _PLAIN_MEMORY:
                # What the verifier of a global function takes for memory of this size.
                return btf.Ptr(btf.Array(btf.U8, size))
            case PtrTy():
                return btf.Ptr(None)
            case IntTy() if info is not None and info.layout is not None and not info.pointer:
                return btf.from_layout(info.layout)
            case IntTy(bits=32):
                return btf.U32
            case _:
                return btf.U64

    def _context(self, name: str) -> btf.Type:
        """The context by its canonical name, which is all that the kernel looks at; numbers where it has none."""
        if name == TRACING_ARGS.name:
            return btf.U64
        if name not in self._structs:
            self._structs[name] = btf.Struct(name, 0)
        return self._structs[name]


def _infos(function: Function) -> list[ParamInfo | None]:
    infos: list[ParamInfo | None] = list(function.param_infos)
    return infos + [None] * (len(function.params) - len(infos))


def _param_name(info: ParamInfo | None, number: int, hint: str) -> str:
    name = info.name if info is not None and info.name else hint
    return btf.identifier(name) if name else f"arg{number}"


def object_without_code(module: Module, target: Target) -> ObjectSpec:
    """The object of ``module`` with everything but functions; its maps and data get their types."""
    spec = ObjectSpec(
        maps=dict(module.maps),
        data=dict(module.data),
        externs=dict(module.externs),
        license=module.license,
        little_endian=target.little_endian,
    )
    for map_spec in spec.maps.values():
        complete_map(map_spec)
    for section in spec.data.values():
        complete_data(section)
    return spec


def complete_map(spec: MapSpec) -> None:
    """Set the BTF types of the key and value of ``spec`` (and of its inner map) from their layouts."""
    if spec.key is not None and spec.key_type is None:
        spec.key_type = btf.from_layout(spec.key)
    if spec.value is not None and spec.value_type is None:
        spec.value_type = btf.from_layout(spec.value)
    if spec.inner is not None:
        complete_map(spec.inner)


def complete_data(section: DataSection) -> None:
    """Set the BTF types of the variables of ``section`` from their layouts; bytes where there is no
    layout."""
    for variable in section.variables:
        if variable.type is None:
            known = variable.layout is not None
            variable.type = (
                btf.from_layout(variable.layout)
                if variable.layout is not None and known
                else btf.Array(btf.CHAR, variable.size)
            )


# ---------------------------------------------------------------- lines


def lines(code: Code, function: Function) -> tuple[LineInfo, ...]:
    """The line records of ``code``: one where the source changes, the first at slot 0.

    Instructions without source belong to what comes before them; at the start, to the function itself.
    """
    return tuple(_records(code, function.span))


def _records(code: Code, start: Span) -> Iterator[LineInfo]:
    last: Span | None = None
    slot = 0
    for insn, span in zip(code.insns, code.spans, strict=True):
        now = span or last or start
        if last is None or (now.file, now.line, now.column) != (last.file, last.line, last.column):
            yield LineInfo(slot, plain(now.file), now.line, min(now.column, MAX_COLUMN), source_text(now))
        last = now
        slot += insn.slots


def source_text(span: Span) -> str:
    """The source line of ``span``, stripped, in ASCII; empty where the source is not at hand."""
    return plain(linecache.getline(span.file, span.line).strip())[:_MAX_TEXT]


def plain(text: str) -> str:
    """``text`` as the kernel's log and every tool can show it: other characters as escapes."""
    return "".join(c if c.isprintable() else " " for c in text).encode("ascii", "backslashreplace").decode()
