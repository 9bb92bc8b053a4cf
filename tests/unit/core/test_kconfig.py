"""Values of the kernel's configuration, its version, its symbols, and the names of its system calls."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyebpf import btf
from pyebpf.object import Extern
from pyebpf.runtime import kernel_config, syscall_wrapper
from pyebpf.runtime.errors import ObjectError
from pyebpf.runtime.kallsyms import symbol_address
from pyebpf.runtime.kconfig import encode_value, kconfig_section, kconfig_value
from pyebpf.runtime.kernel_config import version_code
from pyebpf.runtime.syscall_wrapper import syscall_function

TRISTATE = btf.Enum("libbpf_tristate", 4, (btf.Enumerator("TRI_NO", 0),))
TEXT = btf.Array(btf.CHAR, 6, btf.U32)


def value(text: str, type_: btf.Type) -> int | bytes:
    """The value of an option: a number, or the bytes of a text."""
    found = encode_value(Extern("CONFIG_X", ".kconfig", type_), text)
    assert len(found) == btf.size_of(type_)
    if isinstance(type_, btf.Array):
        return found
    inner = btf.skip_modifiers(type_)
    return int.from_bytes(found, sys.byteorder, signed=isinstance(inner, btf.Int) and inner.signed)


@pytest.mark.parametrize(
    ("text", "type_", "expected"),
    [
        ("y", btf.BOOL, 1),
        ("n", btf.BOOL, 0),
        ("1", btf.BOOL, 1),
        ("y", TRISTATE, 1),
        ("m", TRISTATE, 2),
        ("n", btf.Typedef("t", btf.Const(TRISTATE)), 0),
        ("m", btf.CHAR, ord("m")),
        ("y", btf.U8, ord("y")),
        ("250", btf.INT, 250),
        ("0x1f", btf.U16, 31),
        ("010", btf.INT, 8),
        ("-1", btf.INT, -1),
        ("65535", btf.U16, 65535),
        ("0xffffffffffffffff", btf.U64, (1 << 64) - 1),
        ('"abc"', TEXT, b"abc\0\0\0"),
        ('"abcdefgh"', TEXT, b"abcde\0"),
        ('""', TEXT, bytes(6)),
    ],
)
def test_values(text: str, type_: btf.Type, expected: int | bytes) -> None:
    assert value(text, type_) == expected


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("m", btf.BOOL),
        ("250", btf.BOOL),
        ("y", btf.INT),
        ("y", TEXT),
        ("y", btf.Enum("other", 4)),
        ('"abc"', btf.INT),
        ('"abc"', btf.Array(btf.INT, 4, btf.U32)),
        ('"', TEXT),
        ("65536", btf.U16),
        ("-1", btf.U16),
        ("32768", btf.S16),
        ("12", TRISTATE),
        ("12", TEXT),
        ("12x", btf.INT),
        ("12", btf.Int("__int128", 16)),
        ("12", btf.Struct("s", 4)),
    ],
)
def test_values_that_do_not_fit(text: str, type_: btf.Type) -> None:
    with pytest.raises(ObjectError, match=r"'CONFIG_X' is .* cannot hold"):
        value(text, type_)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration file instead of the kernel's."""
    path = tmp_path / "config"
    path.write_text('CONFIG_HZ=250\n# CONFIG_OFF is not set\nCONFIG_NAME="a=b"\nCONFIG_Y=y\nNO_CONFIG=1\n')
    monkeypatch.setattr(kernel_config, "config_files", lambda: (str(path), str(tmp_path / "config.gz")))
    monkeypatch.setattr("pyebpf.runtime.kernel_config._PACKED", str(tmp_path / "config.gz"))
    kernel_config.kernel_config.cache_clear()
    yield path
    kernel_config.kernel_config.cache_clear()


def test_the_file(config: Path) -> None:
    expected = {"CONFIG_HZ": "250", "CONFIG_NAME": '"a=b"', "CONFIG_Y": "y"}
    assert kernel_config.kernel_config() == expected
    packed = config.with_suffix(".gz")
    packed.write_bytes(gzip.compress(config.read_bytes()))
    config.unlink()
    kernel_config.kernel_config.cache_clear()
    assert kernel_config.kernel_config() == expected
    packed.write_bytes(b"no gzip")
    kernel_config.kernel_config.cache_clear()
    assert kernel_config.kernel_config() is None
    with pytest.raises(ObjectError, match="configuration is nowhere"):
        kconfig_value(Extern("CONFIG_HZ", ".kconfig", btf.INT))
    assert kconfig_value(Extern("CONFIG_HZ", ".kconfig", btf.INT, weak=True)) == bytes(4)


