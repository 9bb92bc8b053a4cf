"""Types survive encoding, ids are deterministic, equal types share an id."""

from __future__ import annotations

import pytest
from hypothesis import given

from pyebpf import btf
from pyebpf import layout as lay
from tests.unit.btf.samples import every_kind
from tests.unit.btf.strategies import layouts, struct_layouts


@pytest.mark.parametrize("little_endian", [True, False])
def test_every_kind_survives(little_endian: bool) -> None:
    roots = every_kind()
    encoded = btf.encode(roots, little_endian=little_endian)
    back = btf.decode(encoded.data)
    assert {btf.kind_of(t) for t in back} == set(btf.Kind)
    for root in roots:
        assert btf.equal(root, back[encoded.ids[root]]), root
    assert btf.Spec(encoded.data).little_endian is little_endian


def test_encoding_is_deterministic() -> None:
    data = btf.encode(every_kind()).data
    assert data == btf.encode(every_kind()).data
    assert data != btf.encode(reversed(every_kind())).data


def test_what_was_decoded_encodes_to_the_same() -> None:
    data = btf.encode(every_kind()).data
    again = btf.encode(t for t in btf.decode(data) if t is not None).data
    assert btf.encode(t for t in btf.decode(again) if t is not None).data == again
    assert len(again) == len(data)


def test_equal_types_share_an_id_but_structs_do_not() -> None:
    first, second = btf.Ptr(btf.Int("u32", 4)), btf.Ptr(btf.Int("u32", 4))
    left, right = btf.Struct("s", 0), btf.Struct("s", 0)
    ids = btf.encode([first, second, left, right]).ids
    assert ids[first] == ids[second]
    assert ids[left] != ids[right]


def test_strings_are_shared() -> None:
    encoder = btf.Encoder()
    assert encoder.string("") == 0
    assert encoder.string("name") == encoder.string("name") == 1
    encoder.add(btf.Struct("name", 0))
    assert encoder.finish().endswith(b"\0name\0")


def test_members_are_decoded_when_looked_at() -> None:
    data = bytearray(btf.encode([btf.Struct("s", 4, (btf.Member("m", btf.U32, 0),))]).data)
    place = data.index(b"s\0")
    spec = btf.Spec(bytes(data))
    struct = spec.find("s")
    assert isinstance(struct, btf.Struct) and place
    spec._words[4] = 99  # the type of the member
    with pytest.raises(btf.BtfError, match="there is no type 99"):
        struct.members[0]


def test_names_are_found_by_kind() -> None:
    spec = btf.Spec(btf.encode(every_kind()).data)
    node = spec.find("node", btf.Kind.STRUCT)
    assert isinstance(node, btf.Struct) and node.tags == (btf.Tag("checked"), btf.Tag("first", 0))
    assert spec.find("node", btf.Kind.UNION) is None
    assert spec.find("nod") is None
    (number,) = spec.ids("node")
    assert spec.type(number) is node and spec.kind(number) is btf.Kind.STRUCT
    # A string may be the tail of another: "ode" must not be taken for a name that nobody has.
    assert spec.ids("ode") == []


def test_flavors_are_candidates() -> None:
    names = ["task", "task___v2", "task__x", "task____y", "tasks", "task___"]
    spec = btf.Spec(btf.encode([btf.Struct(name, 0) for name in names]).data)
    assert [btf.name_of(spec.type(n)) for n in spec.candidates("task")] == ["task", "task___v2"]


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("task_struct", "task_struct"),
        ("task_struct___old", "task_struct"),
        ("a___b___c", "a___b"),
        ("___a", "___a"),
        ("a___", "a___"),
        ("a____b", "a____b"),
        ("a__b", "a__b"),
    ],
)
def test_essential_names(name: str, essential: str) -> None:
    assert btf.essential_name(name) == essential


def test_a_section_may_continue_another() -> None:
    base = btf.Spec(btf.encode([btf.U32, btf.Struct("common", 0)]).data)
    encoder = btf.Encoder()
    encoder.string("own")
    own = encoder.finish()
    # One pointer to type 2 of the base, called like nothing, and a typedef `own` of type 3, the pointer.
    types = [(0, btf.Kind.PTR << 24, 2), (base.string_size + 1, btf.Kind.TYPEDEF << 24, 3)]
    words = b"".join(word.to_bytes(4, "little") for record in types for word in record)
    lengths = b"".join(n.to_bytes(4, "little") for n in (24, 0, len(words), len(words), 5))
    spec = btf.Spec(own[:4] + lengths + words + b"\0own\0", base)
    found = spec.find("own")
    assert len(spec) == 5 and btf.describe(found) == "own"
    assert isinstance(found, btf.Typedef) and btf.describe(found.target) == "struct common *"
    assert spec.ids("common") == [2] and spec.kind(2) is btf.Kind.STRUCT
    assert [number for number, _ in spec.types()] == [3, 4]


def shape(layout: lay.Layout | None) -> object:
    """``layout`` with structs compared by contents."""
    match layout:
        case lay.StructType(name=name, fields=fields, size=size, union=union):
            return name, size, union, [(f.name, f.offset, shape(f.layout)) for f in fields]
        case lay.ArrayType(element=element, length=length):
            return shape(element), length
    return layout


@given(layouts())
def test_layouts_survive(layout: lay.Layout) -> None:
    type_ = btf.from_layout(layout)
    assert btf.size_of(type_) == layout.size
    encoded = btf.encode([type_])
    back = btf.decode(encoded.data)[encoded.ids[type_]]
    assert shape(btf.layout_of(back)) == shape(layout)


