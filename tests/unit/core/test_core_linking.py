"""CO-RE records in objects: they move with their functions, and survive being kept as plain data."""

from __future__ import annotations

import pytest

from pyebpf import btf
from pyebpf.backend.insn import CALL, CallKind, Insn, decode, encode
from pyebpf.btf.access import CoreKind
from pyebpf.object import (
    CoreRelocation,
    FunctionSpec,
    ObjectSpec,
    Prepared,
    ProgramSpec,
    Relocation,
    RelocKind,
)
from pyebpf.plain import decode as from_plain
from pyebpf.plain import encode as to_plain
from pyebpf.runtime.core import Relocator, records
from pyebpf.runtime.errors import CoreError, ObjectError, UnsupportedObject
from pyebpf.runtime.prepare import prepare, without_sources
from pyebpf.runtime.vm.load import load
from tests.unit.core.making import U32, U64, mov, spec, struct, wide
from tests.unit.core.making import load as load_insn

OFFSET, LOCAL = CoreKind.FIELD_BYTE_OFFSET, CoreKind.TYPE_ID_LOCAL
EXIT = Insn(0x95)


def circle() -> btf.Struct:
    """A type that refers to itself."""
    node = btf.Struct("node", 16)
    node.members = (btf.Member("next", btf.Ptr(node), 0), btf.Member("value", U32, 64))
    return node


def an_object() -> ObjectSpec:
    """A program with two functions, all of which depend on the kernel's types."""
    node, other = circle(), struct("other", ("x", U32, 0))
    main = ProgramSpec(
        "main",
        encode([wide(8), Insn(CALL, src=CallKind.SUBPROGRAM, imm=-1), mov(0), EXIT]),
        relocations=(Relocation(2, RelocKind.CALL, "sub"),),
        core=(CoreRelocation(0, OFFSET, node, "0:1"), CoreRelocation(3, LOCAL, other, "0")),
    )
    sub = FunctionSpec("sub", encode([load_insn(8), EXIT]), core=(CoreRelocation(0, OFFSET, node, "0:1"),))
    return ObjectSpec({"main": main}, {"sub": sub})


def kernel() -> btf.Spec:
    """The kernel has the value elsewhere."""
    return spec(struct("node", ("value", U32, 320)), U64)


def relocated(prepared: Prepared) -> list[Insn]:
    """The instructions of the only program."""
    (program,) = prepared.programs
    code = bytearray(program.code)
    lacking = Relocator(kernel()).apply(code, records(program, btf.Spec(prepared.core_types)))
    assert not lacking
    return decode(bytes(code))


def test_records_move_with_their_functions() -> None:
    prepared = prepare(an_object())
    assert [(r.slot, r.function) for r in prepared.programs[0].core] == [(0, "main"), (5, "sub")]
    code = relocated(prepared)
    assert code[0] == wide(40) and code[4] == load_insn(40)
    # The id of a local type is that in the type information that the kernel gets.
    number = btf.Spec(prepared.types).ids("other", btf.Kind.STRUCT)[0]
    assert code[2] == mov(number)
    assert not btf.Spec(prepared.types).ids("node")


def test_what_is_kept_can_still_be_relocated() -> None:
    prepared = without_sources(prepare(an_object()))
    again = from_plain(to_plain(prepared, []), [], Prepared)
    assert again == prepared
    assert relocated(again) == relocated(prepare(an_object()))


@pytest.mark.parametrize("slot", [-1, 2, 5])
def test_records_stand_at_instructions_that_can_have_one(slot: int) -> None:
    found = an_object()
    found.programs["main"].core = (CoreRelocation(slot, OFFSET, circle(), "0:1"),)
    with pytest.raises(ObjectError, match=f"the CO-RE relocation at instruction {slot}"):
        prepare(found)
    found.programs["main"].core = (CoreRelocation(4, LOCAL, circle(), "0"),)
    with pytest.raises(CoreError, match="cannot take a value"):
        prepare(found)


def test_the_built_in_machine_has_no_types_of_a_kernel() -> None:
    with pytest.raises(UnsupportedObject, match=r"'main' depends on the kernel's types \(CO-RE\)"):
        load(an_object())
