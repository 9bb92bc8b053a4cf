"""What ``pyebpf doctor`` says about machines that this one is not."""

from __future__ import annotations

import json

import pytest

from pyebpf import doctor
from pyebpf.doctor import Finding, Report, State
from pyebpf.runtime import info, privilege


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files that the doctor finds; all others are missing."""
    known: dict[str, str] = {}
    monkeypatch.setattr(doctor, "_read", known.get)
    monkeypatch.setattr(privilege, "_read", lambda path: known.get(path, ""))
    return known


@pytest.mark.parametrize(
    ("text", "state", "mend"),
    [
        ("1", State.OK, ""),
        ("2", State.OK, ""),
        ("0", State.WARNING, "sudo sysctl net.core.bpf_jit_enable=1"),
        (None, State.WARNING, ""),
    ],
)
def test_jit(files: dict[str, str], text: str | None, state: State, mend: str) -> None:
    if text is not None:
        files["/proc/sys/net/core/bpf_jit_enable"] = text
    (found,) = doctor._jit()
    assert (found.state, found.mend) == (state, mend)


def test_hardened_jit(files: dict[str, str]) -> None:
    files.update({"/proc/sys/net/core/bpf_jit_enable": "1", "/proc/sys/net/core/bpf_jit_harden": "2"})
    found = list(doctor._jit())
    assert found[1].mend == "sudo sysctl net.core.bpf_jit_harden=1"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("", State.OK),
        ("[none] integrity confidentiality\n", State.OK),
        ("none [integrity] confidentiality\n", State.WARNING),
        ("none integrity [confidentiality]\n", State.WARNING),
    ],
)
def test_lockdown(files: dict[str, str], text: str, state: State) -> None:
    files["/sys/kernel/security/lockdown"] = text
    (found,) = doctor._lockdown()
    assert found.state is state


def test_unprivileged_bpf(files: dict[str, str]) -> None:
    assert list(doctor._unprivileged()) == []
    files["/proc/sys/kernel/unprivileged_bpf_disabled"] = "0"
    (found,) = doctor._unprivileged()
    assert found.mend == "sudo sysctl kernel.unprivileged_bpf_disabled=2"


def test_bpffs(files: dict[str, str]) -> None:
    (found,) = doctor._bpffs()
    assert found.mend == "sudo mount -t bpf bpf /sys/fs/bpf"
    files["/proc/mounts"] = "proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n"
    (found,) = doctor._bpffs()
    assert (found.state, found.text) == (State.OK, "/sys/fs/bpf")


def test_capabilities(files: dict[str, str]) -> None:
    files["/proc/self/status"] = f"CapEff:\t{1 << 39:016x}\n"
    states = {f.subject: f for f in doctor._capabilities()}
    assert states["CAP_BPF"].state is State.OK
    assert states["CAP_NET_ADMIN"].state is State.WARNING
    assert states["CAP_NET_ADMIN"].mend.startswith("sudo setcap cap_net_admin+ep /")
    files["/proc/self/status"] = "CapEff:\t0000000000000000\n"
    assert next(doctor._capabilities()).state is State.MISSING


def test_sys_admin_stands_for_all_but_packet_sockets(files: dict[str, str]) -> None:
    files["/proc/self/status"] = f"CapEff:\t{1 << 21:016x}\n"
    states = {f.subject: f.state for f in doctor._capabilities()}
    assert states == {
        "CAP_BPF": State.OK,
        "CAP_NET_ADMIN": State.OK,
        "CAP_PERFMON": State.OK,
        "CAP_NET_RAW": State.WARNING,
    }


def test_a_user_namespace(files: dict[str, str]) -> None:
    files["/proc/self/uid_map"] = "0 1000 1\n"
    assert [f.subject for f in doctor._capabilities()][-1] == "user namespace"
    files["/proc/self/uid_map"] = "0 0 4294967295\n"
    assert "user namespace" not in [f.subject for f in doctor._capabilities()]


def test_kernel_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "kernel_options", lambda: {"CONFIG_BPF_SYSCALL": "y", "CONFIG_XDP_SOCKETS": "m"}
    )
    found = {f.subject: f for f in doctor._options()}
    assert set(found) == {name for name, _, _ in doctor.OPTIONS}
    assert found["CONFIG_BPF_SYSCALL"].state is found["CONFIG_XDP_SOCKETS"].state is State.OK
    assert found["CONFIG_BPF_JIT"].mend == "a kernel with CONFIG_BPF_JIT=y"
    monkeypatch.setattr(doctor, "kernel_options", dict)
    assert {f.subject: f for f in doctor._options()}["CONFIG_BPF_SYSCALL"].state is State.MISSING
    monkeypatch.setattr(doctor, "kernel_options", lambda: None)
    (unknown,) = doctor._options()
    assert unknown.mend == "sudo modprobe configs"


@pytest.mark.parametrize(("release", "state"), [((4, 19, 0), State.WARNING), ((6, 1, 0), State.OK)])
def test_kernel_release(monkeypatch: pytest.MonkeyPatch, release: tuple[int, int, int], state: State) -> None:
    monkeypatch.setattr(info, "kernel_release", lambda: release)
    (found,) = doctor._kernel()
    assert found.state is state


@pytest.mark.parametrize(("release", "asked"), [((5, 10, 0), True), ((5, 11, 0), False)])
def test_locked_memory_matters_on_old_kernels(
    monkeypatch: pytest.MonkeyPatch, release: tuple[int, int, int], asked: bool
) -> None:
    monkeypatch.setattr(info, "kernel_release", lambda: release)
    assert bool(list(doctor._memlock())) is asked


def test_the_report_as_text_and_as_json() -> None:
    report = Report(
        (Finding("a", State.OK, "fine"), Finding("bcd", State.MISSING, "gone", "do this")), loads=False
    )
    assert report.text().splitlines() == [
        "ok       a    fine",
        "missing  bcd  gone",
        "              → do this",
        "",
        "this process may not load programs",
    ]
    assert json.loads(report.json()) == {
        "loads": False,
        "findings": [
            {"subject": "a", "state": "ok", "text": "fine", "mend": ""},
            {"subject": "bcd", "state": "missing", "text": "gone", "mend": "do this"},
        ],
    }


def test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    report = doctor.examine()
    assert not report.loads
    assert report.findings[-1].subject == "kernel"
    assert "win32" in report.findings[-1].text
