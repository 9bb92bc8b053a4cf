"""Functions of the language that look into memory which is not the program's: the kernel's and that of users.

They read through addresses (``frontend.types.Kernel`` and ``User``); what cannot be read is zero, or, inside
``bpf.checked``, an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from pyebpf import btf
from pyebpf.codes import Code
from pyebpf.declare import Builtin, KernelTypeDecl, declaration_of
from pyebpf.diagnostics import Span
from pyebpf.frontend import conversions, kernel_types, tree
from pyebpf.frontend.arguments import Arguments, arguments
from pyebpf.frontend.arithmetic import constant
from pyebpf.frontend.session import Context
from pyebpf.frontend.suggest import near
from pyebpf.frontend.types import I64, U64, Int, Kernel, Origin, Ref, Trust, User
from pyebpf.frontend.values import Operand, Static, describe
from pyebpf.hints import Any
from pyebpf.layout import ArrayType, BytesType, IntType, Layout, StructType

# ---------------------------------------------------------------- addresses


def address(context: Context, found: Operand, what: str = "an address") -> tree.Expr:
    """An operand as a number that is an address."""
    expr = conversions.runtime(context, found)
    if isinstance(expr.type, Kernel | User):
        return tree.AddressAs(operand=expr, type=U64, span=expr.span)
    if isinstance(expr.type, Int):
        return expr
    raise conversions.refuse_type(context, expr, what)


def probed(expr: tree.Expr, of: btf.Type | None, span: Span) -> tree.Expr:
    """An address as that of a ``of`` which the verifier knows nothing of."""
    return tree.AddressAs(operand=expr, type=Kernel(of), span=span)


def _kernel_decl(context: Context, given: Arguments, position: int) -> KernelTypeDecl:
    found = given.values[position]
    declaration = declaration_of(found.value) if isinstance(found, Static) else None
    if not isinstance(declaration, KernelTypeDecl):
        raise context.refusal(
            Code.E1202,
            given.spans[position],
            "a type of the kernel is wanted here",
            help="import it: `from pyebpf.kernel import task_struct`",
        )
    return declaration


def _cast(context: Context, node: Any) -> Operand:
    """``bpf.cast(T, address)``: what is at the address is taken for a ``T``."""
    given = arguments(context, node, ("T", "address"))
    decl = _kernel_decl(context, given, 0)
    of = kernel_types.declared_type(context, decl, given.spans[0])
    expr = conversions.runtime(context, given.values[1])
    if not isinstance(expr.type, Kernel | User | Int):
        raise conversions.refuse_type(context, expr, "an address")
    if isinstance(expr.type, Kernel) and expr.type.of is of:
        return expr
    same = (
        isinstance(expr.type, Kernel)
        and expr.type.trust is Trust.TRACKED
        and decl.local is not None
        and btf.name_of(expr.type.of) == btf.essential_name(decl.name)
    )
    kind = Kernel(of, Trust.TRACKED if same else Trust.PROBED)
    return tree.AddressAs(operand=expr, type=kind, span=context.span(node))


def _container_of(context: Context, node: Any) -> Operand:
    """``bpf.container_of(address, T, "member")``: the ``T`` whose member is at the address."""
    given = arguments(context, node, ("address", "T", "member"))
    decl = _kernel_decl(context, given, 1)
    of = kernel_types.declared_type(context, decl, given.spans[1])
    place = _path(context, given, 2, of)
    span = context.span(node)
    offset = tree.CoreFact(
        kind=btf.CoreKind.FIELD_BYTE_OFFSET,
        root=place.root,
        path=place.path,
        value=place.offset,
        type=Int(True, 0, place.offset, seen=False),
        span=span,
    )
    base = address(context, given.values[0])
    start = tree.Arith(op=tree.ArithOp.SUB, left=base, right=offset, type=U64, span=span)
    return probed(start, of, span)


# ---------------------------------------------------------------- reading


def _layout(context: Context, given: Arguments, position: int) -> Layout:
    found = given.values[position]
    declaration = declaration_of(found.value) if isinstance(found, Static) else None
    if isinstance(declaration, IntType | StructType | BytesType | ArrayType):
        return declaration
    raise context.refusal(
        Code.E0301,
        given.spans[position],
        "a type is wanted here",
        help="name what is there: `u32`, `u64`, a struct",
    )


def _read(context: Context, node: Any, *, user: bool) -> Operand:
    """``bpf.read_kernel(T, address)`` and ``bpf.read_user(T, address)``: a copy."""
    given = arguments(context, node, ("T", "address"))
    layout, span = _layout(context, given, 0), context.span(node)
    expr = address(context, given.values[1])
    if isinstance(layout, IntType):
        if user:
            where = tree.AddressAs(operand=expr, type=User(layout), span=span)
            kind = conversions.scalar_type(layout)
            return tree.UserRead(address=where, layout=layout, type=kind, span=span)
        place = probed(expr, btf.from_layout(layout), span)
        kind = conversions.scalar_type(layout)
        return tree.KernelRead(place=place, width=layout.size, signed=layout.signed, type=kind, span=span)
    far = tree.AddressAs(operand=expr, type=User(layout) if user else Kernel(None), span=span)
    return tree.FarCopy(address=far, string=False, type=Ref(layout, Origin.LOCAL), span=span)


def _string(context: Context, node: Any, *, user: bool) -> Operand:
    """``bpf.str_from_kernel(address, n)``: up to ``n`` bytes (the last one is lost to the NUL); of an array of the
    kernel's, all of it."""
    given = arguments(context, node, ("address", "n"), optional=1)
    span = context.span(node)
    expr = conversions.runtime(context, given.values[0])
    length = _length(context, given, expr)
    kind = Ref(BytesType(length), Origin.LOCAL)
    if user and not isinstance(expr.type, User):
        expr = tree.AddressAs(operand=address(context, expr), type=User(None), span=span)
    if not user and not isinstance(expr.type, Kernel):
        expr = probed(address(context, expr), None, span)
    return tree.FarCopy(address=expr, string=True, type=kind, span=span)


