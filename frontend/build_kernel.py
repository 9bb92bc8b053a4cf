"""The kernel's memory, and that of users: places, reads by loads or by probing helpers, what CO-RE and loaders fill in.

Through a pointer that the verifier tracks, fields are loaded; through any other address a helper copies them to the stack,
which leaves zeros where it fails.
"""

from __future__ import annotations

from pyebpf import btf
from pyebpf.frontend import build_memory as memory
from pyebpf.frontend import tree
from pyebpf.frontend.build_arith import element_offset
from pyebpf.frontend.build_maps import raise_os_if_negative
from pyebpf.frontend.build_refs import checked_index
from pyebpf.frontend.build_state import Place, State
from pyebpf.frontend.kernel_types import find_member
from pyebpf.frontend.types import Kernel, Trust, User
from pyebpf.ir.ops import BinOp, Pred, Value
from pyebpf.ir.types import I64, PtrTy, Space
from pyebpf.object import Extern
from pyebpf.uapi.registers import REGISTERS

_TRACKED = PtrTy(Space.KERNEL, nullable=True)
_WRAPPER = "LINUX_HAS_SYSCALL_WRAPPER"


def _is_tracked(value: Value) -> bool:
    return isinstance(value.type, PtrTy)


def _access(path: tuple[int, ...]) -> str:
    return ":".join(map(str, path))


def _scalar(f: State, value: Value) -> Value:
    """The number of a pointer that the verifier tracks, for which it stays a pointer wherever it is copied to: a helper
    copies it from the stack, and what helpers write are numbers."""
    if not _is_tracked(value):
        return value
    held, copy = f.temporary("pointer", 8), f.temporary("address", 8)
    f.b.store(held.pointer, held.offset, 8, value)
    f.helper("probe_read_kernel", f.pointer(copy), f.b.const(8), f.pointer(held))
    return f.b.load(copy.pointer, copy.offset, 8)


def address_as(f: State, node: tree.AddressAs) -> Value:
    """An address of one type as that of another."""
    value = f.value(node.operand)
    if isinstance(node.type, Kernel) and node.type.trust is Trust.TRACKED:
        return value
    return _scalar(f, value)


def member(f: State, node: tree.KernelMember) -> Value:
    """The address of a member."""
    base = f.value(node.base)
    return f.b.core_address(base, f.data.core_root(node.root), _access(node.path), node.offset)


def element(f: State, node: tree.KernelElement) -> Value:
    """The address of an element; with a variable index the verifier tracks it no more."""
    base = _scalar(f, f.value(node.base))
    index = f.number(node.index)
    inside = checked_index(f, index, node.length) if node.length else index.value
    return f.b.binary(BinOp.ADD, base, element_offset(f, inside, node.size))


def read(f: State, node: tree.KernelRead) -> Value:
    """The number or address at a place."""
    place = node.place
    if isinstance(place, tree.KernelMember) and place.bits is not None:
        return _bits(f, node, place)
    assert isinstance(place.type, Kernel)
    tracked = place.type.trust is Trust.TRACKED and not node.checked
    if not tracked:
        where = f.value(place)
        return _probed(f, where, node.width, signed=node.signed, checked=node.checked)
    to_tracked = isinstance(node.type, Kernel) and node.type.trust is Trust.TRACKED
    type_ = _TRACKED if to_tracked else I64
    if isinstance(place, tree.KernelMember):
        base, root = f.value(place.base), f.data.core_root(place.root)
        access, offset = _access(place.path), place.offset
    else:
        base, root, access, offset = f.value(place), "", "", 0
    return f.b.kernel_load(base, root, access, offset, node.width, type_, signed=node.signed)


def _probed(f: State, where: Value, width: int, *, signed: bool, checked: bool) -> Value:
    """A number that a helper copies to the stack."""
    slot = f.temporary("probed", 8)
    result = f.helper("probe_read_kernel", f.pointer(slot), f.b.const(width), where)
    _raise_if_failed(f, result, checked=checked)
    return f.b.load(slot.pointer, slot.offset, width, signed=signed and width < 8)


def _raise_if_failed(f: State, result: Value, *, checked: bool) -> None:
    if checked:
        raise_os_if_negative(f, result)


