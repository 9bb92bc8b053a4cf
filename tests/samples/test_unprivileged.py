"""As a user with exactly the capabilities that loading needs, with fewer, and with none."""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.samples.expected import EXPECTED, SAMPLES
from tests.samples.unprivileged import LOADER, run, running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="giving up capabilities needs root")

STATUS = "print(*(l for l in open('/proc/self/status') if l.startswith(('Uid', 'Cap'))), sep='')"


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a sample into this process, which is root."""
    monkeypatch.syspath_prepend(str(SAMPLES))
    return importlib.import_module


def test_the_child_has_exactly_these_capabilities() -> None:
    mask = 1 << 39 | 1 << 38 | 1 << 12
    status = run(["-c", STATUS], LOADER).stdout
    assert "Uid:\t1337\t1337\t1337\t1337" in status
    sets = dict(re.findall(r"(Cap\w+):\t(\w+)", status))
    assert sets == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), f"{mask:016x}")
    assert set(re.findall(r"Cap\w+:\t(\w+)", run(["-c", STATUS]).stdout)) == {f"{0:016x}"}


# ---------------------------------------------------------------- uid 1337, on the kernel


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_samples_on_the_kernel_as_uid_1337(name: str) -> None:
    """Loaded and run; where a sample needs packet sockets or namespaces it feeds frames to the kernel's test run."""
    done = run([f"{{repo}}/samples/{name}.py"], LOADER)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(EXPECTED[name], done.stdout), done.stdout


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - {"port_firewall", "packet_sizes"}))
def test_samples_on_the_kernel_without_perfmon(name: str) -> None:
    done = run([f"{{repo}}/samples/{name}.py"], ("bpf", "net_admin"))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(EXPECTED[name], done.stdout), done.stdout


def test_what_the_verifier_forbids_without_perfmon_is_told() -> None:
    """A packet pointer moved by a register is for processes with CAP_PERFMON (sanitize_ptr_alu)."""
    code = "import port_firewall; port_firewall.port_firewall.load()"
    assert run(["-c", code], LOADER).returncode == 0
    done = run(["-c", code], ("bpf", "net_admin"))
    assert (
        "the verifier allows this with CAP_PERFMON, which this process lacks; `sudo setcap cap_perfmon+ep "
        in (done.stderr)
    )


ATTACHED = """
import sys, {module} as sample
links = [{attach}]
{setup}
print("ready", flush=True)
sys.stdin.readline()
for link in links:
    link.close()
print({report})
"""


def _attached(
    namespace: str, module: str, attach: str, setup: str, report: str, traffic: Callable[[], None]
) -> str:
    """Attach as uid 1337 in a namespace that root made, let root make traffic, and return what the child reports."""
    code = ATTACHED.format(module=module, attach=attach, setup=setup, report=report)
    with running(["-c", code], LOADER, inside=namespace) as child:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        ready = child.stdout.readline()
        assert ready == "ready\n", child.stderr.read()
        traffic()
        output, errors = child.communicate("\n", timeout=30)
        assert (child.returncode, errors) == (0, "")
        return output.strip()


def test_xdp_attached_as_uid_1337_drops_real_connections(sample: Callable[[str], ModuleType]) -> None:
    firewall = sample("port_firewall")
    seen: list[str] = []

    def traffic() -> None:
        with lab.inside("left"):
            seen.extend(firewall.knock(a, p) for a in ("10.99.0.2", "fd99::2") for p in (2222, 3333))

    with firewall.Lab() as lab:
        attach, report = 'sample.port_firewall.attach("veth1")', "sum(sample.drops.values())"
        dropped = _attached(
            lab.names["right"], "port_firewall", attach, "sample.blocked[2222] = 1", report, traffic
        )
    assert seen == ["dropped", "reached"] * 2
    assert int(dropped) >= 2


def test_tc_attached_as_uid_1337_marks_and_drops_real_datagrams(sample: Callable[[str], ModuleType]) -> None:
    lab_module = sample("lab")
    arrived: dict[int, bytes | None] = {}

    def traffic() -> None:
        for port in (7000, 7001, 7013):
            with lab.inside("right"):
                receiver = socket.socket(type=socket.SOCK_DGRAM)
                receiver.bind(("10.99.0.2", port))
                receiver.settimeout(0.3)
            with lab.inside("left"), socket.socket(type=socket.SOCK_DGRAM) as sender, receiver:
                sender.sendto(b"hello", ("10.99.0.2", port))
                try:
                    arrived[port] = receiver.recv(16)
                except TimeoutError:
                    arrived[port] = None

    with lab_module.Lab() as lab:
        attach = 'sample.drop_marked.attach("veth0"), sample.set_mark.attach("veth0", first=True)'
        setup = "sample.marks.update(7001, 7); sample.marks.update(7013, 13)"
        report = "[(k, v) for k, v in sorted(sample.seen.items()) if k]"
        marks = _attached(lab.names["left"], "tc_mark", attach, setup, report, traffic)
    assert arrived == {7000: b"hello", 7001: b"hello", 7013: None}
    assert marks == "[(7, 1), (13, 1)]"