def _length(context: Context, given: Arguments, expr: tree.Expr) -> int:
    if not given.present(1):
        if isinstance(expr.type, Kernel) and isinstance(expr.type.of, btf.Array) and expr.type.of.length:
            return expr.type.of.length * btf.size_of(expr.type.of.element)
        raise context.refusal(
            Code.E0506,
            expr.span,
            "the number of bytes is not known",
            help="say it: `str_from_…(address, 64)`",
        )
    found = given.values[1]
    if not isinstance(found, Static) or not isinstance(found.value, int) or found.value < 1:
        raise context.refusal(Code.E0506, given.spans[1], "the number of bytes must be a positive constant")
    return int(found.value)


# ---------------------------------------------------------------- questions to the kernel


def _path(context: Context, given: Arguments, position: int, of: btf.Type) -> tree.KernelMember:
    """A constant such as ``"mm.owner"`` as a place: in ``of``, or behind the last pointer on the way."""
    found = given.values[position]
    if not isinstance(found, Static) or not isinstance(found.value, str) or not found.value:
        raise context.refusal(
            Code.E0301,
            given.spans[position],
            "the name of a field is wanted here",
            help='write it as `"field"`',
        )
    span = given.spans[position]
    place: tree.Expr = tree.AddressAs(operand=constant(0, span), type=Kernel(of), span=span)
    for name in found.value.split("."):
        assert isinstance(place.type, Kernel)
        if isinstance(place.type.of, btf.Ptr):
            behind = btf.skip_modifiers(place.type.of.target)
            place = tree.AddressAs(operand=constant(0, span), type=Kernel(behind), span=span)
        place = kernel_types.member(context, place, name, span)
    assert isinstance(place, tree.KernelMember)
    return place


def _field(context: Context, node: Any, kind: btf.CoreKind) -> Operand:
    """``bpf.field_exists(T, "field")`` and its like."""
    given = arguments(context, node, ("T", "field"))
    decl = _kernel_decl(context, given, 0)
    of = kernel_types.declared_type(context, decl, given.spans[0])
    place = _path(context, given, 1, of)
    size = btf.size_of(place.type.of)
    values = {btf.CoreKind.FIELD_EXISTS: 1, btf.CoreKind.FIELD_BYTE_OFFSET: place.offset}
    value = values.get(kind, size)
    return _fact(kind, place.root, place.path, value, context.span(node))


def _fact(kind: btf.CoreKind, root: btf.Type, path: Sequence[int], value: int, span: Span) -> tree.CoreFact:
    hi = 1 if kind in _ANSWERS else (1 << 31) - 1
    of = U64 if kind is btf.CoreKind.ENUMVAL_VALUE and value >= 0 else Int(False, 0, hi, seen=False)
    if value < 0:
        of = I64
    return tree.CoreFact(kind=kind, root=root, path=tuple(path), value=value, type=of, span=span)


_ANSWERS = frozenset({btf.CoreKind.FIELD_EXISTS, btf.CoreKind.TYPE_EXISTS, btf.CoreKind.ENUMVAL_EXISTS})


