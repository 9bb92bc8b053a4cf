"""Import, check, build and the built-in machine where nothing of Linux is: modules, /proc, /sys, system calls.

Another Python process takes them away from itself before it imports pyebpf.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.samples.expected import EXPECTED, SAMPLES

ROOT = Path(__file__).resolve().parents[2]

ELSEWHERE = """
import builtins, ctypes, io, os, pathlib, platform, select, socket, sys
import importlib.abc, sysconfig

sysconfig.get_paths()  # reads a file named after the platform: Python's own, not of interest here

sys.platform = "darwin"
platform.system = lambda: "Darwin"
platform.release = lambda: "24.1.0"
platform.machine = lambda: "arm64"
os.uname = lambda: (_ for _ in ()).throw(AssertionError("os.uname"))
for module, names in ((socket, ("AF_PACKET", "AF_NETLINK", "PACKET_OUTGOING")), (select, ("epoll",)), (os, ("setns",))):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource", "grp", "pwd", "termios", "spwd", "syslog"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

for name in ("fcntl", "resource", "grp", "pwd", "termios"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())

def no_library(*args, **keywords):
    raise OSError("no C library here")

ctypes.CDLL = no_library
really_open = io.open

def no_kernel_files(file, *args, **keywords):
    if str(file).startswith(("/proc", "/sys", "/boot", "/etc")):
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return really_open(file, *args, **keywords)

builtins.open = io.open = no_kernel_files
"""

PROGRAM = """
import pyebpf as bpf
from pyebpf import be16, u8, u32, u64

bpf.license("GPL")


@bpf.struct
class Event:
    length: u32
    protocol: u8


packets = bpf.ArrayMap[u32, u64](max_entries=256)
sizes = bpf.HashMap[u8, u64](max_entries=8, default=0)
events = bpf.RingBuf(4096)
seen = bpf.Global[u64](0)
step = bpf.Const[u32](2)


@bpf.xdp
def count(ctx: bpf.Xdp) -> int:
    protocol = ctx.read(u8, 23)
    packets[protocol] += step.value
    sizes[protocol] += len(ctx)
    seen.value += 1
    with events.reserve(Event) as event:
        if event is not None:
            event.length = len(ctx)
            event.protocol = protocol
    return bpf.XDP_DROP if protocol == 17 else bpf.XDP_PASS


@bpf.sk_skb_verdict
def refuse(skb: bpf.SkBuff) -> int:
    return bpf.SK_DROP
"""


def _elsewhere(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "user.py").write_text(PROGRAM)
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
    )


def test_the_disguise_works(tmp_path: Path) -> None:
    for code in (
        "import fcntl",
        "import resource",
        "open('/proc/self/status')",
        "import ctypes; ctypes.CDLL(None)",
    ):
        assert _elsewhere(tmp_path, code).returncode != 0


@pytest.mark.parametrize("command", [["check"], ["build", "-o", "user.o"], ["dump"], ["explain", "E0311"]])
def test_commands(tmp_path: Path, command: list[str]) -> None:
    words = command if command[0] == "explain" else [command[0], "user.py", *command[1:]]
    done = _elsewhere(tmp_path, f"from pyebpf.cli import main; raise SystemExit(main({words!r}))")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_object_is_the_one_that_linux_builds(tmp_path: Path) -> None:
    done = _elsewhere(tmp_path, "from pyebpf.cli import main; main(['build', 'user.py', '-o', 'there.o'])")
    assert done.returncode == 0, done.stderr
    subprocess.run(
        [sys.executable, "-m", "pyebpf.cli", "build", "user.py", "-o", "here.o"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (tmp_path / "there.o").read_bytes() == (tmp_path / "here.o").read_bytes()


def test_run_in_the_machine_with_maps_variables_and_events(tmp_path: Path) -> None:
    done = _elsewhere(
        tmp_path,
        """
        import warnings
        from user import *
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            packets[17] = 40
            seen.value = 7
            result = count.run(bytes(23) + bytes([17]) + bytes(40))
            again = count.run(bytes(23) + bytes([6]) + bytes(40))
        print(result.verdict, again.verdict, result.machine, packets[17], packets[6], seen.value)
        print(dict(sizes.items()), [(e.length, e.protocol) for e in events.poll(Event)])
        print(len(told), told[0].category.__name__, told[0].message)
        """,
    )
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == "1 2 True 42 2 9"
    assert second == "{17: 64, 6: 64} [(64, 17), (64, 6)]"
    assert third == (
        "1 MachineWarning programs run in the built-in machine, not in the kernel: "
        "bpf(2) exists on Linux only, this is darwin"
    )


def test_loading_says_that_this_is_not_linux(tmp_path: Path) -> None:
    done = _elsewhere(tmp_path, "from user import count\ncount.load()")
    assert done.stderr.splitlines()[-1] == (
        "pyebpf.runtime.errors.NotSupported: cannot load the program 'count': ENOSYS (Function not implemented): "
        "bpf(2) exists on Linux only, this is darwin; count.run(data) runs it in the built-in machine"
    )


def test_a_machine_that_is_asked_for(tmp_path: Path) -> None:
    code = "from user import *\nprint(refuse.run(b'x' * 20, machine=True).verdict)"
    done = _elsewhere(tmp_path, code)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_samples(tmp_path: Path, name: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(SAMPLES)!r})\nfrom {name} import main\nmain()"
    done = _elsewhere(tmp_path, code)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(EXPECTED[name], done.stdout), done.stdout


def test_doctor(tmp_path: Path) -> None:
    done = _elsewhere(tmp_path, "from pyebpf.cli import main; raise SystemExit(main(['doctor']))")
    assert done.returncode == 1
    assert "built-in machine" in done.stdout
    assert "this is darwin; eBPF programs run in Linux kernels" in done.stdout
