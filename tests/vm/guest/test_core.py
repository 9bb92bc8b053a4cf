"""One object with accesses to the kernel's structs, built on the host, gives right values on every kernel (CO-RE).

It is loaded by our loader and by libbpf (through ctypes). What is read is compared with what the process knows of itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pyebpf.backend.elf_read import read_object
from pyebpf.runtime.attach.tracepoint import attach_raw_tracepoint
from pyebpf.runtime.load import load
from pyebpf.runtime.maps import MappingMap
from tests.vm.libbpf import LibbpfObject

NAMES = (
    "tgid",
    "parent",
    "first of comm",
    "bit",
    "old state",
    "state",
    "mm exists",
    "size",
    "signal",
    "again",
)


def prepare(folder: Path) -> None:
    """Compile the program of ``tests/vm/core_program.py`` for 6.1, with the types of the host's kernel."""
    from pyebpf.target import Target
    from tests.vm import core_program

    elf = core_program.look.compile(Target(kernel=(6, 1))).elf()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "core.o").write_bytes(elf)


@contextlib.contextmanager
def marked() -> Iterator[None]:
    """Sets the bit-field of the task that the program reads."""
    os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def expected() -> dict[str, int]:
    """What the process knows of itself. The state of a running task is 0; before 5.14 the field had another name."""
    comm = Path("/proc/self/comm").read_bytes()
    known = (os.getpid(), os.getppid(), comm[0], 1, -1, 0, 1, 4, 17, os.getpid())
    return dict(zip(NAMES, known, strict=True))


def found(values: list[int]) -> dict[str, int]:
    return dict(zip(NAMES, values, strict=True))


def test_our_loader(prepared: Path) -> None:
    with load(read_object((prepared / "core.o").read_bytes())) as loaded:
        program = next(iter(loaded.programs.values()))
        with marked(), attach_raw_tracepoint(program, "sys_enter"):
            os.getppid()
        seen = loaded.maps["seen"]
        assert isinstance(seen, MappingMap)
        assert found([seen[n] for n in range(len(NAMES))]) == expected()


def test_libbpf(prepared: Path) -> None:
    with LibbpfObject(prepared / "core.o") as loaded:
        with marked(), loaded.attached("look"):
            os.getppid()
        assert found([loaded.number("seen", n) for n in range(len(NAMES))]) == expected()