def _type(context: Context, node: Any, kind: btf.CoreKind) -> Operand:
    given = arguments(context, node, ("T",))
    decl = _kernel_decl(context, given, 0)
    of = kernel_types.declared_type(context, decl, given.spans[0])
    value = 1 if kind is btf.CoreKind.TYPE_EXISTS else btf.size_of(of)
    return _fact(kind, of, (0,), value, context.span(node))


def _enumerator(context: Context, node: Any, kind: btf.CoreKind) -> Operand:
    """``bpf.enum_value(T, "NAME")``: what the running kernel gives the name."""
    given = arguments(context, node, ("T", "name"))
    decl = _kernel_decl(context, given, 0)
    of = kernel_types.declared_type(context, decl, given.spans[0])
    if not isinstance(of, btf.Enum | btf.Enum64):
        raise context.refusal(Code.E1202, given.spans[0], f"`{btf.describe(of)}` is no enum")
    found = given.values[1]
    name = found.value if isinstance(found, Static) else None
    number = next((n for n, v in enumerate(of.values) if v.name == name), None)
    if number is None:
        raise context.refusal(
            Code.E1203,
            given.spans[1],
            f"`{btf.describe(of)}` has no enumerator {name!r}",
            help=near(str(name), [v.name for v in of.values]),
        )
    value = of.values[number].value if kind is btf.CoreKind.ENUMVAL_VALUE else 1
    return _fact(kind, of, (number,), value, context.span(node))


def _kconfig(context: Context, node: Any) -> Operand:
    """``bpf.kconfig("CONFIG_HZ")``: a number; ``bpf.kconfig("CONFIG_BPF", bool)``: whether it is set to y."""
    given = arguments(context, node, ("name", "of", "default"), optional=2)
    span = context.span(node)
    found = given.values[0]
    name = found.value if isinstance(found, Static) else None
    if not isinstance(name, str) or not (name.startswith("CONFIG_") and name.isidentifier()):
        raise context.refusal(
            Code.E1208,
            given.spans[0],
            "the name of a configuration option is wanted here, such as `CONFIG_HZ`",
        )
    of: object = int
    if given.present(1):
        wanted = given.values[1]
        of = wanted.value if isinstance(wanted, Static) else None
    layout = declaration_of(of)
    optional = False
    if given.present(2):
        fallback = given.values[2]
        if not (isinstance(fallback, Static) and fallback.value in (0, False)):
            raise context.refusal(Code.E1208, given.spans[2], "the only default is 0", help="compare with 0")
        optional = True
    if of is bool:
        flag = tree.KernelSetting(
            name=name, layout=IntType(8, False), type=Int(False, 0, 1), optional=optional, span=span
        )
        return tree.Truth(operand=flag, span=span)
    if of is int:
        layout = IntType(64, False)
    if not isinstance(layout, IntType):
        raise context.refusal(Code.E1208, given.spans[1], "an option is an integer or a `bool`")
    return tree.KernelSetting(
        name=name, layout=layout, type=conversions.scalar_type(layout), optional=optional, span=span
    )


def _kernel_version(context: Context, node: Any) -> Operand:
    """``bpf.kernel_version()``: of the kernel that runs the program; ``bpf.kernel_version(6, 1)``: that number."""
    given = arguments(context, node, ("major", "minor", "patch"), optional=3)
    span = context.span(node)
    if not given.present(0):
        return tree.KernelSetting(
            name="LINUX_KERNEL_VERSION",
            layout=IntType(32, False),
            type=Int(False, 0, (1 << 32) - 1),
            span=span,
        )
    numbers = []
    for n, found in enumerate(given.values):
        if not given.present(n):
            numbers.append(0)
        elif isinstance(found, Static) and isinstance(found.value, int) and 0 <= found.value < 256:
            numbers.append(int(found.value))
        else:
            raise context.refusal(
                Code.E1208, given.spans[n], "a release is made of constant numbers below 256"
            )
    return Static(numbers[0] << 16 | numbers[1] << 8 | numbers[2], span)


# ---------------------------------------------------------------- through addresses


