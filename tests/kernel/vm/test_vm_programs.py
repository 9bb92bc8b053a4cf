"""Whole programs in the machine and in the kernel: those of the samples, and generated ones with every construct of the
language. Verdict, packet, maps and variables must be the same after each packet."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyebpf.declare import ProgramDecl
from pyebpf.driver import Compiled, compile_programs
from pyebpf.runtime.cpus import possible_cpus
from pyebpf.runtime.load import load as load_kernel
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.load import load as load_machine
from tests.differential import machines
from tests.differential.generate import generate
from tests.differential.judge import module_of, packets, pinned, programs_of
from tests.differential.outcome import this_cpu

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

SAMPLES = Path(__file__).resolve().parents[3] / "samples"
NAMES = (
    "drop_foobar",
    "hello_socket",
    "lpm_block",
    "packet_events",
    "port_firewall",
    "protocol_count",
    "tc_mark",
)


@contextmanager
def _sample(name: str) -> Iterator[types.ModuleType]:
    """A sample as an imported module."""
    spec = importlib.util.spec_from_file_location(f"sample_{name}", SAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SAMPLES))
        spec.loader.exec_module(module)
        yield module
    del sys.modules[spec.name]


def _frames(seed: int) -> list[bytes]:
    """Frames of Ethernet with IPv4, TCP, UDP and ICMP, whole, cut and random."""
    rng = random.Random(seed)
    found = []
    for _ in range(30):
        protocol = rng.choice([1, 6, 17, 50])
        ip = bytes([0x45, 0, 0, 60, 0, 0, 0, 0, 64, protocol, 0, 0])
        ip += bytes([rng.choice([10, 127, 192]), 0, 0, rng.randrange(4)]) * 2
        ports = rng.choice([53, 80, 443, 8080, 9999]).to_bytes(2, "big") * 2
        payload = rng.choice([b"foobar", b"xfoobar", b"GET / HTTP/1.1", rng.randbytes(20)])
        whole = bytes(12) + b"\x08\x00" + ip + ports + rng.randbytes(16) + payload
        found.append(whole[: rng.choice([len(whole), len(whole), rng.randrange(34, len(whole))])])
    return found


def _compare(compiled: Compiled, frames: list[bytes]) -> None:
    cpu = this_cpu()
    environment = Environment(cpu=cpu, cpus=possible_cpus())
    with (
        load_kernel(compiled.object) as kernel,
        load_machine(compiled.object, environment=environment) as machine,
    ):
        machines.fill_program_arrays(compiled, kernel)
        machines.fill_program_arrays(compiled, machine)
        for frame in frames:
            expected = machines.run_loaded(compiled, kernel, frame, cpu)
            assert machines.run_loaded(compiled, machine, frame, cpu) == expected, frame.hex()


def _has_test_run(decl: ProgramDecl) -> bool:
    return bool(decl.kind.test_run)


@pytest.mark.parametrize("name", NAMES)
def test_samples(name: str) -> None:
    with _sample(name) as module, pinned():
        programs = programs_of(module)
        assert programs
        for program in programs:
            compiled = compile_programs([program])
            if _has_test_run(program):
                _compare(compiled, _frames(len(name)))
            else:
                # The kernel cannot run these on demand; they run here without an error.
                with load_machine(compiled.object) as machine:
                    for frame in _frames(1):
                        assert machine.programs[str(program.name)].run(frame[34:]).verdict in (0, 1)


@pytest.mark.parametrize("seed", range(5000, 5040))
def test_generated_programs(seed: int) -> None:
    source, _ = generate(seed)
    with module_of(source, f"machine_{seed}") as module, pinned():
        _compare(compile_programs(programs_of(module)), packets(seed))
