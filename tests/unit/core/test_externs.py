"""Functions and variables of the kernel and of its modules, on types made by hand."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from pyebpf import btf
from pyebpf.object import Extern
from pyebpf.runtime.attach_target import AttachTarget, attach_target
from pyebpf.runtime.errors import ObjectError
from pyebpf.runtime.externs import Externs, find_in_kernel
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.references import KernelFunction, KernelSymbol
from pyebpf.uapi.constants import AttachType, ProgType
from tests.kernel.runtime.objects import returns

PROTO = btf.FuncProto(btf.INT, (btf.Param("x", btf.INT),))
KERNEL = btf.Spec(
    btf.encode(
        [
            btf.Func("of_kernel", PROTO),
            btf.Var("counter", btf.U64),
            btf.Typedef("btf_trace_tick", btf.Ptr(PROTO)),
        ]
    ).data
)


def a_module(*names: str) -> btf.Spec:
    """A module with functions of these names, which take and return what those of the kernel do."""
    strings = b"\0".join(name.encode() for name in names) + b"\0"
    proto = KERNEL.ids("of_kernel")[0]
    third = KERNEL._words[KERNEL._at[proto - 1] + 2]
    words, at = bytearray(), 0
    for name in names:
        for word in (KERNEL.string_size + at, btf.Kind.FUNC << 24 | 1, third):
            words += word.to_bytes(4, "little")
        at += len(name) + 1
    header = (0xEB9F).to_bytes(2, "little") + b"\1\0" + (24).to_bytes(4, "little")
    places = b"".join(n.to_bytes(4, "little") for n in (0, len(words), len(words), len(strings)))
    return btf.Spec(header + places + bytes(words) + strings, KERNEL)


MODULES = {"one": a_module("of_one", "twice"), "two": a_module("of_two", "twice", "of_kernel")}


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The types above instead of the running kernel's."""
    monkeypatch.setattr("pyebpf.runtime.kernel_btf.vmlinux", lambda: KERNEL)
    monkeypatch.setattr("pyebpf.runtime.kernel_modules.modules", lambda: iter(MODULES.items()))
    monkeypatch.setattr("pyebpf.runtime.kernel_modules.module_types", MODULES.__getitem__)
    monkeypatch.setattr(
        "pyebpf.runtime.kernel_modules.module_btf", lambda name: Fd(os.open("/dev/null", os.O_RDONLY))
    )


def externs(stack: ExitStack, *names: str, weak: bool = False, proto: btf.FuncProto = PROTO) -> Externs:
    """Functions of these names as an object declares them."""
    made = {
        name: Extern(name, ".ksyms", btf.Func(name, proto, btf.FuncLinkage.EXTERN), weak) for name in names
    }
    return Externs(made, stack.enter_context)


def test_functions_of_the_kernel_and_of_modules() -> None:
    names = ("of_kernel", "of_two", "of_one", "twice___flavor")
    with ExitStack() as stack:
        found = externs(stack, *names)
        assert found.table() == []
        calls = [found.function(name) for name in names]
        assert calls == [
            KernelFunction(KERNEL.ids("of_kernel")[0]),
            KernelFunction(MODULES["two"].ids("of_two")[0], 1),
            KernelFunction(MODULES["one"].ids("of_one")[0], 2),
            KernelFunction(MODULES["one"].ids("twice")[0], 2),
        ]
        table = found.table()
        assert len(table) == 3 and table[0] == 0
        as_address = found.address("of_two")
        assert as_address == KernelSymbol(MODULES["two"].ids("of_two")[0], table[1])
        assert found.address("of_kernel") == KernelSymbol(KERNEL.ids("of_kernel")[0])
    for number in table[1:]:
        with pytest.raises(OSError):
            os.fstat(number)


def test_functions_that_are_not_there_or_others() -> None:
    other = btf.FuncProto(btf.INT)
    with ExitStack() as stack:
        with pytest.raises(ObjectError, match="no function 'nowhere'"):
            externs(stack, "nowhere").function("nowhere")
        with pytest.raises(
            ObjectError, match="kernel function 'of_one': the object declares int \\(\\), this kernel has"
        ):
            externs(stack, "of_one", proto=other).function("of_one")
        with pytest.raises(ObjectError, match="does not declare as external"):
            externs(stack).function("of_one")
        weak = externs(stack, "nowhere", weak=True)
        assert weak.function("nowhere") is None and weak.address("nowhere") == 0
        assert externs(stack, "of_one", weak=True, proto=other).function("of_one") is None


def test_variables() -> None:
    def of(type_: btf.Type, weak: bool = False, name: str = "counter") -> Externs:
        return Externs({name: Extern(name, ".ksyms", type_, weak)}, lambda fd: fd)

    assert of(btf.Const(btf.INT)).address("counter") == KernelSymbol(KERNEL.ids("counter")[0])
    for weak in (False, True):
        with pytest.raises(ObjectError, match="kernel variable 'counter': the object declares"):
            of(btf.Ptr(None), weak).address("counter")
    with pytest.raises(ObjectError, match="no variable 'gone'"):
        of(btf.INT, name="gone").address("gone")
    assert of(btf.INT, weak=True, name="gone").address("gone") == 0


@pytest.mark.parametrize(
    ("section", "module", "name"),
    [
        ("fentry/of_kernel", "", "of_kernel"),
        ("fentry/vmlinux:of_kernel", "", "of_kernel"),
        ("fentry/two:of_kernel", "two", "of_kernel"),
        ("fentry/twice", "one", "twice"),
        ("fentry.s/two:twice", "two", "twice"),
        ("tp_btf/tick", "", "btf_trace_tick"),
    ],
)
def test_places_of_programs(section: str, module: str, name: str) -> None:
    program = returns(0, ProgType.TRACING)
    tick = section.startswith("tp_btf")
    program.section, program.attach_type = (
        section,
        AttachType.TRACE_RAW_TP if tick else AttachType.TRACE_FENTRY,
    )
    spec = MODULES[module] if module else KERNEL
    own = [number for number in spec.ids(name) if number >= spec.first]
    assert attach_target(program) == AttachTarget(own[0], module)


def test_a_place_that_the_module_does_not_have() -> None:
    program = returns(0, ProgType.TRACING)
    program.section, program.attach_type = "fentry/one:of_two", AttachType.TRACE_FENTRY
    with pytest.raises(ObjectError, match="module 'one' has no function 'of_two'; did you mean 'of_one'"):
        attach_target(program)
    program.section = "fentry/of_kernal"
    with pytest.raises(
        ObjectError, match=r"Linux [\d.]+ has no function 'of_kernal'; did you mean 'of_kernel'\?"
    ):
        attach_target(program)


def test_the_kernel_comes_first() -> None:
    found = find_in_kernel("of_kernel", btf.Kind.FUNC)
    assert found is not None and not found.module and found.spec is KERNEL
    assert find_in_kernel("twice", btf.Kind.VAR) is None
