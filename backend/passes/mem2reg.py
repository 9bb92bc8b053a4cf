"""Memory to registers: stack slots whose address does not escape become SSA values, structs field by field.

The front end keeps every local variable in a slot, so this pass is the construction of SSA form::

    entry:                                   entry:
      %x = alloca 8 align 8 "x"                %1 = const i64 0
      %1 = const i64 0                         branch %c, then, end
      store.8 %x + 0, %1                     then:
      branch %c, then, end                     %2 = const i64 7
    then:                             →        jump end
      %2 = const i64 7                       end:
      store.8 %x + 0, %2                       %x = phi i64 [entry: %1, then: %2]
      jump end                                 return %x
    end:
      %3 = load.8 i64 %x + 0
      return %3

Phis are placed at the iterated dominance frontier of the stores, and only where the variable is live (pruned
SSA; Cytron et al., 1991). A slice narrower than 8 bytes keeps the stored value whole; the load cuts it, so
that the bits that nobody demands are visible as such. A variable that is read before it was written is
``undef``.

Requires: nothing. Invalidates: pointers derived from promoted slots are gone; pointer types are made exact
again.
"""

from __future__ import annotations

from pyebpf.backend.passes.slots import Access, Role, Slice, Slot, find_slots, partner
from pyebpf.ir import ops
from pyebpf.ir.cfg import Dominators, iterated_frontier, uses
from pyebpf.ir.edit import refine_pointers, remove_ops, remove_unreachable_blocks, substitute
from pyebpf.ir.ops import Alloca, Block, Const, Function, Op, Phi, Value, const
from pyebpf.ir.types import I32, I64, IRType, PtrTy
from pyebpf.records import dataclass, field


def run(function: Function, *, unaligned: bool = False) -> bool:
    """Promote what can be promoted. ``unaligned``: a struct copy from a packet or a map value may be split
    into fields whose alignment is not known. Returns whether anything changed."""
    allocas = [op for op in function.entry.ops if isinstance(op, Alloca)]
    if not allocas:
        return False
    changed = remove_unreachable_blocks(function)
    slots = find_slots(allocas, uses(function), unaligned=unaligned)
    if not slots:
        return changed
    _Promotion(function, slots).run()
    refine_pointers(function)
    return True


@dataclass(eq=False, slots=True)
class _Variable:
    """A slice on its way into registers."""

    slot: Slot
    slice: Slice
    type: IRType
    written: set[Block] = field(default_factory=set)
    exposed: set[Block] = field(default_factory=set)  # read in the block before it is written there
    undef: ops.Undef | None = None


