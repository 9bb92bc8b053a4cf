"""What the running kernel was built with: its configuration file, its version, and names that are not in the file."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Mapping

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attrs import ProgLoad, address
from pyebpf.runtime.info import kernel_release
from pyebpf.runtime.syscall import call
from pyebpf.uapi.constants import BpfCmd, ProgType

if TYPE_CHECKING:
    from typing import Final


_LINE: Final = rb"(?m)^(CONFIG_\w+)=(.*)$"
_PACKED: Final = "/proc/config.gz"
_UBUNTU: Final = "/proc/version_signature"
_NUMBERS: Final = r"(\d+)\.(\d+)\.(\d+)"
_GET_ATTACH_COOKIE: Final = struct.pack("=BBhiBBhi", 0x85, 0, 0, 174, 0x95, 0, 0, 0)
"""``call bpf_get_attach_cookie; exit``."""


def config_files() -> tuple[str, ...]:
    """Where the configuration of the running kernel is looked for, in order."""
    return f"/boot/config-{os.uname().release}", _PACKED


@functools.cache
def kernel_config() -> Mapping[str, str] | None:
    """Every option that is set, with its value as the file has it: ``y``, ``m``, a number, a string in quotes.

    ``None`` if the kernel does not tell: there is none of ``config_files()``.
    """
    import re

    for path in config_files():
        try:
            with open(path, "rb") as opened:
                text = opened.read()
            text = _unpacked(text) if path == _PACKED else text
        except (OSError, EOFError):
            continue
        return {
            name.decode(): value.decode("utf-8", "replace").strip() for name, value in re.findall(_LINE, text)
        }
    return None


def _unpacked(data: bytes) -> bytes:
    import gzip  # loading most programs needs no configuration, but needs this module

    return gzip.decompress(data)


@functools.cache
def kernel_version() -> int:
    """The version as ``LINUX_VERSION_CODE`` has it. Distributions patch kernels and keep the release's name, so their own
    statement counts: Ubuntu's in /proc/version_signature, Debian's in the build's version."""
    try:
        with open(_UBUNTU) as opened:
            signature = opened.read()
    except OSError:
        signature = ""
    return version_code(signature, os.uname().version, kernel_release())


def version_code(signature: str, build: str, release: tuple[int, int, int]) -> int:
    """The version in Ubuntu's signature (``Ubuntu 5.4.0-12.15-generic 5.4.8``), else in the build's version if that is
    Debian's (``#1 SMP Debian 4.19.146-1``), else the release's."""
    import re

    told = signature.split()
    found = re.match(_NUMBERS, told[2]) if len(told) > 2 else None
    if found is None and "Debian " in build:
        found = re.match(_NUMBERS, build.partition("Debian ")[2])
    major, minor, patch = map(int, found.groups()) if found is not None else release
    return major << 16 | minor << 8 | min(patch, 255)


@functools.cache
def has_attach_cookie() -> bool:
    """Whether programs may ask for the cookie of their link (5.15)."""
    attr = ProgLoad(
        prog_type=ProgType.TRACEPOINT,
        insn_cnt=2,
        insns=address(_GET_ATTACH_COOKIE),
        license=address(b"GPL"),
    )
    result = call(BpfCmd.PROG_LOAD, attr)
    if result >= 0:
        os.close(result)
    return result >= 0
