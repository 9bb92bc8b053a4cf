"""The vocabulary in user space: types, structs, declarations of maps and variables, names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pyebpf as bpf
from pyebpf import be16, i8, u8, u16, u32, u64
from pyebpf.declare import HelperDecl, MapDecl, ProgramDecl, declaration_of
from pyebpf.uapi.constants import MapType


@bpf.struct
class Inner:
    a: u8
    b: u32


@bpf.struct
class Outer:
    """Has one of everything."""

    x: u16
    inner: Inner
    port: be16
    name: bytes = bpf.chars(5)
    list: list[int] = bpf.array(u32, 2)

    def double(self) -> int:
        return self.x * 2


def test_integer_types_convert_as_ctypes_does() -> None:
    assert u8(257) == 1
    assert i8(255) == -1
    assert u32(-1) == 0xFFFFFFFF
    assert repr(be16) == "be16"


def test_structs_have_the_layout_of_c() -> None:
    of = Outer.__bpf__  # type: ignore[attr-defined]  # the decorator adds it
    assert [(f.name, f.offset) for f in of.fields] == [
        ("x", 0),
        ("inner", 4),
        ("port", 12),
        ("name", 14),
        ("list", 20),
    ]
    assert (of.size, of.align) == (28, 4)
    assert bpf.sizeof(Outer) == 28


def test_struct_values() -> None:
    value = Outer(x=3, inner=Inner(1, 2), port=80, name=b"ab", list=[1, 2])
    assert value == Outer(x=3, inner=Inner(1, 2), port=80, name=b"ab", list=[1, 2])
    assert value.double() == 6
    assert hash(value) == hash(Outer(x=3, inner=Inner(1, 2), port=80, name=b"ab", list=[1, 2]))
    assert repr(Inner(1, 2)) == "Inner(a=1, b=2)"
    assert Inner().b == 0  # type: ignore[call-arg]  # what is not given is zero
    value.x = 4
    with pytest.raises(AttributeError, match="no attribute 'y'"):
        value.y = 1  # type: ignore[attr-defined]  # that is the point
    with pytest.raises(TypeError, match="no field 'c'"):
        Inner(c=1)  # type: ignore[call-arg]  # that is the point


def test_values_from_the_kernel_are_frozen() -> None:
    value = Inner._from_values(a=1, b=2)  # type: ignore[attr-defined]  # the decorator adds it
    with pytest.raises(AttributeError, match="cannot be changed"):
        value.a = 3


def test_packed_structs_and_unions() -> None:
    @bpf.struct(packed=True)
    class Packed:
        a: u8
        b: u32

    @bpf.union
    class Either:
        a: u8
        b: u32

    assert bpf.sizeof(Packed) == 5
    assert bpf.sizeof(Either) == 4


def test_wrong_fields_are_refused() -> None:
    with pytest.raises(TypeError, match="no memory layout"):

        @bpf.struct
        class Wrong:
            a: float

    with pytest.raises(TypeError, match="the only default of a field is 0"):

        @bpf.struct
        class Default:
            a: u8 = 3


def test_maps_are_declarations() -> None:
    made = bpf.HashMap[Inner, u64](max_entries=10, default=0)
    decl = declaration_of(made)
    assert isinstance(decl, MapDecl)
    assert decl.type is MapType.HASH
    assert (decl.max_entries, decl.default) == (10, 0)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: bpf.HashMap[u32, u64](max_entries=0), "at least 1"),
        (lambda: bpf.ArrayMap[u64, u64](max_entries=1), "the key of ArrayMap is an index"),
        (lambda: bpf.HashMap[u32, u8](max_entries=1, default=256), "does not fit"),
        (lambda: bpf.LpmTrie[u32, u8](max_entries=1), "the key of LpmTrie"),
        (lambda: bpf.RingBuf(5000), "power of two"),
        (lambda: bpf.HashMap(max_entries=1), "say what it maps"),
    ],
)
def test_wrong_maps_are_refused(wrong: object, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        wrong()  # type: ignore[operator]  # the parameters are functions


def test_programs_are_declarations_and_explain_themselves() -> None:
    @bpf.xdp(frags=True, on_error=bpf.XDP_DROP)
    def prog(ctx: bpf.Xdp) -> int:
        """Says hello."""
        return bpf.XDP_PASS

    decl = declaration_of(prog)
    assert isinstance(decl, ProgramDecl)
    assert decl.kind.section == "xdp.frags"
    assert decl.on_error == bpf.XDP_DROP
    assert prog.__doc__ == "Says hello."
    with pytest.raises(TypeError, match="is a xdp program"):
        prog(1)
    with pytest.raises(TypeError, match="no option 'fragments'"):
        bpf.xdp(fragments=True)


def test_helpers_and_constants_are_names_of_the_module() -> None:
    assert isinstance(declaration_of(bpf.ktime_get_ns), HelperDecl)
    assert int(bpf.XDP_PASS) == 2
    assert bpf.ETH_P_IP == 0x0800
    with pytest.raises(TypeError, match="inside programs only"):
        bpf.ktime_get_ns()
    with pytest.raises(AttributeError, match="did you mean ktime_get_ns"):
        getattr(bpf, "ktime_get_n")  # noqa: B009 - a checker would refuse the name


def test_functions_of_the_language_work_in_python_too() -> None:
    assert bpf.htons(0x0102) == (0x0201 if sys.byteorder == "little" else 0x0102)
    assert bpf.ntohl(bpf.htonl(0xDEADBEEF)) == 0xDEADBEEF
    assert [bpf.log2(x) for x in (0, 1, 2, 3, 1 << 40)] == [0, 0, 1, 1, 40]
    assert bpf.loop(5, lambda i: i == 3) == 4
    assert bpf.loop(5, lambda i: False) == 5


def test_the_licence_is_checked() -> None:
    with pytest.raises(ValueError, match="127 bytes"):
        bpf.license("x" * 200)


def test_importing_the_package_imports_no_compiler() -> None:
    heavy = (
        "astroid",
        "elftools",
        "llvmlite",
        "numpy",
        "pyebpf.driver",
        "pyebpf.frontend",
        "pyebpf.backend",
        "pyebpf.runtime",
    )
    code = f"import sys, pyebpf; print([m for m in {heavy!r} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
