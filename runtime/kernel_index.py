"""The index of the kernel's types on disk, so that the next process finds a type within milliseconds.

An entry belongs to the very bytes of a ``.BTF``, by their length and CRC, so it holds over boots and is never taken for
that of another kernel; its own CRC tells a damaged one. Where there can be no folder, types are indexed each time.
"""

from __future__ import annotations

import contextlib
import os
from zlib import crc32

from pyebpf.btf.decode import Spec
from pyebpf.btf.index import dump_index, load_index
from pyebpf.btf.strings import Bytes
from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.own_folder import TYPES_SUFFIX, evict, folder, private, read_own, write_own

if TYPE_CHECKING:
    from typing import Final


KERNELS: Final = 4
"""How many kernels' indexes are kept; the oldest go first."""


def indexed(data: Bytes) -> Spec:
    """The types in ``data``, with an index from disk if there is one; else one is put there.

    Raises ``BtfError`` for what is no BTF.
    """
    home = folder()
    if home is None:
        return Spec(data)
    checksum = crc32(data)
    name = f"{checksum:08x}{len(data):08x}{TYPES_SUFFIX}"
    stored = read_own(os.path.join(home, name)) if private(home) else None
    index = load_index(stored, len(data), checksum) if stored is not None else None
    if index is not None:
        return Spec(data, index=index)
    spec = Spec(data)
    with contextlib.suppress(OSError):
        os.makedirs(home, mode=0o700, exist_ok=True)
        if private(home):
            write_own(home, name, dump_index(spec.index(), len(data), checksum))
            evict(home, TYPES_SUFFIX, KERNELS)
    return spec
