"""What this kernel can do, found by trying: each question is asked when first needed and answered once per
process.

A version number says little, since distributions backport. Only what a fallback depends on is asked here;
how a program is attached is tried directly, because there the attempt is the question.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from pyebpf import btf, enums
from pyebpf.btf.encode import encode
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attrs import BtfLoad, ProgLoad, address
from pyebpf.runtime.errors import BpfError, Phase
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.privilege import program_need
from pyebpf.runtime.syscall import call, error
from pyebpf.uapi.constants import AttachType, BpfCmd, ProgType

if TYPE_CHECKING:
    from typing import Final


class Feature(enums.Enum):
    """A question to the kernel; the value names what it is about."""

    BTF_DECL_TAG = "declaration tags in BTF (5.16)"
    BTF_TYPE_TAG = "type tags in BTF (5.17)"
    BTF_ENUM64 = "64-bit enums in BTF (6.0)"


def _accepts(type_: btf.Type) -> bool:
    """Whether the kernel loads BTF that consists of ``type_`` and what it refers to."""
    data = encode([type_]).data
    result = call(BpfCmd.BTF_LOAD, BtfLoad(btf=address(data), btf_size=len(data)))
    if result < 0:
        return False
    os.close(result)
    return True


_PROBES: Final[dict[Feature, Callable[[], bool]]] = {
    Feature.BTF_DECL_TAG: lambda: _accepts(btf.Typedef("t", btf.INT, (btf.Tag("probe"),))),
    Feature.BTF_TYPE_TAG: lambda: _accepts(btf.Ptr(btf.TypeTag("probe", btf.INT))),
    Feature.BTF_ENUM64: lambda: _accepts(btf.Enum64("e", 8, (btf.Enumerator("v", 1),))),
}


@functools.cache
def has(feature: Feature) -> bool:
    """Whether this kernel has ``feature``, as far as this process may use it."""
    return _PROBES[feature]()


_RETURN_ZERO: Final = bytes.fromhex("b700000000000000 9500000000000000")
"""``r0 = 0; exit``, the same in both byte orders."""


def refusal(prog_type: ProgType, attach_type: AttachType | None = None) -> BpfError | None:
    """Why this kernel loads no program of a type for this process, found with the shortest one; ``None``: it does."""
    try:
        load_minimal(prog_type, attach_type).close()
    except BpfError as found:
        return found
    return None


def load_minimal(prog_type: ProgType, attach_type: AttachType | None = None, *, attach_btf_id: int = 0) -> Fd:
    """Load the shortest program of a type, which returns 0. Raises ``BpfError``."""
    attr = ProgLoad(
        prog_type=prog_type,
        insn_cnt=2,
        insns=address(_RETURN_ZERO),
        license=address(b"GPL"),
        expected_attach_type=attach_type or 0,
        attach_btf_id=attach_btf_id,
    )
    result = call(BpfCmd.PROG_LOAD, attr)
    if result < 0:
        raise error(-result, Phase.PROG_LOAD, f"of type {prog_type.name}", need=program_need(prog_type))
    return Fd(result)
