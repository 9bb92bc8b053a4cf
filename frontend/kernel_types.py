"""The types of the kernel, from the target's type information: what names mean, and what a field of a type is.

A *place* is an address with a type (``Kernel``). Reading a place gives an integer or a further address; structs and
arrays are places themselves, whose parts are read.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyebpf import btf
from pyebpf.codes import Code
from pyebpf.declare import KernelTypeDecl
from pyebpf.diagnostics import Span
from pyebpf.frontend import tree
from pyebpf.frontend.conversions import scalar_type
from pyebpf.frontend.session import Context
from pyebpf.frontend.suggest import meant, near
from pyebpf.frontend.types import U64, Int, Kernel, Trust, Type, User
from pyebpf.layout import IntType
from pyebpf.near_names import near as near_names
from pyebpf.records import dataclass

Composite = btf.Struct | btf.Union
NAMED = (btf.Kind.STRUCT, btf.Kind.UNION, btf.Kind.TYPEDEF, btf.Kind.ENUM, btf.Kind.ENUM64)


def specification(context: Context, span: Span) -> btf.Spec:
    """The target's types. Refuses where they are not known."""
    found = context.session.kernel_types()
    if found is None:
        raise context.refusal(
            Code.E1201,
            span,
            "the types of the target's kernel are not known here",
            notes=["this kernel has no type information (/sys/kernel/btf/vmlinux), or this is not Linux"],
            help="name a file that has it: `pyebpf build --btf vmlinux.btf`",
        )
    return found


def declared_type(context: Context, decl: KernelTypeDecl, span: Span) -> btf.Type:
    """The type that a declaration names, without typedefs. Refuses names that the target does not know."""
    if decl.local is not None:
        return context.session.local_type(decl)
    spec = specification(context, span)
    found = btf.skip_modifiers(spec.find(decl.name, *NAMED))
    if found is None:
        raise context.refusal(
            Code.E1202,
            span,
            f"the target's kernel has no type `{decl.name}`",
            help=near(decl.name, spec.names(*NAMED)),
        )
    return found


@dataclass(frozen=True, slots=True)
class Found:
    """A member that a name leads to, through anonymous ones: numbers on the way, and bits from the start."""

    path: tuple[int, ...]
    type: btf.Type
    bit_offset: int
    bit_size: int


def find_member(of: Composite, name: str) -> Found | None:
    """The member of ``of`` called ``name``, also in anonymous structs and unions in it."""
    inside: list[tuple[int, btf.Member, Composite]] = []
    for number, member in enumerate(of.members):
        if member.name == name:
            return Found((number,), member.type, member.bit_offset, member.bit_size)
        inner = btf.skip_modifiers(member.type)
        if not member.name and isinstance(inner, Composite):
            inside.append((number, member, inner))
    for number, member, inner in inside:
        found = find_member(inner, name)
        if found is not None:
            at = member.bit_offset + found.bit_offset
            return Found((number, *found.path), found.type, at, found.bit_size)
    return None


def member_types(of: Composite) -> Iterator[tuple[str, btf.Type]]:
    """The names that ``find_member`` finds, with their types."""
    for member in of.members:
        inner = btf.skip_modifiers(member.type)
        if member.name:
            yield member.name, member.type
        elif isinstance(inner, Composite):
            yield from member_types(inner)


def _similar(of: Composite, name: str) -> Iterator[str]:
    """What ``name`` may stand for: C often has macros for members of the structs inside."""
    places: dict[str, str] = {}
    for outer, type_ in member_types(of):
        inner = btf.skip_modifiers(type_)
        if isinstance(inner, Composite):
            places |= {known: f"{outer}.{known}" for known, _ in member_types(inner)}
    places |= {known: known for known, _ in member_types(of)}
    return (places[known] for known in near_names(name, places))


