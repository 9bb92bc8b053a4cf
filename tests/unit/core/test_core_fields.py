"""Fields by name: moved, nested, in arrays, as bit-fields; and the instructions that ask for them."""

from __future__ import annotations

import pytest

from pyebpf import btf
from pyebpf.backend.insn import CALL, Insn, encode
from pyebpf.btf.access import CoreKind
from pyebpf.object import CoreRelocation
from pyebpf.runtime.errors import CoreError
from tests.unit.core.making import (
    INT,
    POISON,
    U8,
    U16,
    U32,
    U64,
    apply,
    load,
    module,
    mov,
    number,
    relocate,
    spec,
    store,
    store_reg,
    struct,
    union,
    wide,
)

OFFSET, SIZE, EXISTS = CoreKind.FIELD_BYTE_OFFSET, CoreKind.FIELD_BYTE_SIZE, CoreKind.FIELD_EXISTS
SIGNED, LSHIFT, RSHIFT = CoreKind.FIELD_SIGNED, CoreKind.FIELD_LSHIFT_U64, CoreKind.FIELD_RSHIFT_U64


def test_a_field_has_moved() -> None:
    local = struct("task___mine", ("pid", INT, 0), ("comm", btf.Array(U8, 4, U32), 32), size=8)
    kernel = spec(struct("task", ("comm", btf.Array(U8, 16, U32), 0), ("pid", btf.S64, 128)))
    assert number(OFFSET, local, "0:0", kernel, 0) == 16
    assert number(OFFSET, local, "0:1", kernel, 4) == 0
    assert number(OFFSET, local, "0:1:3", kernel, 7) == 3
    assert number(SIZE, local, "0:0", kernel, 4) == 8
    assert number(SIZE, local, "0:1", kernel, 4) == 16
    assert number(SIGNED, local, "0:0", kernel, 1) == 1
    assert number(EXISTS, local, "0:0", kernel, 1) == 1


def test_the_root_may_be_an_element_and_a_typedef() -> None:
    local = struct("node", ("next", U64, 0), size=8)
    kernel = struct("node", ("next", U64, 64), size=24)
    assert number(OFFSET, local, "2:0", spec(kernel), 16) == 2 * 24 + 8
    named = btf.Typedef("node_t", local)
    assert number(OFFSET, named, "0:0", spec(btf.Typedef("node_t", kernel)), 0) == 8
    assert number(OFFSET, named, "0:0", spec(kernel), 0) == "there is no `node_t` on Linux X"


def test_members_without_name_are_looked_through_on_either_side() -> None:
    inner = struct("", ("b", U32, 32), size=8)
    flat = struct("s", ("a", U32, 0), ("b", U32, 32))
    deep = spec(
        struct("s", ("x", U64, 0), ("", union("", ("y", U8, 0), ("", inner, 0)), 64), ("a", U32, 192))
    )
    assert number(OFFSET, flat, "0:1", deep, 4) == 12
    assert number(OFFSET, flat, "0:0", deep, 0) == 24
    nested = struct("s", ("", inner, 0), size=8)
    assert number(OFFSET, nested, "0:0:0", spec(flat), 4) == 4
    assert number(OFFSET, nested, "0:0:0", deep, 4) == 12


def test_ways_through_named_structs_and_arrays() -> None:
    local_part = struct("part", ("x", U32, 0), size=4)
    local = struct("s", ("parts", btf.Array(local_part, 4, U32), 0), size=16)
    part = struct("part_has_another_name", ("y", U32, 0), ("x", U32, 32), size=8)
    kernel = struct("s", ("n", U32, 0), ("parts", btf.Array(part, 3, U32), 64), size=32)
    assert number(OFFSET, local, "0:0:2:0", spec(kernel), 8) == 8 + 2 * 8 + 4
    # The kernel's array is shorter; one of no stated length at the end of its struct is as long as one likes.
    assert (
        number(OFFSET, local, "0:0:3:0", spec(kernel), 12)
        == "`struct s` has no field `parts[3].x` of this kind on Linux X"
    )
    assert number(EXISTS, local, "0:0:3:0", spec(kernel)) == 0
    open_ended = struct("s", ("n", U32, 0), ("parts", btf.Array(part, 0, U32), 64), size=8)
    assert number(OFFSET, local, "0:0:3:0", spec(open_ended), 12) == 8 + 3 * 8 + 4
    not_last = struct("s", ("parts", btf.Array(part, 0, U32), 0), ("n", U32, 0), size=8)
    assert number(EXISTS, local, "0:0:3:0", spec(not_last)) == 0


