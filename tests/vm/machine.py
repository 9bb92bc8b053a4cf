"""A virtual machine for one command: a kernel of ``tests.vm.kernels`` under QEMU's software emulation, by virtme-ng.

The guest's root is the host's file system, read-only; what it writes is lost, but for what it writes in the exchange
folder. What it runs is on a disk of its own (``tests.vm.stage``).
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.vm.kernels import Kernel
from tests.vm.stage import LAYOUT, PYTHON, environment, write_stage

MEMORY = "2G"
CPUS = 2
MOUNTED = "/run/pyebpf"
"""In the guest: where the disk is."""

STAGE = "stage.img"
SCRIPT = "guest.sh"
BOOTING = 180.0
"""Seconds that booting and shutting down may take."""

CONSOLE = 6000
"""Of what the guest printed so many characters, the last ones, go into messages."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a guest ended. ``status``: that of its command, ``None`` if time ran out."""

    status: int | None
    console: str
    seconds: float

    def __str__(self) -> str:
        how = "time ran out" if self.status is None else f"exit status {self.status}"
        return (
            f"{how} after {self.seconds:.0f} s; the last that the guest printed:\n{self.console[-CONSOLE:]}"
        )


def vng() -> str | None:
    """virtme-ng's command: beside this Python, or wherever it is."""
    beside = Path(sys.executable).parent / "vng"
    return str(beside) if beside.is_file() else shutil.which("vng")


def obstacle(kernel: Kernel) -> str | None:
    """Why this machine cannot boot it, or ``None`` if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "virtual machines need Linux on x86-64 here"
    if os.geteuid() != 0:
        return "virtual machines need root: the guest's root reads the host's files"
    if vng() is None:
        return "virtme-ng is missing (pip install virtme-ng)"
    for command, package in (("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"),
                             ("depmod", "kmod"), ("udevadm", "udev"), ("mke2fs", "e2fsprogs")):  # fmt: skip
        if shutil.which(command, path=_path()) is None:
            return f"{command} is missing (Debian's package {package})"
    if kernel.image is None:
        return f"no kernel in {kernel.folder} (python -m tests.vm.kernels gets it)"
    return None


def _path() -> str:
    return f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def run_in_guest(
    kernel: Kernel,
    command: list[str],
    exchange: Path,
    *,
    seconds: float,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Ended:
    """Boot, run this Python with the arguments ``command`` in a copy of the checkout, and shut down.

    ``exchange`` is a folder that host and guest both see under its own name and can both write to. The disk is made
    there if it is not there yet. ``variables``: more for its environment. After ``seconds`` the command is ended, and
    the machine is switched off if that does not help.
    """
    stage = exchange / STAGE
    if not stage.exists():
        write_stage(stage)
    script = exchange / f"{kernel.series}-{SCRIPT}"
    script.write_text(_script(command, exchange, variables, seconds))
    tool = vng()
    assert tool is not None and kernel.image is not None, obstacle(kernel)
    words = [tool, "--run", str(kernel.image), "--disable-kvm", "--force-9p", "--user", "root"]
    words += ["--cpus", str(CPUS), "--memory", MEMORY, "--rwdir", str(exchange)]
    drive = f"if=none,id=stage,format=raw,readonly=on,file={stage}"
    words += [f"--qemu-opts=-drive {drive} -device virtio-blk-pci,drive=stage"]
    if kernel.arguments:
        words += ["--append", kernel.arguments]
    words += ["--", f"sh {shlex.quote(str(script))}"]
    return _run(words, exchange, seconds + BOOTING)


def _script(command: list[str], exchange: Path, more: Mapping[str, str], seconds: float) -> str:
    """What the guest runs: file systems that Debian mounts too, the disk, then Python."""
    variables = {
        **environment(MOUNTED),
        "HOME": "/tmp",
        "PYEBPF_GUEST": str(exchange),
        **more,
    }
    if os.environ.get("CI"):
        variables["CI"] = os.environ["CI"]
    lines = [
        "set -e",
        *(f"mountpoint -q {at} || mount -t {what} {what} {at}" for what, at in FILE_SYSTEMS.items()),
        "ip link set lo up",
        f"mkdir {MOUNTED}",
        "modprobe virtio_blk",
        f"mount -t ext4 -o ro /dev/vda {MOUNTED}",
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        f"cd {MOUNTED}/{LAYOUT['checkout']}",
        # So that a guest whose host process was killed does not stay.
        f"exec timeout --foreground -k 10 {seconds:.0f} {MOUNTED}/{PYTHON} {shlex.join(command)}",
    ]
    return "\n".join(lines) + "\n"


FILE_SYSTEMS = {
    "bpf": "/sys/fs/bpf",
    "tracefs": "/sys/kernel/tracing",
    "securityfs": "/sys/kernel/security",
    "cgroup2": "/sys/fs/cgroup",
}


def _run(words: list[str], exchange: Path, seconds: float) -> Ended:
    start = time.monotonic()
    environment = {**os.environ, "PATH": _path()}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        cwd=exchange,
        start_new_session=True,
    ) as process:
        status: int | None
        try:
            console, _ = process.communicate(timeout=seconds)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with QEMU, which is of the same session
            console, _ = process.communicate()
            status = None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Ended(status, console, time.monotonic() - start)