def test_socket_filters_attached_as_uid_1337_to_a_packet_socket_of_roots() -> None:
    """Opening the socket needs CAP_NET_RAW, attaching to it does not."""
    code = (
        "import socket, protocol_count as sample\n"
        "with socket.socket(fileno={fd}) as sock, sample.count_by_protocol.attach(sock):\n"
        "    sample.traffic()\n"
        "print(sample.packets[6], sample.packets[17])\n"
    )
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("lo", 0x0003))
        done = run(["-c", code.format(fd=sock.fileno())], LOADER, give=[sock.fileno()])
    assert (done.returncode, done.stderr) == (0, "")
    assert all(int(count) >= 10 for count in done.stdout.split())


# ---------------------------------------------------------------- uid 1337 without any capability


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_samples_in_the_machine_give_the_same_results(name: str) -> None:
    """The same lines, and one warning that says where they come from and what is missing."""
    done = run([f"{{repo}}/samples/{name}.py"])
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(EXPECTED[name], done.stdout), done.stdout
    told = done.stderr.count("MachineWarning: programs run in the built-in machine, not in the kernel: ")
    asked = name == "drop_foobar"
    assert told == (0 if asked else 1), done.stderr


def test_the_counts_of_the_machine_are_those_of_real_traffic() -> None:
    here = {**os.environ, "PYTHONPATH": str(SAMPLES.parent)}
    names = ("hello_socket", "drop_foobar", "port_firewall", "tc_mark", "lpm_block")
    for name in names:
        real = subprocess.run(
            [sys.executable, str(SAMPLES / f"{name}.py")],
            capture_output=True,
            text=True,
            env=here,
            check=True,
        )
        assert real.stdout == run([f"{{repo}}/samples/{name}.py"]).stdout


def test_loading_without_capabilities_is_refused_in_one_sentence() -> None:
    code = (
        "import pyebpf as bpf, hello_socket, port_firewall\n"
        "for program in (hello_socket.keep_four, port_firewall.port_firewall):\n"
        "    try:\n"
        "        program.load()\n"
        "    except bpf.PermissionDenied as denied:\n"
        "        print(denied)\n"
    )
    first, second = run(["-c", code]).stdout.splitlines()
    assert re.fullmatch(
        r"cannot load the program 'keep_four': EPERM \(Operation not permitted\): this process lacks CAP_BPF"
        r"( \(sysctl \S+ is \d\))?; run it as root or do `sudo setcap cap_bpf\+ep \S+`; "
        r"keep_four\.run\(data\) runs it in the built-in machine",
        first,
    )
    assert "lacks CAP_BPF and CAP_NET_ADMIN" in second
    assert "`sudo setcap cap_bpf,cap_net_admin+ep " in second


WORLD = """
import warnings
import protocol_count as sample
import pyebpf as bpf
from frames import for_packet_socket, udp

frame = for_packet_socket(udp(("127.0.0.1", 1), ("127.0.0.1", 2), b"x"))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    sample.packets[17] = 40
    results = [sample.count_by_protocol.run(frame) for _ in range(2)]
    print(sample.packets[17], [r.machine for r in results], len(told), told[0].filename)
    with bpf.machine():
        sample.count_by_protocol.run(frame)
        print(sample.packets[17])
    print(sample.packets[17], len(told))
"""


def test_maps_are_the_machines_and_the_warning_comes_once() -> None:
    done = run(["-c", WORLD])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "42 [True, True] 1 <string>\n1\n42 1\n"


def test_kinds_without_a_test_run_have_to_be_asked_for() -> None:
    code = "import drop_foobar; drop_foobar.drop_foobar.run(b'foobar')"
    refused = run(["-c", code]).stderr.splitlines()[-1]
    assert "the kernel has no test run for SK_SKB programs; run(…, machine=True) runs it" in refused


def test_doctor_tells_what_is_missing() -> None:
    done = run(["-m", "pyebpf.cli", "doctor", "--json"])
    assert done.returncode == 1
    told = json.loads(done.stdout)
    states = {found["subject"]: found["state"] for found in told["findings"]}
    assert told["loads"] is False
    assert states["CAP_BPF"] == states["@bpf.xdp"] == "missing"
    assert states["built-in machine"] == "ok"
    mend = {found["subject"]: found["mend"] for found in told["findings"]}["@bpf.xdp"]
    assert mend.startswith("sudo setcap cap_bpf,cap_net_admin+ep ")


def test_doctor_with_some_capabilities() -> None:
    done = run(["-m", "pyebpf.cli", "doctor"], ("bpf",))
    assert done.returncode == 0
    assert re.search(r"^ok +@bpf\.socket_filter +loads$", done.stdout, re.MULTILINE)
    assert re.search(r"^missing +@bpf\.xdp +needs CAP_NET_ADMIN$", done.stdout, re.MULTILINE)


def test_log_needs_the_kernel_and_says_so() -> None:
    done = run(["-m", "pyebpf.cli", "log", "{repo}/samples/protocol_count.py"])
    assert done.returncode == 1
    assert done.stderr.startswith("pyebpf: cannot load the program 'count_by_protocol': EPERM")


def test_the_project_is_not_writable_for_the_child(tmp_path: Path) -> None:
    """The proof that these tests test something: the child really is somebody else."""
    done = run(["-c", f"open({str(tmp_path / 'x')!r}, 'w')"], LOADER)
    assert "PermissionError" in done.stderr
