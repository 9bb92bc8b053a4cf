"""The objects of the samples, taken by other people's tools: bpftool, iproute2 and a C program on libbpf."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.samples.traced import TRACED, Needs

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {"lab", "frames", "tool"} | {n for n, t in TRACED.items() if t.needs is Needs.TRAMPOLINES}
"""Modules without programs, and samples that not every kernel loads."""
SAMPLES = sorted(p.stem for p in (ROOT / "samples").glob("*.py") if p.stem not in LEFT_OUT)
PROGRAMS = {
    "execsnoop": 2,
    "opensnoop": 6,
    "runqlat": 3,
    "syscall_latency": 2,
    "tc_mark": 2,
    "unlink_probe": 2,
}

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root"),
    pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is not installed"),
]


def run(*words: str | Path, check: bool = True) -> str:
    """The output of a command; its error output is shown where it fails."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(str(w) for w in words)}: {done.stdout}{done.stderr}")
    return done.stdout


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every sample, built as a user builds it."""
    folder = tmp_path_factory.mktemp("objects")
    made = {}
    for name in SAMPLES:
        made[name] = folder / f"{name}.o"
        run(sys.executable, "-m", "pyebpf.cli", "build", ROOT / "samples" / f"{name}.py", "-o", made[name])
    return made


@pytest.fixture
def bpffs() -> Iterator[Path]:
    """A folder in the BPF file system."""
    if not os.path.ismount("/sys/fs/bpf"):
        run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
    folder = Path(f"/sys/fs/bpf/pyebpf_test_{os.getpid()}")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace with a veth pair in it."""
    name = f"pyebpf-interop-{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        yield name
    finally:
        run("ip", "netns", "del", name)


@pytest.mark.parametrize("name", SAMPLES)
def test_bpftool_loads_it(name: str, objects: dict[str, Path], bpffs: Path) -> None:
    run("bpftool", "prog", "loadall", objects[name], bpffs)
    assert len(list(bpffs.iterdir())) == PROGRAMS.get(name, 1)


@pytest.mark.parametrize("name", SAMPLES)
def test_bpftool_reads_its_types(name: str, objects: dict[str, Path]) -> None:
    text = run("bpftool", "btf", "dump", "file", objects[name])
    assert "DATASEC 'license'" in text
    for program in (
        p for p in re.findall(r"^@bpf\..*\ndef (\w+)", (ROOT / "samples" / f"{name}.py").read_text(), re.M)
    ):
        assert f"FUNC '{program}'" in text


@pytest.mark.parametrize("name", SAMPLES)
def test_the_static_linker_takes_it(name: str, objects: dict[str, Path], tmp_path: Path) -> None:
    run("bpftool", "gen", "object", tmp_path / "linked.o", objects[name])
    run("bpftool", "btf", "dump", "file", tmp_path / "linked.o")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_skeleton_can_be_made(name: str, objects: dict[str, Path], tmp_path: Path) -> None:
    header = tmp_path / "skeleton.h"
    header.write_text(run("bpftool", "gen", "skeleton", objects[name], "name", name))
    source = tmp_path / "use.c"
    source.write_text(
        f'#include "skeleton.h"\nint main(void) {{ struct {name} *s = {name}__open(); return !s; }}\n'
    )
    run("gcc", source, "-o", tmp_path / "use", "-lbpf")
    run(tmp_path / "use")


@pytest.mark.parametrize("name", ["port_firewall", "lpm_block"])
def test_ip_attaches_it(name: str, objects: dict[str, Path], namespace: str) -> None:
    ip = ("ip", "-n", namespace)
    run(*ip, "link", "set", "dev", "v0", "xdp", "obj", objects[name], "sec", "xdp")
    assert "prog/xdp" in run(*ip, "link", "show", "dev", "v0")
    run(*ip, "link", "set", "dev", "v0", "xdp", "off")


def test_tc_attaches_it(objects: dict[str, Path], namespace: str) -> None:
    tc = ("tc", "-n", namespace)
    run(*tc, "qdisc", "add", "dev", "v0", "clsact")
    run(
        *tc,
        "filter",
        "add",
        "dev",
        "v0",
        "egress",
        "bpf",
        "da",
        "obj",
        objects["tc_mark"],
        "sec",
        "classifier",
    )
    assert "direct-action" in run(*tc, "filter", "show", "dev", "v0", "egress")


C_PROGRAM = r"""
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>
#include <linux/if_packet.h>
#include <linux/if_ether.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct bpf_object *object = bpf_object__open(argv[1]);
    if (!object || bpf_object__load(object))
        return 1;
    struct bpf_program *program = bpf_object__find_program_by_name(object, "count_by_protocol");
    int map = bpf_object__find_map_fd_by_name(object, "packets");
    int raw = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
                                .sll_ifindex = if_nametoindex("lo")};
    int fd = bpf_program__fd(program);
    if (map < 0 || bind(raw, (void *)&where, sizeof where) ||
        setsockopt(raw, SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof fd))
        return 2;
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 7; i++)
        sendto(udp, "x", 1, 0, (void *)&to, sizeof to);
    unsigned key = 17;
    unsigned long long count = 0;
    if (bpf_map_lookup_elem(map, &key, &count))
        return 3;
    printf("%llu\n", count);
    return 0;
}
"""


def test_a_c_program_on_libbpf_loads_attaches_and_reads_its_map(
    objects: dict[str, Path], tmp_path: Path
) -> None:
    source = tmp_path / "use.c"
    source.write_text(C_PROGRAM)
    run("gcc", "-Wall", source, "-o", tmp_path / "use", "-lbpf")
    assert int(run(tmp_path / "use", objects["protocol_count"])) >= 7


def test_anybodys_object_can_be_loaded_with_another_type(objects: dict[str, Path]) -> None:
    import pyebpf as bpf
    from pyebpf.uapi.constants import ProgType

    with bpf.load(objects["hello_socket"], types={"keep_four": (ProgType.SCHED_CLS, None)}) as loaded:
        program = loaded.programs["keep_four"]
        assert program.type is ProgType.SCHED_CLS
        assert program.run(bytes(64)).verdict == 4


def test_the_object_filters_what_the_sample_filters(objects: dict[str, Path]) -> None:
    import pyebpf as bpf
    from pyebpf.runtime.attach.socket import attach_socket

    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    loaded = bpf.load(objects["hello_socket"])
    with receiver, sender, loaded, attach_socket(loaded.programs["keep_four"], receiver):
        sender.send(b"Hello")
        assert receiver.recv(16) == b"Hell"