def member(context: Context, base: tree.Expr, name: str, span: Span) -> tree.KernelMember:
    """The place of ``base.name``; ways through embedded structs become one access."""
    assert isinstance(base.type, Kernel)
    of = base.type.of
    if not isinstance(of, Composite):
        raise context.refusal(
            Code.E1203, span, f"`{btf.describe(of)}` is no struct, and has no field `{name}`"
        )
    found = find_member(of, name)
    if found is None:
        raise context.refusal(
            Code.E1203,
            span,
            f"`{btf.describe(of)}` has no field `{name}` in the kernel whose types are used",
            help=meant(_similar(of, name))
            or "declare the struct with the field that other kernels have: `@bpf.kernel_struct`",
        )
    start: tree.Expr = base
    root: btf.Type = of
    path: tuple[int, ...] = (0,)
    offset = 0
    if isinstance(base, tree.KernelMember):
        start, root, path, offset = base.base, base.root, base.path, base.offset
    inner = btf.skip_modifiers(found.type)
    bits = (8 * offset + found.bit_offset, found.bit_size) if found.bit_size else None
    return tree.KernelMember(
        base=start,
        root=root,
        path=(*path, *found.path),
        offset=offset + found.bit_offset // 8,
        type=Kernel(inner, base.type.trust),
        bits=bits,
        span=span,
    )


def tags_of(type_: btf.Type | None) -> frozenset[str]:
    """The type tags of what a pointer points at: ``user``, ``percpu``, ``rcu``."""
    found = set()
    while isinstance(type_, btf.TypeTag | btf.Const | btf.Volatile | btf.Restrict | btf.Typedef):
        if isinstance(type_, btf.TypeTag):
            found.add(type_.value)
        type_ = type_.target
    return frozenset(found)


def pointer_to(pointer: btf.Ptr, trust: Trust) -> Type:
    """The type of the value of a pointer: an address; of per-CPU memory a number, for it is none yet."""
    tags = tags_of(pointer.target)
    inner = btf.skip_modifiers(pointer.target)
    if "user" in tags:
        layout = btf.layout_of(inner)
        return User(layout if isinstance(layout, IntType) and inner is not None and layout.bits > 8 else None)
    if "percpu" in tags:
        return U64
    tracked = trust is Trust.TRACKED and isinstance(inner, Composite)
    return Kernel(inner, Trust.TRACKED if tracked else Trust.PROBED)


def integer_layout(type_: btf.Type | None) -> IntType | None:
    """The integer that a scalar type is in memory; ``None`` for other types."""
    match type_:
        case btf.Int(size=size, signed=signed) if size in (1, 2, 4, 8):
            return IntType(8 * size, signed)
        case btf.Enum(size=size, signed=signed) | btf.Enum64(size=size, signed=signed):
            return IntType(8 * size, signed)
        case _:
            return None


def read_place(context: Context, place: tree.Expr, declared: btf.Type | None, span: Span) -> tree.Expr:
    """The value at a place: an integer, an address, or the place itself where it has parts.

    ``declared``: the type with its qualifiers, which may say more than that of the place.
    """
    assert isinstance(place.type, Kernel)
    of = place.type.of
    layout = integer_layout(of)
    if layout is not None:
        kind = scalar_type(layout)
        if isinstance(place, tree.KernelMember) and place.bits is not None:
            kind = _of_bits(place.bits[1], layout.signed)
        return tree.KernelRead(place=place, width=layout.size, signed=layout.signed, type=kind, span=span)
    match of:
        case btf.Ptr():
            kind_of = pointer_to(of, place.type.trust)
            assert isinstance(kind_of, Int | Kernel | User)
            return tree.KernelRead(place=place, width=8, signed=False, type=kind_of, span=span)
        case btf.Struct() | btf.Union() | btf.Array():
            return place
        case _:
            raise context.refusal(
                Code.E1203, span, f"`{btf.describe(declared or of)}` cannot be read in programs"
            )


def _of_bits(width: int, signed: bool) -> Int:
    if signed:
        return Int(False, -(1 << (width - 1)), (1 << (width - 1)) - 1, seen=False)
    return Int(width == 64, 0, (1 << width) - 1, seen=False)
