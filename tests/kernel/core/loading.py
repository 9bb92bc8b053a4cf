"""Objects of clang for the tests of what depends on the kernel's types, and what the kernel's types say."""

from __future__ import annotations

import functools
from pathlib import Path

from pyebpf import btf
from pyebpf.runtime.kernel_btf import vmlinux
from pyebpf.runtime.load import LoadedObject, load_object
from tests.unit.elf.clang import compile_c

FOLDER = Path(__file__).parent / "c"


@functools.cache
def an_object(name: str) -> bytes:
    """The object of ``c/name.c``."""
    return compile_c(name, folder=FOLDER)


def loaded(name: str) -> LoadedObject:
    """The object of ``c/name.c`` in the kernel."""
    return load_object(an_object(name))


def values(found: LoadedObject) -> list[int]:
    """The array ``values`` that the programs of an object fill."""
    section = found.data[".bss"]
    return list(section.read("values"))


def kernel_struct(name: str) -> btf.Struct:
    """A struct of the running kernel."""
    found = vmlinux().find(name, btf.Kind.STRUCT)
    assert isinstance(found, btf.Struct)
    return found


def member(type_: btf.Type | None, name: str) -> tuple[int, btf.Member]:
    """Bits from the start, and the member called ``name``, of a struct or of one without name in it."""
    inner = btf.skip_modifiers(type_)
    assert isinstance(inner, btf.Struct | btf.Union)
    for one in inner.members:
        if one.name == name:
            return one.bit_offset, one
        if not one.name:
            try:
                bits, found = member(one.type, name)
            except (AssertionError, LookupError):
                continue
            return one.bit_offset + bits, found
    raise LookupError(name)


def offset(struct: str, *names: str) -> int:
    """Bytes from the start of a kernel struct to a field of a field."""
    type_: btf.Type = kernel_struct(struct)
    total = 0
    for name in names:
        bits, found = member(type_, name)
        total, type_ = total + bits, found.type
    return total // 8
