"""Typed trees by hand, briefly: what the front end's inference makes of Python source, for tests of the
lowering."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyebpf import layout as lay
from pyebpf.declare import ContextDecl, GlobalDecl, MapDecl
from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.types import BOOL, ContextPtr, Int, Maybe, Origin, Ref, Type
from pyebpf.frontend.types import I64 as I64_T
from pyebpf.frontend.types import U64 as U64_T
from pyebpf.uapi.constants import MapType
from pyebpf.uapi.contexts import SK_BUFF, XDP_MD
from pyebpf.uapi.programs import kind_by_name

AT = Span("test.py", 1, 1, 1, 2)
SKB = ContextPtr(ContextDecl(SK_BUFF))
XDP = ContextPtr(ContextDecl(XDP_MD))


def num(value: int, type_: Int | None = None) -> tree.IntConst:
    """A literal."""
    return tree.IntConst(span=AT, value=value, type=type_ or Int(value > (1 << 63) - 1, value, value))


def boolean(value: bool) -> tree.IntConst:
    """True or False."""
    return tree.IntConst(span=AT, value=int(value), type=BOOL)


def local(name: str, type_: Type = I64_T) -> tree.Local:
    """A variable."""
    return tree.Local(name, type_, AT)


def get(variable: tree.Local, type_: Type | None = None) -> tree.GetLocal:
    """Its value."""
    return tree.GetLocal(span=AT, local=variable, type=type_ or variable.type)


def put(variable: tree.Local, value: tree.Expr) -> tree.SetLocal:
    """``variable = value``."""
    return tree.SetLocal(span=AT, local=variable, value=value)


def arith(
    op: str, left: tree.Expr, right: tree.Expr, type_: Int = I64_T, may_be_zero: bool = False
) -> tree.Arith:
    """``left op right``."""
    return tree.Arith(
        span=AT, op=tree.ArithOp(op), left=left, right=right, type=type_, may_be_zero=may_be_zero
    )


def compare(op: str, left: tree.Expr, right: tree.Expr) -> tree.Compare:
    """``left op right``."""
    return tree.Compare(span=AT, op=tree.CompareOp(op), left=left, right=right)


def ret(value: tree.Expr | None = None) -> tree.Return:
    """``return value``."""
    return tree.Return(span=AT, value=value)


def if_(test: tree.Expr, *body: tree.Stmt, orelse: tree.Body = ()) -> tree.If:
    """``if test: body``."""
    return tree.If(span=AT, test=test, body=body, orelse=orelse)


def ref(layout: lay.Layout, origin: Origin = Origin.LOCAL, **more: Any) -> Ref:
    """The type of a reference."""
    return Ref(layout, origin, **more)


def integer(layout: lay.IntType) -> Int:
    """The type that reading ``layout`` gives."""
    return Int(layout.bits == 64 and not layout.signed, layout.lo, layout.hi)


def read(of: tree.Expr) -> tree.Read:
    """The integer behind a reference."""
    assert isinstance(of.type, Ref) and isinstance(of.type.layout, lay.IntType)
    return tree.Read(span=AT, ref=of, type=integer(of.type.layout))


def field_of(base: tree.Expr, name: str) -> tree.FieldOf:
    """``base.name``."""
    assert isinstance(base.type, Ref) and isinstance(base.type.layout, lay.StructType)
    found = base.type.layout.field(name)
    assert found is not None
    return tree.FieldOf(
        span=AT, base=base, field=found, type=Ref(found.layout, base.type.origin, base.type.shared)
    )


def element(base: tree.Expr, index: tree.Expr, checked: bool = True) -> tree.ElementOf:
    """``base[index]``."""
    assert isinstance(base.type, Ref)
    of = base.type.layout
    inner = of.element if isinstance(of, lay.ArrayType) else lay.U8
    return tree.ElementOf(
        span=AT, base=base, index=index, checked=checked, type=Ref(inner, base.type.origin, base.type.shared)
    )


def slice_of(base: tree.Expr, start: int, stop: int) -> tree.SliceOf:
    """``base[start:stop]``."""
    assert isinstance(base.type, Ref)
    of = base.type.layout
    part = (
        lay.ArrayType(of.element, stop - start)
        if isinstance(of, lay.ArrayType)
        else lay.BytesType(stop - start)
    )
    return tree.SliceOf(span=AT, base=base, start=start, stop=stop, type=Ref(part, base.type.origin))


def new(struct: lay.StructType, label: str = "", **values: tree.Expr) -> tree.NewStruct:
    """``Struct(name=value)``."""
    pairs = []
    for name, value in values.items():
        found = struct.field(name)
        assert found is not None
        pairs.append((found, value))
    return tree.NewStruct(
        span=AT, struct=struct, values=tuple(pairs), type=ref(struct), label=label or struct.name.lower()
    )


def new_array(
    layout: lay.ArrayType | lay.BytesType, *items: tree.Expr, label: str = "array"
) -> tree.NewArray:
    """An array of its own."""
    return tree.NewArray(span=AT, layout=layout, items=items, type=ref(layout), label=label)


def text(data: bytes) -> tree.ConstData:
    """A bytes literal."""
    return tree.ConstData(span=AT, data=data, type=ref(lay.BytesType(len(data)), Origin.CONSTANT))


def store(to: tree.Expr, value: tree.Expr) -> tree.StoreTo:
    """``to = value`` of a scalar."""
    return tree.StoreTo(span=AT, ref=to, value=value)


def update(
    to: tree.Expr, op: str, value: tree.Expr, *, atomic: bool = False, may_be_zero: bool = False
) -> tree.UpdateTo:
    """``to op= value``."""
    return tree.UpdateTo(
        span=AT,
        ref=to,
        op=tree.ArithOp(op),
        value=value,
        atomic=atomic,
        compute=U64_T,
        may_be_zero=may_be_zero,
    )


def hash_map(
    name: str, key: lay.Layout, value: lay.Layout, *, default: int | None = None, entries: int = 8
) -> MapDecl:
    """A hash table."""
    return MapDecl(MapType.HASH, key, value, entries, default=default, name=name)


def array_map(name: str, value: lay.Layout, entries: int = 8) -> MapDecl:
    """An array map."""
    return MapDecl(MapType.ARRAY, lay.U32, value, entries, name=name)


def lookup(decl: MapDecl, key: tree.Expr, missing: tree.Missing = tree.Missing.RAISE) -> tree.MapLookup:
    """``decl[key]``, as a reference."""
    assert decl.value is not None
    found = Ref(decl.value, Origin.MAP_VALUE, True, decl)
    return tree.MapLookup(
        span=AT,
        map=decl,
        key=key,
        missing=missing,
        type=Maybe(found) if missing is tree.Missing.NULL else found,
    )


def map_update(
    decl: MapDecl, key: tree.Expr, value: tree.Expr, *, checked: bool = True, flags: int = 0
) -> tree.MapUpdate:
    """``decl[key] = value``."""
    return tree.MapUpdate(
        span=AT, map=decl, key=key, value=value, flags=num(flags), checked=checked, type=I64_T
    )


def do(value: tree.Expr) -> tree.Evaluate:
    """An expression statement."""
    return tree.Evaluate(span=AT, value=value)


def for_range(
    variable: tree.Local,
    start: tree.Expr,
    stop: tree.Expr,
    *body: tree.Stmt,
    step: int = 1,
    orelse: tree.Body = (),
) -> tree.ForRange:
    """``for variable in range(start, stop, step)``."""
    return tree.ForRange(
        span=AT, local=variable, start=start, stop=stop, step=step, body=body, orelse=orelse, trips=1000
    )


def while_(test: tree.Expr, *body: tree.Stmt, orelse: tree.Body = ()) -> tree.While:
    """``while test: body``."""
    return tree.While(span=AT, test=test, body=body, orelse=orelse, trips=1000)


def try_(
    *body: tree.Stmt, handlers: tuple[tree.Handler, ...] = (), orelse: tree.Body = (), final: tree.Body = ()
) -> tree.Try:
    """``try``."""
    return tree.Try(span=AT, body=body, handlers=handlers, orelse=orelse, final=final)


def catch(*classes: tree.Exc, body: tree.Body, errno: tree.Local | None = None) -> tree.Handler:
    """``except (classes) as …: body``."""
    return tree.Handler(span=AT, catches=classes, errno=errno, body=body)


def raise_(exception: tree.Exc, errno: tree.Expr | None = None) -> tree.Raise:
    """``raise exception``."""
    return tree.Raise(span=AT, exception=exception, errno=errno)


BREAK = tree.Break(span=AT)
CONTINUE = tree.Continue(span=AT)
RERAISE = tree.Reraise(span=AT)


def not_(operand: tree.Expr) -> tree.Not:
    """``not operand``."""
    return tree.Not(span=AT, operand=operand)


def both(*operands: tree.Expr) -> tree.Logic:
    """``a and b``."""
    return tree.Logic(span=AT, conjunction=True, operands=operands)


def either(*operands: tree.Expr) -> tree.Logic:
    """``a or b``."""
    return tree.Logic(span=AT, conjunction=False, operands=operands)


def conditional(test: tree.Expr, then: tree.Expr, otherwise: tree.Expr, type_: Type) -> tree.Conditional:
    """``then if test else otherwise``."""
    return tree.Conditional(span=AT, test=test, then=then, otherwise=otherwise, type=type_)


def function(
    name: str,
    params: tuple[tree.Local, ...],
    result: Type,
    *body: tree.Stmt,
    kind: tree.FunctionKind = tree.FunctionKind.PLAIN,
    raises: frozenset[tree.Exc] = frozenset(),
    captures: tuple[tree.Local, ...] = (),
) -> tree.Function:
    """A function that programs call."""
    return tree.Function(
        span=AT,
        name=name,
        kind=kind,
        params=params,
        result=result,
        body=body,
        raises=raises,
        captures=captures,
    )


def call(callee: tree.Function, *args: tree.Expr) -> tree.FunctionCall:
    """``callee(args)``."""
    return tree.FunctionCall(span=AT, function=callee, args=args, type=callee.result)


@dataclass
class Program:
    """An entry function under construction: ``ctx`` is its parameter."""

    kind: str = "socket_filter"
    name: str = "main"
    error_verdict: int = 0
    maps: list[MapDecl] = field(default_factory=list)
    globals: list[GlobalDecl] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ctx = local("ctx", XDP if self.kind == "xdp" else SKB)

    def unit(self, *body: tree.Stmt) -> tree.Unit:
        """The unit with ``body`` as the program."""
        program = tree.Function(
            span=AT,
            name=self.name,
            kind=tree.FunctionKind.ENTRY,
            params=(self.ctx,),
            result=I64_T,
            body=body,
            program_kind=kind_by_name(self.kind),
            error_verdict=self.error_verdict,
        )
        return tree.Unit(programs=[program], maps=self.maps, globals=self.globals, license="GPL")