@pytest.mark.parametrize(
    ("bit_offset", "bits", "type_", "expected"),
    [
        (3, 2, U8, (0, 1, 64 - 5, 62)),  # offset, size, left and right shift
        (14, 4, U16, (0, 4, 64 - 18, 60)),  # over the end of its type: a larger load
        (37, 3, U32, (4, 4, 64 - 8, 61)),
        (62, 2, U64, (0, 8, 0, 62)),
    ],
)
def test_bit_fields(bit_offset: int, bits: int, type_: btf.Type, expected: tuple[int, int, int, int]) -> None:
    local = struct("s", ("f", U32, 0, 1), size=4)
    kernel = spec(struct("s", ("f", type_, bit_offset, bits)))
    found = [
        number(kind, local, "0:0", kernel, 63 if kind is RSHIFT else 99)
        for kind in (OFFSET, SIZE, LSHIFT, RSHIFT)
    ]
    assert tuple(found) == expected


def test_a_bit_field_may_become_a_field_and_back() -> None:
    whole, part = struct("s", ("f", U32, 0)), struct("s", ("f", U32, 37, 3))
    assert [number(k, part, "0:0", spec(whole), 61) for k in (OFFSET, SIZE, LSHIFT, RSHIFT)] == [0, 4, 32, 32]
    assert [
        number(k, whole, "0:0", spec(part), b)
        for k, b in ((OFFSET, 0), (SIZE, 4), (LSHIFT, 32), (RSHIFT, 32))
    ] == [
        4,
        4,
        56,
        61,
    ]


def test_a_bit_field_that_no_load_takes() -> None:
    local, kernel = struct("s", ("f", U64, 0, 8)), spec(struct("s", ("f", U64, 60, 8)))
    with pytest.raises(CoreError, match="a bit-field of 8 bits at bit 60 does not fit one load"):
        number(LSHIFT, local, "0:0", kernel)


@pytest.mark.parametrize(
    ("ours", "theirs", "fits"),
    [
        (INT, btf.S64, True),
        (INT, U8, True),
        (btf.Ptr(INT), btf.Ptr(None), True),
        (struct("a"), union("b"), True),
        (btf.Array(INT, 4, U32), btf.Array(U64, 9, U32), True),
        (btf.Array(INT, 4, U32), INT, False),
        (INT, btf.Ptr(None), False),
        (btf.Enum("e___x", 4), btf.Enum64("e", 8), True),
        (btf.Enum("", 4), btf.Enum("e", 4), True),
        (btf.Enum("e", 4), btf.Enum("f", 4), False),
        (btf.Enum("e", 4), INT, False),
        (btf.Float("float", 4), btf.Float("double", 8), True),
        (btf.Typedef("t", btf.Const(INT)), btf.Volatile(U16), True),
        (INT, btf.Int("odd", 4, bits=3, offset=2), False),
    ],
)
def test_which_kinds_of_fields_go_together(ours: btf.Type, theirs: btf.Type, fits: bool) -> None:
    local, kernel = struct("s", ("f", ours, 0)), spec(struct("s", ("f", theirs, 64)))
    assert number(EXISTS, local, "0:0", kernel) == int(fits)
    found = number(OFFSET, local, "0:0", kernel, 0)
    assert found == (8 if fits else "`struct s` has no field `f` of this kind on Linux X")