def _bits(f: State, node: tree.KernelRead, place: tree.KernelMember) -> Value:
    """A bit-field: the bytes that it lies in, shifted to the left end and back."""
    assert place.bits is not None
    root, access = f.data.core_root(place.root), _access(place.path)
    first, width = place.bits
    size = node.width
    start = first // 8 // size * size
    while first + width > 8 * (start + size) and size < 8:
        size *= 2
        start = first // 8 // size * size
    base = f.value(place.base)
    slot = f.temporary("bits", 8)
    f.b.store(slot.pointer, slot.offset, 8, f.b.const(0))
    where = f.b.core_address(base, root, access, start)
    bytes_ = f.b.core_value(btf.CoreKind.FIELD_BYTE_SIZE, root, access, size)
    result = f.helper("probe_read_kernel", f.pointer(slot), bytes_, where)
    _raise_if_failed(f, result, checked=node.checked)
    left = 64 - (first - 8 * start + width)
    held = f.b.load(slot.pointer, slot.offset, 8)
    up = f.b.core_value(btf.CoreKind.FIELD_LSHIFT_U64, root, access, left)
    down = f.b.core_value(btf.CoreKind.FIELD_RSHIFT_U64, root, access, 64 - width)
    op = BinOp.ASHR if node.signed else BinOp.LSHR
    return f.b.binary(op, f.b.binary(BinOp.SHL, held, up), down)


def far_copy(f: State, node: tree.FarCopy) -> Place:
    """A copy in storage of its own."""
    size = node.type.layout.size
    where = f.value(node.address)
    place = f.object(node, "object", size, node.label or "copy")
    kind = "user" if isinstance(node.address.type, User) else "kernel"
    if not node.string:
        result = f.helper(f"probe_read_{kind}", f.pointer(place), f.b.const(size), where)
        _raise_if_failed(f, result, checked=node.checked)
        return place
    # Behind the NUL the helper leaves what was there, and tails of byte strings are zero.
    memory.zero(f, place, size)
    result = f.helper(f"probe_read_{kind}_str", f.pointer(place), f.b.const(size), where)
    _raise_if_failed(f, result, checked=node.checked)
    return place


def user_read(f: State, node: tree.UserRead) -> Value:
    """An integer of a user."""
    slot = f.temporary("probed", 8)
    size = f.b.const(node.layout.size)
    result = f.helper("probe_read_user", f.pointer(slot), size, f.value(node.address))
    _raise_if_failed(f, result, checked=node.checked)
    return memory.load_int(f, slot, node.layout)


def user_member(f: State, node: tree.UserMember) -> Value:
    """The address of a field of a user's struct."""
    return f.b.binary(BinOp.ADD, f.value(node.base), f.b.const(node.offset))


def core_fact(f: State, node: tree.CoreFact) -> Value:
    """A number that loaders fill in."""
    root = f.data.core_root(node.root)
    return f.b.core_value(node.kind, root, _access(node.path), node.value & ((1 << 64) - 1))


def setting(f: State, node: tree.KernelSetting) -> Value:
    """A value of the kernel's configuration."""
    flag = node.layout.bits == 8 and node.type.hi == 1
    type_ = btf.BOOL if flag else btf.from_layout(node.layout)
    address = f.data.kconfig(Extern(node.name, ".kconfig", type_, weak=node.optional), f.b, node.layout.size)
    return f.b.load(address, 0, node.layout.size, signed=node.layout.signed, name=node.name)


def syscall_registers(f: State, node: tree.SyscallRegisters) -> Value:
    """Either the registers of the probed function itself, or those that its first argument points at
    (``ARCH_HAS_SYSCALL_WRAPPER``). Which, the loader says."""
    registers = REGISTERS[f.target.arch]
    context = f.value(node.context)
    wrapped, plain, done = f.b.new_block("wrapped"), f.b.new_block("plain"), f.b.new_block("registers")
    flag = f.data.kconfig(Extern(_WRAPPER, ".kconfig", btf.BOOL), f.b, 1)
    held = f.b.load(flag, 0, 1, name=_WRAPPER)
    f.b.branch(f.b.cmp(Pred.NE, held, f.b.const(0)), wrapped, plain)
    f.go(wrapped)
    callers = f.b.load(context, registers.field(registers.arguments[0]).offset, 8, name="regs")
    f.b.jump(done)
    f.go(plain)
    own = f.b.address_in(context, 0)
    f.b.jump(done)
    f.go(done)
    return f.b.phi(I64, {wrapped: callers, plain: own})


def syscall_argument(f: State, node: tree.SyscallArgument) -> Value:
    """An argument of a system call, from the registers of its caller."""
    assert isinstance(node.registers.type, Kernel)
    registers = REGISTERS[f.target.arch]
    register = registers.field(registers.syscall_arguments[node.index])
    base = f.value(node.registers)
    where = _register_of(f, base, register.name, register.offset, node.registers.type.of)
    return _probed(f, where, 8, signed=False, checked=False)


def _register_of(f: State, regs: Value, name: str, offset: int, types: btf.Type | None) -> Value:
    """The address of a register in the kernel's ``struct pt_regs``, by CO-RE where the target's types are known."""
    found = find_member(types, name) if isinstance(types, btf.Struct) else None
    if found is None or types is None:
        return f.b.binary(BinOp.ADD, regs, f.b.const(offset))
    return f.b.core_address(regs, f.data.core_root(types), _access((0, *found.path)), found.bit_offset // 8)
