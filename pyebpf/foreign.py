"""What programs meet that pyebpf did not make: object files of others, and packet sockets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyebpf.hints import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from pyebpf.runtime.load import LoadedObject
    from pyebpf.uapi.constants import AttachType, ProgType


def load(
    path: str | Path | bytes,
    *,
    types: Mapping[str, tuple[ProgType, AttachType | None]] | None = None,
    log_level: int = 0,
) -> LoadedObject:
    """Load an object file: ours, clang's, anybody's.

    ``types``: program types and attach types by program name, instead of what the section names say. Raises
    ``ElfError`` for a file that cannot be read, ``BpfError`` for what the kernel refuses, and ``InMachine`` inside
    ``with machine():``.
    """
    from pyebpf.backend.elf import read_object
    from pyebpf.runtime.load import load as load_spec
    from pyebpf.runtime.load import load_object
    from pyebpf.session import only_in_kernel

    only_in_kernel("an object file")
    if not types:
        return load_object(path, log_level=log_level)

    data = path if isinstance(path, bytes) else Path(path).read_bytes()
    spec = read_object(data, "object" if isinstance(path, bytes) else Path(path).name)
    for name, (prog_type, attach_type) in types.items():
        if name not in spec.programs:
            raise KeyError(f"the object has no program {name!r}; it has {', '.join(spec.programs)}")
        spec.programs[name].prog_type = prog_type
        spec.programs[name].attach_type = attach_type
    return load_spec(spec, log_level=log_level)


def raw_socket(interface: str) -> socket.socket:
    """A packet socket that receives every frame of ``interface``, Ethernet header first. Needs CAP_NET_RAW."""
    import socket

    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.bind((interface, 0x0003))
    except BaseException:
        sock.close()
        raise
    return sock