def call_method(context: Context, receiver: tree.Expr, name: str, node: Any) -> Operand:
    """``user.read()``: what a ``bpf.User[T]`` points at."""
    assert isinstance(receiver.type, User | Kernel)
    if name != "read" or not isinstance(receiver.type, User):
        raise context.refusal(
            Code.E0904,
            node,
            f"{describe(receiver.type)} has no method `{name}` in programs",
            help=near(name, ["read"]) if isinstance(receiver.type, User) else (),
        )
    arguments(context, node, ())
    layout, span = receiver.type.layout, context.span(node)
    if layout is None:
        raise context.refusal(
            Code.E0506,
            span,
            "how many bytes are to be read is not known",
            help="use `bpf.str_from_user(address, n)` for strings, `bpf.read_user(T, address)` for others",
        )
    if isinstance(layout, IntType):
        return tree.UserRead(address=receiver, layout=layout, type=conversions.scalar_type(layout), span=span)
    return tree.FarCopy(address=receiver, string=False, type=Ref(layout, Origin.LOCAL), span=span)


def user_member(context: Context, base: tree.Expr, name: str, span: Span) -> Operand:
    """``user.field`` of a ``bpf.User[Struct]``: the field is read; a struct in it is an address again."""
    assert isinstance(base.type, User)
    layout = base.type.layout
    if not isinstance(layout, StructType):
        raise context.refusal(Code.E0301, span, f"{describe(base.type)} has no field `{name}`")
    field = layout.field(name)
    if field is None:
        raise context.refusal(
            Code.E0502,
            span,
            f"`{layout.name}` has no field `{name}`",
            help=near(name, [f.name for f in layout.fields]),
        )
    where = tree.UserMember(base=base, offset=field.offset, type=User(field.layout), span=span)
    if isinstance(field.layout, IntType):
        kind = conversions.scalar_type(field.layout)
        return tree.UserRead(address=where, layout=field.layout, type=kind, span=span)
    if isinstance(field.layout, StructType):
        return where
    return tree.FarCopy(address=where, string=False, type=Ref(field.layout, Origin.LOCAL), span=span)


def element(context: Context, base: tree.Expr, index: Operand, span: Span) -> Operand:
    """``place[i]``: of an array in a struct, or of what an address points at."""
    assert isinstance(base.type, Kernel)
    of = base.type.of
    if isinstance(of, btf.Array):
        inner, length = btf.skip_modifiers(of.element), of.length
    else:
        inner, length = of, 0
    if inner is None or isinstance(inner, btf.FuncProto | btf.Fwd):
        raise context.refusal(Code.E1203, span, f"{describe(base.type)} has no elements")
    size = btf.size_of(inner)
    if isinstance(index, Static) and isinstance(index.value, int):
        number = int(index.value)
        if number < 0 or (length and number >= length):
            raise context.refusal(Code.E0501, span, f"the index {number} is outside of `{btf.describe(of)}`")
        if isinstance(base, tree.KernelMember) and isinstance(of, btf.Array):
            place: tree.Expr = tree.KernelMember(
                base=base.base,
                root=base.root,
                path=(*base.path, number),
                offset=base.offset + number * size,
                type=Kernel(inner, base.type.trust),
                span=span,
            )
            return kernel_types.read_place(context, place, inner, span)
    expr = conversions.integer(context, index, "an integer as the index")
    if length:
        context.raises(tree.Exc.INDEX)
    place = tree.KernelElement(base=base, index=expr, size=size, length=length, type=Kernel(inner), span=span)
    return kernel_types.read_place(context, place, inner, span)


FUNCTIONS: dict[Builtin, Callable[[Context, Any], Operand]] = {
    Builtin.CAST: _cast,
    Builtin.CONTAINER_OF: _container_of,
    Builtin.READ_KERNEL: partial(_read, user=False),
    Builtin.READ_USER: partial(_read, user=True),
    Builtin.STR_FROM_KERNEL: partial(_string, user=False),
    Builtin.STR_FROM_USER: partial(_string, user=True),
    Builtin.FIELD_EXISTS: partial(_field, kind=btf.CoreKind.FIELD_EXISTS),
    Builtin.FIELD_OFFSET: partial(_field, kind=btf.CoreKind.FIELD_BYTE_OFFSET),
    Builtin.FIELD_SIZE: partial(_field, kind=btf.CoreKind.FIELD_BYTE_SIZE),
    Builtin.TYPE_EXISTS: partial(_type, kind=btf.CoreKind.TYPE_EXISTS),
    Builtin.TYPE_SIZE: partial(_type, kind=btf.CoreKind.TYPE_SIZE),
    Builtin.ENUM_VALUE: partial(_enumerator, kind=btf.CoreKind.ENUMVAL_VALUE),
    Builtin.ENUM_EXISTS: partial(_enumerator, kind=btf.CoreKind.ENUMVAL_EXISTS),
    Builtin.KCONFIG: _kconfig,
    Builtin.KERNEL_VERSION: _kernel_version,
}
"""What the functions of the language that look into memory mean."""
