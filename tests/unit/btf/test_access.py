"""What access strings of CO-RE relocations mean."""

from __future__ import annotations

import pytest

from pyebpf import btf
from pyebpf.btf import CoreKind

INSIDE = btf.Union("", 12, (btf.Member("x", btf.U16, 0), btf.Member("y", btf.Array(btf.S16, 6), 0)))
BITS = btf.Member("bits", btf.U32, 133, 3)
ROOT = btf.Struct(
    "root",
    24,
    (
        btf.Member("head", btf.U32, 0),
        btf.Member("", btf.Const(INSIDE), 32),
        BITS,
        btf.Member("end", btf.BOOL, 160),
    ),
)
COLOUR = btf.Enum("colour", 4, (btf.Enumerator("RED", 3), btf.Enumerator("BLUE", -4)), True)


@pytest.mark.parametrize(
    ("access", "bit_offset", "name"),
    [
        ("0", 0, "struct root"),
        ("2", 384, "struct root"),
        ("0:0", 0, "unsigned int"),
        ("0:1:0", 32, "unsigned short"),
        ("0:1:1:3", 80, "short"),
        ("1:3", 352, "_Bool"),
        ("0:2", 133, "unsigned int"),
    ],
)
def test_paths(access: str, bit_offset: int, name: str) -> None:
    found = btf.follow(btf.Typedef("root_t", ROOT), access) if access != "0" else btf.follow(ROOT, access)
    assert (found.bit_offset, btf.describe(btf.skip_modifiers(found.type))) == (bit_offset, name)
    assert found.bit_size == (3 if access == "0:2" else 0)


@pytest.mark.parametrize("access", ["", "0:", "-1", "0:4", "0:0:0", "0:1:0:0", "٣", ":".join(["0"] * 65)])
def test_paths_that_lead_nowhere(access: str) -> None:
    with pytest.raises(btf.BtfError):
        btf.follow(ROOT, access)


@pytest.mark.parametrize(
    ("kind", "root", "access", "value"),
    [
        (CoreKind.FIELD_BYTE_OFFSET, ROOT, "0:3", 20),
        (CoreKind.FIELD_BYTE_SIZE, ROOT, "0:1:1", 12),
        (CoreKind.FIELD_EXISTS, ROOT, "0:3", 1),
        (CoreKind.FIELD_SIGNED, ROOT, "0:0", 0),
        (CoreKind.FIELD_SIGNED, ROOT, "0:1:1:0", 1),
        (CoreKind.FIELD_BYTE_OFFSET, ROOT, "0:2", None),
        (CoreKind.FIELD_LSHIFT_U64, ROOT, "0:2", None),
        (CoreKind.FIELD_RSHIFT_U64, ROOT, "0:2", None),
        (CoreKind.TYPE_ID_LOCAL, ROOT, "0", None),
        (CoreKind.TYPE_ID_TARGET, ROOT, "0", None),
        (CoreKind.TYPE_EXISTS, ROOT, "0", 1),
        (CoreKind.TYPE_MATCHES, ROOT, "0", 1),
        (CoreKind.TYPE_SIZE, ROOT, "0", 24),
        (CoreKind.ENUMVAL_EXISTS, COLOUR, "1", 1),
        (CoreKind.ENUMVAL_VALUE, COLOUR, "1", -4),
    ],
)
def test_values_before_relocation(kind: CoreKind, root: btf.Type, access: str, value: int | None) -> None:
    assert btf.local_value(kind, root, access) == value


def test_an_enumerator_must_exist() -> None:
    for root, access in ((COLOUR, "2"), (COLOUR, "0:0"), (ROOT, "0")):
        with pytest.raises(btf.BtfError, match="no such enumerator"):
            btf.local_value(CoreKind.ENUMVAL_VALUE, root, access)
