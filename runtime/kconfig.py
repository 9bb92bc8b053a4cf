"""The values of ``.kconfig`` externs: what programs ask about the kernel that they are loaded into.

They become constants of a section that is frozen before programs are loaded, so the verifier leaves out what they rule
out. Source of the rules: libbpf 1.8.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from pyebpf import btf
from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import DataSection, Extern, Variable
from pyebpf.runtime.errors import ObjectError
from pyebpf.runtime.kernel_config import config_files, has_attach_cookie, kernel_config, kernel_version
from pyebpf.runtime.syscall_wrapper import has_syscall_wrapper

if TYPE_CHECKING:
    from typing import Final


SECTION: Final = ".kconfig"
_TRISTATE: Final = "libbpf_tristate"
_STATES: Final = {"n": 0, "y": 1, "m": 2}
_INT_SIZES: Final = (1, 2, 4, 8)


def kconfig_section(externs: Iterable[Extern]) -> DataSection:
    """The section with the values of these externs on the running kernel, the largest alignment first.

    Raises ``ObjectError`` for a strong one that the kernel does not tell, and for a value that its type cannot hold.
    """
    section = DataSection(SECTION)
    placed = sorted(externs, key=lambda e: (-_align(e.type), btf.size_of(e.type), e.name))
    for extern in placed:
        align, size = _align(extern.type), btf.size_of(extern.type)
        offset = (len(section.contents) + align - 1) // align * align
        section.contents += bytes(offset - len(section.contents))
        section.contents += kconfig_value(extern)
        section.variables.append(Variable(extern.name, offset, size, extern.type, btf.layout_of(extern.type)))
    return section


def kconfig_value(extern: Extern) -> bytes:
    """The bytes of one extern on the running kernel; raises as ``kconfig_section``."""
    number: int | None
    match extern.name:
        case "LINUX_KERNEL_VERSION":
            number = kernel_version()
        case "LINUX_HAS_BPF_COOKIE":
            number = int(has_attach_cookie())
        case "LINUX_HAS_SYSCALL_WRAPPER":
            number = int(has_syscall_wrapper())
        case name if name.startswith("CONFIG_"):
            return _option(extern)
        case _:
            number = None
    if number is not None:
        return _number(extern, number)
    if extern.weak and extern.name.startswith("LINUX_"):
        return bytes(btf.size_of(extern.type))
    raise ObjectError(
        f"{extern.name!r} is no kernel configuration value: those are CONFIG_… and LINUX_KERNEL_VERSION, "
        "LINUX_HAS_BPF_COOKIE, LINUX_HAS_SYSCALL_WRAPPER"
    )


def _option(extern: Extern) -> bytes:
    config = kernel_config()
    text = None if config is None else config.get(extern.name)
    if text is not None:
        return encode_value(extern, text)
    if extern.weak:
        return bytes(btf.size_of(extern.type))
    if config is None:
        raise ObjectError(
            f"{extern.name!r} is needed, but the kernel's configuration is nowhere: neither "
            f"{' nor '.join(config_files())} can be read"
        )
    raise ObjectError(
        f"{extern.name!r} is not set in the kernel's configuration; a weak declaration would read as 0"
    )


def encode_value(extern: Extern, text: str) -> bytes:
    """The bytes of an option whose value is ``text`` in the configuration file. Raises ``ObjectError``."""
    type_, size = btf.skip_modifiers(extern.type), btf.size_of(extern.type)
    if text in _STATES:
        if isinstance(type_, btf.Enum | btf.Enum64) and type_.name == _TRISTATE:
            return _STATES[text].to_bytes(size, sys.byteorder)
        if _is_bool(type_) and text != "m":
            return _STATES[text].to_bytes(1, sys.byteorder)
        if isinstance(type_, btf.Int) and size == 1 and not _is_bool(type_):
            return text.encode()
        raise _misfit(extern, text)
    if text.startswith('"'):
        element = btf.skip_modifiers(type_.element) if isinstance(type_, btf.Array) else None
        if (
            not isinstance(element, btf.Int)
            or element.size != 1
            or not size
            or text[-1:] != '"'
            or len(text) < 2
        ):
            raise _misfit(extern, text)
        return text[1:-1].encode("utf-8", "surrogateescape")[: size - 1].ljust(size, b"\0")
    try:
        octal = len(text.lstrip("-")) > 1 and text.lstrip("-").startswith("0") and text.lstrip("-").isdigit()
        return _number(extern, int(text, 8 if octal else 0))
    except ValueError:
        raise _misfit(extern, text) from None


def _number(extern: Extern, value: int) -> bytes:
    type_ = btf.skip_modifiers(extern.type)
    if (
        not isinstance(type_, btf.Int)
        or type_.size not in _INT_SIZES
        or (_is_bool(type_) and value not in (0, 1))
    ):
        raise _misfit(extern, str(value))
    bits = type_.size * 8
    if type_.size == _INT_SIZES[-1]:
        return (value % (1 << bits)).to_bytes(type_.size, sys.byteorder)  # as libbpf: either sign
    try:
        return value.to_bytes(type_.size, sys.byteorder, signed=type_.signed)
    except OverflowError:
        raise _misfit(extern, str(value)) from None


def _is_bool(type_: btf.Type | None) -> bool:
    return isinstance(type_, btf.Int) and bool(type_.encoding & btf.IntEncoding.BOOL)


def _align(type_: btf.Type) -> int:
    inner = btf.skip_modifiers(type_)
    if isinstance(inner, btf.Array):
        return _align(inner.element)
    return max(btf.size_of(inner), 1)


def _misfit(extern: Extern, text: str) -> ObjectError:
    return ObjectError(
        f"{extern.name!r} is {text} on this kernel, which its declared type {btf.describe(extern.type)} cannot hold"
    )
