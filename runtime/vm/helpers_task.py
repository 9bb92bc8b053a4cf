"""Helpers that ask for the time, the CPU, chance, the current task: all from the ``Environment``. Source:
kernel/bpf/helpers.c."""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.vm.run import HelperImplementation, Run

if TYPE_CHECKING:
    from typing import Final


_NANOSECONDS: Final = 1_000_000_000
_TAKEN_AT_BOOT: Final = 300
"""Seconds by which the kernel lets jiffies start before 2**32, so that they soon pass it."""


def ktime_get_ns(run: Run, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Nanoseconds since boot. The machine does not know of suspended time or coarser clocks."""
    return run.environment.clock()


def ktime_get_tai_ns(run: Run, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Nanoseconds of atomic time."""
    return run.environment.tai()


def jiffies64(run: Run, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Ticks since five minutes before 2**32."""
    hz = run.environment.hz
    return (1 << 32) - _TAKEN_AT_BOOT * hz + run.environment.clock() * hz // _NANOSECONDS


def get_prandom_u32(run: Run, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """32 random bits."""
    return run.environment.random(32)


def get_smp_processor_id(run: Run, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """The CPU's number."""
    return run.environment.cpu


def get_numa_node_id(run: Run, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """The CPU's node."""
    return run.environment.numa_node


def get_current_pid_tgid(run: Run, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Process in the upper half, thread in the lower one: the same, as the machine has no threads."""
    return run.environment.pid << 32 | run.environment.pid


def get_current_uid_gid(run: Run, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Group in the upper half, user in the lower one."""
    return run.environment.gid << 32 | run.environment.uid


def get_current_comm(run: Run, buffer: int, size: int, r3: int, r4: int, r5: int) -> int:
    """The task's name, cut to the buffer, padded with zeros."""
    size &= 0xFFFF_FFFF
    run.memory.write(buffer, run.environment.comm[:15][: max(0, size - 1)].ljust(size, b"\0"))
    return 0


TABLE: Final[dict[str, HelperImplementation]] = {
    "ktime_get_ns": ktime_get_ns,
    "ktime_get_boot_ns": ktime_get_ns,
    "ktime_get_coarse_ns": ktime_get_ns,
    "ktime_get_tai_ns": ktime_get_tai_ns,
    "jiffies64": jiffies64,
    "get_prandom_u32": get_prandom_u32,
    "get_smp_processor_id": get_smp_processor_id,
    "get_numa_node_id": get_numa_node_id,
    "get_current_pid_tgid": get_current_pid_tgid,
    "get_current_uid_gid": get_current_uid_gid,
    "get_current_comm": get_current_comm,
}