class _Promotion:
    def __init__(self, function: Function, slots: dict[Alloca, Slot]) -> None:
        self.function = function
        self.slots = slots
        self.owner = {pointer: slot.alloca for slot in slots.values() for pointer in slot.pointers}
        self.variables = {
            (slot.alloca, piece): _Variable(slot, piece, slot.types[piece])
            for slot in slots.values()
            for piece in sorted(slot.slices)
        }
        self.accesses: dict[Value, list[tuple[Slot, Access]]] = {}
        for slot in slots.values():
            for access in slot.accesses:
                self.accesses.setdefault(access.op, []).append((slot, access))
        self.replaced: dict[Value, Value] = {}
        self.dominators = Dominators(function)

    def run(self) -> None:
        self.find_events()
        phis = self.place_phis()
        self.rename(phis)
        dead: set[Value] = {pointer for slot in self.slots.values() for pointer in slot.pointers}
        dead.update(self.accesses)
        remove_ops(self.function, dead)
        undefs = [v.undef for v in self.variables.values() if v.undef is not None]
        self.function.entry.ops[:0] = undefs
        substitute(self.function, self.replaced)

    def touched(self, op: Op) -> list[tuple[_Variable, bool]]:
        """The variables that ``op`` accesses and whether it writes them; reads come first."""
        found = [
            (self.variables[slot.alloca, piece], access.role not in (Role.LOAD, Role.COPY_OUT))
            for slot, access in self.accesses.get(op, ())
            for piece in slot.inside(access.offset, access.size)
        ]
        return sorted(found, key=lambda pair: pair[1])

    def find_events(self) -> None:
        for block in self.function.blocks:
            for op in block.ops:
                for variable, writes in self.touched(op):
                    if writes:
                        variable.written.add(block)
                    elif block not in variable.written:
                        variable.exposed.add(block)

    def place_phis(self) -> dict[Block, dict[Phi, _Variable]]:
        frontiers = self.dominators.frontiers()
        preds = self.dominators.preds
        placed: dict[Block, dict[Phi, _Variable]] = {}
        for variable in self.variables.values():
            live = set(variable.exposed)
            work = list(live)
            while work:
                for pred in preds[work.pop()]:
                    if pred not in live and pred not in variable.written:
                        live.add(pred)
                        work.append(pred)
            for block in iterated_frontier(frontiers, variable.written):
                if block in live:
                    label = variable.slot.alloca.label or variable.slot.alloca.name
                    phi = Phi(type=variable.type, span=variable.slot.alloca.span, name=label)
                    placed.setdefault(block, {})[phi] = variable
        return placed

    def rename(self, phis: dict[Block, dict[Phi, _Variable]]) -> None:
        """Walk the dominator tree with the current value of each variable; ``undo`` restores it on the way
        back."""
        self.current: dict[_Variable, Value] = {}
        stack: list[tuple[Block, dict[_Variable, Value | None] | None]] = [(self.function.entry, None)]
        while stack:
            block, undo = stack.pop()
            if undo is not None:
                for variable, old in undo.items():
                    if old is None:
                        del self.current[variable]
                    else:
                        self.current[variable] = old
                continue
            self.undo: dict[_Variable, Value | None] = {}
            new_phis = phis.get(block, {})
            for phi, variable in new_phis.items():
                self.write(variable, phi)
            self.rewrite(block, list(new_phis))
            for successor in block.successors():
                for phi, variable in phis.get(successor, {}).items():
                    phi.incoming[block] = self.read(variable)
            stack.append((block, self.undo))
            stack.extend((child, None) for child in reversed(self.dominators.children[block]))

    def write(self, variable: _Variable, value: Value) -> None:
        if variable not in self.undo:
            self.undo[variable] = self.current.get(variable)
        self.current[variable] = value

    def read(self, variable: _Variable) -> Value:
        value = self.current.get(variable)
        if value is not None:
            return value
        if variable.undef is None:
            alloca = variable.slot.alloca
            variable.undef = ops.Undef(type=variable.type, span=alloca.span, name=alloca.label)
        return variable.undef

    # ------------------------------------------------------------ operations

    def rewrite(self, block: Block, phis: list[Phi]) -> None:
        out: list[Op] = list(phis)
        self.out = out
        for op in block.ops:
            entries = self.accesses.get(op)
            if entries is None:
                out.append(op)
                continue
            for slot, access in sorted(entries, key=lambda e: e[1].role is Role.COPY_IN):
                self.access(slot, access)
        block.ops = out

    def access(self, slot: Slot, access: Access) -> None:
        op = access.op
        for piece in slot.inside(access.offset, access.size):
            variable = self.variables[slot.alloca, piece]
            match op:
                case ops.Load():
                    self.replaced[op] = self.loaded(variable, op)
                case ops.Store():
                    self.write(variable, self.stored(op))
                case ops.MemZero():
                    zero = const(0) if variable.type == I64 else Const(0, type=variable.type)
                    self.write(variable, self.emit(zero, op))
                case ops.MemCopy():
                    self.copy(slot, access, op, variable)

    def emit(self, new: Op, old: Op) -> Value:
        new.span = old.span
        self.out.append(new)
        return new

    def loaded(self, variable: _Variable, op: ops.Load) -> Value:
        value = self.read(variable)
        if isinstance(op.type, PtrTy):
            if isinstance(value.type, PtrTy) and value.type.nullable and not op.type.nullable:
                return self.emit(ops.NonNull(value, type=op.type, name=value.name), op)
            return value
        if op.signed and op.width < 8:
            value = self.emit(ops.Sext(op.width * 8, value, type=I64, name=value.name), op)
        elif op.width < 8:
            value = self.emit(ops.Zext(op.width * 8, value, type=I64, name=value.name), op)
        return self.emit(ops.Trunc(value, type=I32), op) if op.type == I32 else value

    def stored(self, op: ops.Store) -> Value:
        value = op.value
        while value in self.replaced:  # definitions are walked before their uses, so this is final
            value = self.replaced[value]
        return self.emit(ops.Zext(32, value, type=I64), op) if value.type == I32 else value

    def copy(self, slot: Slot, access: Access, op: ops.MemCopy, variable: _Variable) -> None:
        at = variable.slice.offset - access.offset
        other = partner(access, self.slots, self.owner)
        width = variable.slice.width
        if access.role is Role.COPY_OUT:
            if other is None:
                value = self.read(variable)
                self.emit(ops.Store(op.target, op.target_offset + at, width, value), op)
        elif other is None:
            load = ops.Load(op.source, op.source_offset + at, width, type=I64, name=slot.alloca.label)
            self.write(variable, self.emit(load, op))
        else:
            source = self.slots[self.owner[op.source]]
            piece = Slice(other.offset + at, width)
            self.write(variable, self.read(self.variables[source.alloca, piece]))