def test_what_is_missing_is_told() -> None:
    local = struct("s___v1", ("a", struct("", ("b", INT, 0)), 0))
    kernel = spec(struct("s", ("x", INT, 0)), union("u"))
    assert number(OFFSET, local, "0:0:0", kernel, 0) == "`struct s` has no field `a.b` on Linux X"
    assert number(EXISTS, local, "0:0:0", kernel) == 0
    other = struct("u", ("x", INT, 0))
    assert number(OFFSET, other, "0:0", kernel, 0) == "there is no `struct u` on Linux X"
    insn, lacking = apply(load(0), OFFSET, local, "0:0:0", kernel)
    assert insn == Insn(CALL, imm=POISON) and lacking[0].slot == 0
    code = bytearray(encode([wide(0)]))
    relocate(code, [(0, CoreRelocation(0, OFFSET, local, "0:0:0"))], kernel)
    assert bytes(code) == encode([Insn(CALL, imm=POISON)] * 2)


def test_loads_and_stores_take_the_offset_and_the_size() -> None:
    local = struct(
        "s", ("f", U32, 32), ("p", btf.Ptr(None), 64), ("i", INT, 128), ("a", btf.Array(U32, 2, U32), 160)
    )
    kernel = spec(
        struct(
            "s",
            ("f", U64, 128),
            ("p", btf.Ptr(INT), 256),
            ("i", btf.S64, 320),
            ("a", btf.Array(U16, 8, U32), 384),
        )
    )
    assert apply(load(4), OFFSET, local, "0:0", kernel)[0] == load(16, 8)
    assert apply(store(4), OFFSET, local, "0:0", kernel)[0] == store(16, 8)
    assert apply(store_reg(4), OFFSET, local, "0:0", kernel)[0] == store_reg(16, 8)
    assert apply(load(8, 8), OFFSET, local, "0:1", kernel)[0] == load(32, 8)
    # A signed number would have to be extended, which a load of another size does not do.
    insn, lacking = apply(load(16), OFFSET, local, "0:2", kernel)
    assert insn == Insn(CALL, imm=POISON)
    assert lacking[0].text.startswith("field `i` of `struct s` has 8 bytes on Linux X instead of 4")
    assert number(OFFSET, local, "0:2", kernel, 16) == 40  # but it can be read by a helper
    assert apply(wide(4), OFFSET, local, "0:0", kernel)[0] == wide(16)


def test_loads_of_elements_have_the_size_of_one() -> None:
    """As libbpf: of an array the size of an element counts, however many dimensions it has; no load makes up for another
    one."""

    def kernel(element: btf.Type) -> btf.Spec:
        return spec(struct("s", ("a", btf.Array(btf.Array(element, 3, U32), 5, U32), 64)))

    local = struct("s", ("a", btf.Array(btf.Array(U32, 4, U32), 2, U32), 0))
    for access, before, after in (("0:0", 0, 8), ("0:0:1", 16, 8 + 12), ("0:0:1:2", 24, 8 + 20)):
        assert apply(load(before), OFFSET, local, access, kernel(U32))[0] == load(after)
        poisoned, lacking = apply(load(before), OFFSET, local, access, kernel(U16))
        if access == "0:0:1:2":
            assert poisoned == load(8 + 10, 2)  # an integer, which fills the register with zeros
        else:
            assert poisoned == Insn(CALL, imm=POISON)
            assert "has 2 bytes on Linux X instead of 4" in lacking[0].text


def test_the_instruction_must_hold_the_local_value() -> None:
    local, kernel = struct("s", ("f", U32, 32)), spec(struct("s", ("f", U32, 64)))
    for insn in (mov(5), load(8), wide(1 << 32 | 5)):
        with pytest.raises(
            CoreError, match=r"instruction 0 \(struct s \+ 0:0\): the instruction holds \d+ instead of 4"
        ):
            apply(insn, OFFSET, local, "0:0", kernel)
    with pytest.raises(CoreError, match="holds 0 instead of 1"):
        apply(mov(0), EXISTS, local, "0:0", kernel)
    with pytest.raises(CoreError, match="does not access the 4 bytes"):
        apply(load(4, 8), OFFSET, local, "0:0", spec(struct("s", ("f", U64, 64))))


@pytest.mark.parametrize(
    "insn", [Insn(0xBF, 1, 2), Insn(0x05), Insn(0x85, imm=4), Insn(0x95), Insn(0x18, 1, 1, imm=4)], ids=str
)
def test_only_some_instructions_take_a_value(insn: Insn) -> None:
    local, kernel = struct("s", ("f", U32, 32)), spec(struct("s", ("f", U32, 64)))
    with pytest.raises(CoreError, match=r"instruction 0 .*cannot take a value"):
        apply(insn, OFFSET, local, "0:0", kernel)