@given(struct_layouts())
def test_a_struct_layout_has_one_type(layout: lay.StructType) -> None:
    assert btf.from_layout(layout) is btf.from_layout(layout)


@pytest.mark.parametrize(
    ("type_", "layout"),
    [
        (btf.INT, lay.I32),
        (btf.BOOL, lay.U8),
        (btf.Typedef("__be16", btf.U16), lay.BE16),
        (btf.Const(btf.Volatile(btf.Typedef("mine", btf.U64))), lay.U64),
        (btf.Ptr(None), lay.U64),
        (btf.Enum("e", 4, (), True), lay.I32),
        (btf.Array(btf.Const(btf.CHAR), 5), lay.BytesType(5)),
        (btf.Array(btf.U8, 5), lay.ArrayType(lay.U8, 5)),
        (btf.Float("double", 8), None),
        (btf.Int("__int128", 16), None),
        (btf.Fwd("f"), None),
        (None, None),
        (btf.Struct("bits", 4, (btf.Member("b", btf.U32, 0, 3),)), None),
        (btf.Struct("large", 4, (btf.Member("b", btf.U64, 0),)), None),
    ],
)
def test_layouts_of_types(type_: btf.Type | None, layout: lay.Layout | None) -> None:
    assert btf.layout_of(type_) == layout


def test_members_of_anonymous_structs_belong_to_the_outer_one() -> None:
    inner = btf.Struct("", 8, (btf.Member("x", btf.U32, 0), btf.Member("y", btf.U32, 32)))
    both = btf.Union("", 8, (btf.Member("", inner, 0), btf.Member("all", btf.U64, 0)))
    found = btf.layout_of(btf.Struct("outer", 16, (btf.Member("head", btf.U64, 0), btf.Member("", both, 64))))
    assert isinstance(found, lay.StructType)
    assert [(f.name, f.offset) for f in found.fields] == [("head", 0), ("x", 8), ("y", 12), ("all", 8)]


@pytest.mark.parametrize(
    ("name", "plain"),
    [("count", "count"), ("grün", "gr_u00fc_n"), ("<lambda>", "_u003c_lambda_u003e_"), ("1st", "_1st")],
)
def test_identifiers(name: str, plain: str) -> None:
    assert btf.identifier(name) == plain


def test_comparison_sees_every_difference() -> None:
    def variants() -> list[btf.Type | None]:
        member = btf.Member("m", btf.U32, 0)
        return [
            None,
            btf.U32,
            btf.Int("u32", 4, btf.IntEncoding.SIGNED),
            btf.Int("u32", 4, bits=31),
            btf.Ptr(btf.U32),
            btf.Ptr(None),
            btf.Const(None),
            btf.Array(btf.U32, 2),
            btf.Array(btf.U32, 3),
            btf.Struct("s", 4, (member,)),
            btf.Struct("t", 4, (member,)),
            btf.Struct("s", 8, (member,)),
            btf.Struct("s", 4, (member, member)),
            btf.Struct("s", 4, (member,), (btf.Tag("tag"),)),
            btf.Union("s", 4, (member,)),
            btf.Struct("s", 4, (btf.Member("n", btf.U32, 0),)),
            btf.Struct("s", 4, (btf.Member("m", btf.S32, 0),)),
        ]

    for row, first in enumerate(variants()):
        for column, second in enumerate(variants()):
            assert btf.equal(first, second) == (row == column), (first, second)


def test_text() -> None:
    assert btf.dump(btf.Spec(btf.encode(every_kind()[len(btf.BASE_TYPES) :]).data)) == TEXT


TEXT = """\
[1] STRUCT node size 24
    next: [24] struct node __user * at 0
    flags: [25] unsigned int at 8 bit 0 bits 3
    rest: [25] unsigned int at 8 bit 3 bits 29
    shape: [26] union (anonymous) at 16
[2] DECL_TAG 'checked' on [1] struct node
[3] DECL_TAG 'first' on [1] struct node part 0
[4] FWD elsewhere struct
[5] PTR -> [4] struct elsewhere
[6] RESTRICT -> [5] struct elsewhere *
[7] VOLATILE -> [6] restrict struct elsewhere *
[8] CONST -> [7] volatile restrict struct elsewhere *
[9] ENUM64 wide size 8
    HUGE = 1099511627776
[10] PTR -> [1] struct node
[11] FUNC_PROTO -> void
    node: [10] struct node *
    ...
[12] PTR -> [11] void (struct node *, ...)
[13] FLOAT double size 8
[14] FUNC_PROTO -> [13] double
    node: [10] struct node *
[15] FUNC visit global -> [14] double (struct node *)
[16] DECL_TAG 'arg:nonnull' on [15] visit: double (struct node *) part 0
[17] DATASEC .data size 16
    [22] state: colour_t[3] at 0 size 12
[18] ENUM colour size 4 signed
    RED = 0
    NONE = -1
[19] TYPEDEF colour_t -> [18] enum colour
[20] INT __ARRAY_SIZE_TYPE__ size 4 bits 32
[21] ARRAY length 3 of [19] colour_t by [20] __ARRAY_SIZE_TYPE__
[22] VAR state global -> [21] colour_t[3]
[23] TYPE_TAG 'user' -> [1] struct node
[24] PTR -> [23] struct node __user
[25] INT unsigned int size 4 bits 32
[26] UNION size 8
    a: [27] unsigned long long at 0
    b: [28] signed char at 0
[27] INT unsigned long long size 8 bits 64
[28] INT signed char size 1 bits 8 SIGNED
"""
