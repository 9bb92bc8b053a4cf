"""Which stack slots can become registers, and in which pieces (the analysis behind ``mem2reg``).

A slot qualifies if its address goes nowhere but into loads, stores, zeroings and copies at constant offsets,
and if those accesses cut it into pieces that do not overlap in part. Each piece (``Slice``) then is a
variable of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from pyebpf import enums
from pyebpf.backend.passes.addresses import alignment, known_alignment, may_be_unaligned, place_of, signed
from pyebpf.ir import ops
from pyebpf.ir.ops import Alloca, Const, MemCopy, Value
from pyebpf.ir.types import I64, IntTy, IRType, PtrTy
from pyebpf.ir.verify import fits
from pyebpf.records import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """``width`` bytes (1, 2, 4 or 8) at ``offset`` of a slot."""

    offset: int
    width: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.width


class Role(enums.Enum):
    """What an operation does to the bytes."""

    LOAD = enums.auto()
    STORE = enums.auto()
    ZERO = enums.auto()
    COPY_IN = enums.auto()  # the slot is the target of a MemCopy
    COPY_OUT = enums.auto()  # the slot is its source


@dataclass(frozen=True, slots=True)
class Access:
    """Operation ``op`` touches ``size`` bytes at ``offset`` of a slot."""

    op: ops.Load | ops.Store | ops.MemZero | MemCopy
    role: Role
    offset: int
    size: int


@dataclass(eq=False, slots=True)
class Slot:
    """A slot that qualifies: its accesses, the pointers derived from it, its slices with the type each
    holds."""

    alloca: Alloca
    accesses: list[Access] = field(default_factory=list)
    pointers: list[Value] = field(default_factory=list)
    slices: set[Slice] = field(default_factory=set)
    types: dict[Slice, IRType] = field(default_factory=dict)

    def inside(self, offset: int, size: int) -> list[Slice]:
        """The slices that lie in the given bytes, in order."""
        return sorted(s for s in self.slices if offset <= s.offset and s.end <= offset + size)


def find_slots(
    allocas: list[Alloca], uses: Mapping[Value, list[Value]], *, unaligned: bool
) -> dict[Alloca, Slot]:
    """The slots that can be promoted, ready cut. ``unaligned``: loads and stores other than of the stack may
    be wider than the alignment that is known of their address."""
    slots = {a: slot for a in allocas if (slot := _private(a, uses)) is not None}
    owner = {pointer: slot.alloca for slot in slots.values() for pointer in slot.pointers}
    while True:
        _cut(slots, owner)
        bad = [a for a, slot in slots.items() if not _consistent(slot, slots, owner, unaligned)]
        if not bad:
            return slots
        for alloca in bad:
            del slots[alloca]


def _private(alloca: Alloca, uses: Mapping[Value, list[Value]]) -> Slot | None:
    """The accesses to a slot; None if its address is used in another way."""
    slot = Slot(alloca)
    work: list[tuple[Value, int]] = [(alloca, 0)]
    copies: set[Value] = set()
    while work:
        pointer, at = work.pop()
        slot.pointers.append(pointer)
        for user in uses[pointer]:
            match user:
                case ops.PtrAdd(offset=Const() as offset) if user.base is pointer:
                    work.append((user, at + signed(offset)))
                case ops.Load():
                    slot.accesses.append(Access(user, Role.LOAD, at + user.offset, user.width))
                case ops.Store() if user.value is not pointer:
                    slot.accesses.append(Access(user, Role.STORE, at + user.offset, user.width))
                case ops.MemZero():
                    slot.accesses.append(Access(user, Role.ZERO, at + user.offset, user.size))
                case MemCopy() if user not in copies:
                    copies.add(user)
                    if user.target is pointer:
                        slot.accesses.append(Access(user, Role.COPY_IN, at + user.target_offset, user.size))
                    else:
                        slot.accesses.append(Access(user, Role.COPY_OUT, at + user.source_offset, user.size))
                case _:
                    return None
    return slot


def partner(access: Access, slots: Mapping[Alloca, Slot], owner: Mapping[Value, Alloca]) -> Access | None:
    """The access at the other side of a copy, where that is a slot of ``slots`` too."""
    assert isinstance(access.op, MemCopy)
    other = access.op.source if access.role is Role.COPY_IN else access.op.target
    alloca = owner.get(other)
    if alloca is None or alloca not in slots:
        return None
    role = Role.COPY_OUT if access.role is Role.COPY_IN else Role.COPY_IN
    return next(a for a in slots[alloca].accesses if a.op is access.op and a.role is role)


def _cut(slots: Mapping[Alloca, Slot], owner: Mapping[Value, Alloca]) -> None:
    """Find the slices: one for each load and store, carried over copies between slots, and pieces for the
    bytes that are copied out to memory but never accessed by themselves."""
    for slot in slots.values():
        slot.slices = {Slice(a.offset, a.size) for a in slot.accesses if a.role in (Role.LOAD, Role.STORE)}
    _carry(slots, owner)
    for slot in slots.values():
        for access in slot.accesses:
            if access.role is Role.COPY_OUT and partner(access, slots, owner) is None:
                _fill(slot, access)
    _carry(slots, owner)


def _carry(slots: Mapping[Alloca, Slot], owner: Mapping[Value, Alloca]) -> None:
    work = list(slots.values())
    while work:
        slot = work.pop()
        for access in slot.accesses:
            if access.role not in (Role.COPY_IN, Role.COPY_OUT):
                continue
            other = partner(access, slots, owner)
            if other is None:
                continue
            target = slots[owner[_other_pointer(access)]]
            shift = other.offset - access.offset
            new = {Slice(s.offset + shift, s.width) for s in slot.inside(access.offset, access.size)}
            if not new <= target.slices:
                target.slices |= new
                work.append(target)


def _fill(slot: Slot, access: Access) -> None:
    """Cut the bytes of a copy that are in no slice into aligned pieces."""
    assert isinstance(access.op, MemCopy)
    at, end = access.offset, access.offset + access.size
    ordered = sorted(slot.slices)
    while at < end:
        cover = next((s for s in ordered if s.offset <= at < s.end), None)
        if cover is not None:
            at = cover.end
            continue
        limit = min([end, *(s.offset for s in ordered if s.offset > at)])
        width = min(8, access.op.align, slot.alloca.align)
        while at % width or at + width > limit:
            width //= 2
        slot.slices.add(Slice(at, width))
        at += width


def _consistent(
    slot: Slot, slots: Mapping[Alloca, Slot], owner: Mapping[Value, Alloca], unaligned: bool
) -> bool:
    """Whether the slices are disjoint, every access takes whole slices, and each slice has a type."""
    ordered = sorted(slot.slices)
    if any(a.end > b.offset for a, b in pairwise(ordered)):
        return False
    for access in slot.accesses:
        end = access.offset + access.size
        if any(
            s.offset < end and access.offset < s.end and not (access.offset <= s.offset and s.end <= end)
            for s in ordered
        ):
            return False
        if access.role in (Role.COPY_IN, Role.COPY_OUT):
            other = partner(access, slots, owner)
            if other is None and not _splittable(slot, access, unaligned):
                return False
            if other is not None:
                target = slots[owner[_other_pointer(access)]]
                shift = other.offset - access.offset
                mine = {s.offset + shift for s in slot.inside(access.offset, access.size)}
                if mine != {s.offset for s in target.inside(other.offset, other.size)}:
                    return False
    slot.types = {}
    for piece in ordered:
        type_ = _slice_type(slot, piece)
        if type_ is None:
            return False
        slot.types[piece] = type_
    return True


def _other_pointer(access: Access) -> Value:
    assert isinstance(access.op, MemCopy)
    return access.op.source if access.role is Role.COPY_IN else access.op.target


def _splittable(slot: Slot, access: Access, unaligned: bool) -> bool:
    """Whether a copy from or to other memory can be done slice by slice."""
    op = access.op
    assert isinstance(op, MemCopy)
    other = _other_pointer(access)
    if unaligned and may_be_unaligned(other):
        return True
    place = place_of(other, op.source_offset if access.role is Role.COPY_IN else op.target_offset)
    align = max(op.align, known_alignment(place))
    return all(
        s.width <= alignment(s.offset - access.offset, align) for s in slot.inside(access.offset, access.size)
    )


def _slice_type(slot: Slot, piece: Slice) -> IRType | None:
    """i64 for integers; for pointers the type that all stored values fit and all loads agree on; None for a
    mixture."""
    loads: set[IRType] = set()
    stores: set[IRType] = set()
    bulk: set[Role] = set()
    for access in slot.accesses:
        match access.op:
            case ops.Load(type=t) if access.offset == piece.offset:
                loads.add(t)
            case ops.Store(value=value) if access.offset == piece.offset:
                stores.add(value.type)
            case ops.MemZero() | MemCopy() if access.offset <= piece.offset < access.offset + access.size:
                bulk.add(access.role)
            case _:
                pass
    if all(isinstance(t, IntTy) for t in loads | stores):
        return I64
    pointers = [t for t in loads or stores if isinstance(t, PtrTy)]
    if len(pointers) != len(loads or stores) or bulk - {Role.ZERO}:
        return None
    first = pointers[0]
    nullable = bool(bulk) or any(isinstance(t, PtrTy) and t.nullable for t in stores)
    joined = PtrTy(first.space, first.size, nullable)
    if any((t.space, t.size) != (first.space, first.size) for t in pointers):
        return None
    return joined if all(fits(t, joined) for t in stores) else None
