"""How fast the built-in machine runs programs: ``python -m benchmarks.vm_speed``.

Two programs, written in pyebpf and compiled by it: an arithmetic loop, and a packet filter that parses Ethernet, IPv4
and UDP and counts in a map. Of five measurements each the median: BPF instructions per second inside the program, and
for the filter also the time of a whole ``run()`` for one packet.
"""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Callable

import pyebpf as bpf
from pyebpf import be16, u8, u32, u64
from pyebpf.declare import ProgramDecl, declaration_of
from pyebpf.driver import compile_programs
from pyebpf.runtime.vm.load import MachineProgram, load

bpf.license("GPL")

ROUNDS = 5
SECONDS = 0.5
"""How long one measurement takes at least."""

ports = bpf.HashMap[u32, u64](max_entries=64, default=0)


@bpf.xdp(on_error=bpf.XDP_ABORTED)
def arithmetic(ctx: bpf.Xdp) -> int:
    """A linear congruential generator with a branch, 10,000 rounds."""
    number: u32 = 1
    found: u32 = 0
    for step in range(10_000):
        number = (number * 1_103_515_245 + 12_345) & 0xFFFF_FFFF
        if number & 0x10000:
            found ^= number >> 3
            found ^= step
        else:
            found = (found + 7) & 0xFFFF_FFFF
    return found & 1


@bpf.xdp(on_error=bpf.XDP_PASS)
def packet_filter(ctx: bpf.Xdp) -> int:
    """Drops UDP packets to odd ports, counts all by port, adds the payload's first bytes up."""
    if ctx.read(be16, 12) != bpf.ETH_P_IP or ctx.read(u8, 23) != 17:
        return bpf.XDP_PASS
    port = ctx.read(be16, 36)
    total: u32 = 0
    for at in range(42, 58):
        total = (total + ctx.read(u8, at)) & 0xFFFF_FFFF
    ports[port] += 1
    return bpf.XDP_DROP if port & 1 or total == 1 else bpf.XDP_PASS


def frame() -> bytes:
    """An IPv4 packet of UDP to port 53."""
    ip = bytes([0x45]) + bytes(8) + bytes([17]) + bytes(10)
    return bytes(12) + b"\x08\x00" + ip + struct.pack("!HHHH", 4000, 53, 8 + 22, 0) + bytes(range(22))


def speed(program: MachineProgram, data: bytes, repeat: int) -> tuple[float, float]:
    """Instructions per second inside the program, and seconds of one call of ``run`` with that many repetitions."""
    instructions = inside = runs = 0
    start = time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        result = program.run(data, repeat=repeat)
        instructions += program.instructions * repeat
        inside += result.duration * repeat
        runs += 1
    return instructions / inside * 1e9, (time.perf_counter() - start) / runs


def loaded(*programs: object) -> dict[str, MachineProgram]:
    """The programs in the machine, by name."""
    decls = [decl for decl in map(declaration_of, programs) if isinstance(decl, ProgramDecl)]
    return load(compile_programs(decls).object).programs


def median(measure: Callable[[], float]) -> float:
    """Of ``ROUNDS`` measurements."""
    return statistics.median(measure() for _ in range(ROUNDS))


def main() -> None:
    """Measure and print."""
    programs = loaded(arithmetic, packet_filter)
    data = frame()
    loop, filter_ = programs["arithmetic"], programs["packet_filter"]
    print(f"arithmetic loop: {median(lambda: speed(loop, data, 1)[0]) / 1e6:.1f} million instructions/s")
    print(f"packet filter:   {median(lambda: speed(filter_, data, 100)[0]) / 1e6:.1f} million instructions/s")
    each = median(lambda: speed(filter_, data, 1)[1])
    print(
        f"packet filter, a run() for each packet: {each * 1e6:.1f} µs for {filter_.instructions} instructions, "
        f"{filter_.instructions / each / 1e6:.1f} million instructions/s"
    )


if __name__ == "__main__":
    main()
