"""The kernel takes the type information that we write, and we read what the kernel writes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from pyebpf import btf
from pyebpf.backend.elf import write_object
from pyebpf.backend.elf_file import parse
from pyebpf.object import ObjectSpec
from tests.kernel.btf_load import btf_load
from tests.unit.btf.samples import every_kind
from tests.unit.btf.strategies import struct_layouts
from tests.unit.elf.samples import full, minimal, tables

VMLINUX = Path("/sys/kernel/btf/vmlinux")
INDEX_SECONDS = 0.15

needs_vmlinux = pytest.mark.skipif(not VMLINUX.exists(), reason="the kernel has no BTF of its own")


def test_every_kind_is_taken() -> None:
    encoded = btf.encode(every_kind())
    assert {btf.kind_of(t) for t in encoded.ids} == set(btf.Kind) - {btf.Kind.VOID}
    assert btf_load(encoded.data) == ""


@pytest.mark.parametrize("sample", [minimal, full, tables])
def test_the_types_of_objects_are_taken(sample: type[ObjectSpec]) -> None:
    sections = {s.name: s.data for s in parse(write_object(sample())).sections}
    assert btf_load(sections[".BTF"]) == ""


def test_the_kernel_refuses_what_it_should() -> None:
    """The helper that the tests above rely on does see a refusal."""
    assert "Invalid name" in btf_load(btf.encode([btf.Struct("no name", 0)]).data)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(struct_layouts())
def test_types_of_layouts_are_taken(layout: object) -> None:
    assert btf_load(btf.encode([btf.from_layout(layout)]).data) == ""  # type: ignore[arg-type]  # a StructType


@needs_vmlinux
def test_the_kernels_types_are_indexed_quickly() -> None:
    data = VMLINUX.read_bytes()
    best = min(_seconds(data) for _ in range(5))
    assert best < INDEX_SECONDS


def _seconds(data: bytes) -> float:
    start = time.perf_counter()
    btf.Spec(data)
    return time.perf_counter() - start


@needs_vmlinux
def test_all_types_of_the_kernel_survive_encoding() -> None:
    data = VMLINUX.read_bytes()
    types = btf.decode(data)
    encoded = btf.encode(t for t in types if t is not None)
    again = btf.Spec(encoded.data)
    for name in ("task_struct", "sk_buff", "bpf_prog", "net_device"):
        first = next(t for t in types if isinstance(t, btf.Struct) and t.name == name)
        second = again.find(name, btf.Kind.STRUCT)
        assert btf.equal(first, second), name


@needs_vmlinux
def test_names_of_the_kernel_are_found() -> None:
    spec = btf.Spec(VMLINUX.read_bytes())
    header = spec.find("ethhdr", btf.Kind.STRUCT)
    layout = btf.layout_of(header)
    assert layout is not None and layout.size == 14
    assert [m.name for m in header.members] == ["h_dest", "h_source", "h_proto"]  # type: ignore[union-attr]
    assert spec.find("no_such_type_in_any_kernel") is None
    assert spec.ids("ethhdr", btf.Kind.FUNC) == []
    (number,) = spec.ids("task_struct", btf.Kind.STRUCT)
    assert spec.kind(number) is btf.Kind.STRUCT and number in spec.candidates("task_struct")