def test_an_offset_that_is_too_large() -> None:
    local, kernel = struct("s", ("f", U32, 0)), spec(struct("s", ("f", U32, 0x8000 * 8), size=0x9000))
    with pytest.raises(CoreError, match="offset 32768 is too large"):
        apply(load(0), OFFSET, local, "0:0", kernel)
    assert number(OFFSET, local, "0:0", kernel, 0) == 0x8000


def test_several_types_of_one_name() -> None:
    local = struct("s", ("a", U32, 0), ("b", U32, 32))
    first, same = struct("s", ("a", U32, 64)), struct("s___2", ("x", U32, 0), ("a", U32, 64))
    other = struct("s", ("a", U32, 96), ("b", U32, 0))
    assert number(OFFSET, local, "0:0", spec(first, same), 0) == 8
    with pytest.raises(
        CoreError, match=r"several types of this name that differ: 8 \(bit 64\) and 12 \(bit 96\)"
    ):
        number(OFFSET, local, "0:0", spec(first, other), 0)
    assert number(EXISTS, local, "0:0", spec(first, struct("s")), 1) == 1
    # As libbpf: what fitted for one field is what later ones are about.
    code = bytearray(encode([mov(4), mov(0)]))
    records = [
        (slot, CoreRelocation(slot, OFFSET, local, access)) for slot, access in ((0, "0:1"), (1, "0:0"))
    ]
    relocate(code, records, spec(first, other))
    assert bytes(code) == encode([mov(0), mov(12)])
    # Sizes count for loads only.
    wider = struct("s", ("a", U64, 64))
    assert number(OFFSET, local, "0:0", spec(first, wider), 0) == 8
    differ = r"8 \(bit 64 of unsigned int, 4 bytes\) and 8 \(bit 64 of unsigned long long, 8 bytes\)"
    with pytest.raises(CoreError, match=differ):
        apply(load(0), OFFSET, local, "0:0", spec(first, wider))


def test_modules_are_looked_at_where_the_kernel_has_no_such_type() -> None:
    kernel = spec(struct("s", ("a", U32, 64)), U32)
    of_module = module(kernel, struct("t", ("b", U32, 96)), struct("s", ("b", U32, 96)))
    assert number(OFFSET, struct("t", ("b", U32, 0)), "0:0", kernel, 0, of_module) == 12
    assert number(EXISTS, struct("s", ("b", U32, 0)), "0:0", kernel, 1, of_module) == 0
    assert number(EXISTS, struct("u", ("b", U32, 0)), "0:0", kernel, 1, of_module) == 0
    found = number(CoreKind.TYPE_ID_TARGET, struct("t"), "0", kernel, 7, of_module)
    assert isinstance(found, int) and found >= len(kernel) and of_module.kind(found) is btf.Kind.STRUCT


@pytest.mark.parametrize("access", ["", "0:", "0:9", "x", "0:0:0", "-1", "0:1:5", "1:" * 70 + "0"])
def test_malformed_ways(access: str) -> None:
    local = struct("s", ("f", U32, 0), ("a", btf.Array(U32, 2, U32), 32), ("z", U32, 96))
    with pytest.raises(CoreError, match="CO-RE relocation at instruction 0"):
        number(OFFSET, local, access, spec(local), 0)


def test_roots_that_cannot_be_looked_for() -> None:
    with pytest.raises(CoreError, match="types without name"):
        number(OFFSET, struct("", ("f", U32, 0)), "0:0", spec(U32), 0)
    with pytest.raises(CoreError, match="types without name"):
        number(OFFSET, btf.Const(struct("s", ("f", U32, 0))), "0:0", spec(U32), 0)
    with pytest.raises(CoreError, match="is asked of an element"):
        number(
            SIGNED,
            struct("s", ("a", btf.Array(U32, 2, U32), 0)),
            "0:0:1",
            spec(struct("s", ("a", btf.Array(U32, 2, U32), 0))),
        )