def test_a_section_of_values(config: Path) -> None:
    section = kconfig_section(
        [
            Extern("CONFIG_Y", ".kconfig", btf.BOOL),
            Extern("CONFIG_NAME", ".kconfig", TEXT),
            Extern("CONFIG_OFF", ".kconfig", btf.U64, weak=True),
            Extern("CONFIG_HZ", ".kconfig", btf.INT),
        ]
    )
    assert [(v.name, v.offset, v.size) for v in section.variables] == [
        ("CONFIG_OFF", 0, 8),
        ("CONFIG_HZ", 8, 4),
        ("CONFIG_Y", 12, 1),
        ("CONFIG_NAME", 13, 6),
    ]
    assert bytes(section.contents) == bytes(8) + (250).to_bytes(4, sys.byteorder) + b"\1" + b"a=b\0\0\0"
    assert section.read_only
    with pytest.raises(ObjectError, match="'CONFIG_OFF' is not set"):
        kconfig_section([Extern("CONFIG_OFF", ".kconfig", btf.U64)])


@pytest.mark.parametrize(
    ("signature", "build", "release", "expected"),
    [
        ("", "#1 SMP PREEMPT_DYNAMIC", (6, 18, 44), (6, 18, 44)),
        ("Ubuntu 5.4.0-12.15-generic 5.4.8\n", "#1 SMP", (5, 4, 0), (5, 4, 8)),
        ("", "#1 SMP Debian 4.19.146-1 (2020-09-17)", (4, 19, 0), (4, 19, 146)),
        ("", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.4-1", (6, 1, 0), (6, 1, 4)),
        ("odd", "Debian ", (5, 10, 300), (5, 10, 255)),
    ],
)
def test_versions(
    signature: str, build: str, release: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    assert version_code(signature, build, release) == expected[0] << 16 | expected[1] << 8 | expected[2]


TABLE = b"""ffffffff81000000 T startup
ffffffff81001000 t twice
ffffffff81002000 t twice
ffffffff81003000 d cpus.llvm.123
ffffffff81003500 t code.llvm.123
0000000000000000 T hidden
ffffffffc0000000 t of_module\t[module]
ffffffff81004000 T same
ffffffff81004000 T same
"""


def test_symbols() -> None:
    assert symbol_address("startup", TABLE) == 0xFFFF_FFFF_8100_0000
    assert symbol_address("cpus", TABLE) == 0xFFFF_FFFF_8100_3000
    assert symbol_address("of_module", TABLE) == 0xFFFF_FFFF_C000_0000
    assert symbol_address("same", TABLE) == 0xFFFF_FFFF_8100_4000
    for absent in ("start", "code", "module", "startup.", ".*"):
        assert symbol_address(absent, TABLE) is None
    with pytest.raises(ObjectError, match="2 symbols 'twice' at different addresses"):
        symbol_address("twice", TABLE)
    with pytest.raises(ObjectError, match=r"'hidden' is hidden: .*CAP_SYSLOG"):
        symbol_address("hidden", TABLE)


@pytest.mark.parametrize(
    ("machine", "wrapper", "expected"),
    [
        ("x86_64", True, "__x64_sys_openat"),
        ("aarch64", True, "__arm64_sys_openat"),
        ("riscv64", True, "__riscv_sys_openat"),
        ("x86_64", False, "__se_sys_openat"),
        ("unheard-of", True, "__se_sys_openat"),
    ],
)
def test_functions_of_system_calls(machine: str, wrapper: bool, expected: str) -> None:
    assert syscall_function("openat", machine=machine, wrapper=wrapper) == expected


@pytest.mark.parametrize(
    ("types", "symbol", "option", "expected"),
    [
        (True, False, None, True),
        (False, True, None, True),
        (False, False, "y", False),
        (False, None, "y", True),
        (False, None, None, False),
    ],
)
def test_who_is_asked_about_the_wrapper(
    types: bool, symbol: bool | None, option: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscall_wrapper, "is_function", lambda name: types)
    monkeypatch.setattr(syscall_wrapper, "has_symbol", lambda name: symbol)
    options = {} if option is None else {"CONFIG_ARCH_HAS_SYSCALL_WRAPPER": option}
    monkeypatch.setattr(syscall_wrapper, "kernel_config", lambda: options)
    assert syscall_wrapper.has_syscall_wrapper.__wrapped__() is expected
