"""Where the tests attach to: network namespaces with a veth pair, and mounted file systems of the kernel."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x4000_0000
_Result = TypeVar("_Result")


@contextmanager
def pin_directory() -> Iterator[Path]:
    """A new directory in bpffs, which is mounted if it is not; removed afterwards with all pins."""
    root = Path("/sys/fs/bpf")
    if not os.path.ismount(root):
        subprocess.run(["mount", "-t", "bpf", "bpf", str(root)], check=True)
    path = root / f"test_{uuid.uuid4().hex[:8]}"
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory outside bpffs."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def _setns(path: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(fd)


@dataclass(frozen=True)
class Veth:
    """Two namespaces joined by a veth pair: ``veth0`` 10.99.0.1 in ``near``, ``veth1`` 10.99.0.2 in
    ``far``."""

    near: str
    far: str

    def run(self, namespace: str, function: Callable[[], _Result]) -> _Result:
        """Call ``function`` in a thread that is inside ``namespace``; its result or its exception."""
        outcome: list[_Result] = []
        failure: list[BaseException] = []

        def body() -> None:
            try:
                _setns(f"/run/netns/{namespace}")
                outcome.append(function())
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def in_near(self, function: Callable[[], _Result]) -> _Result:
        """``run`` in the near namespace."""
        return self.run(self.near, function)

    def udp(self, namespace: str, address: str = "", port: int = 0) -> socket.socket:
        """A UDP socket of ``namespace``, bound if ``address`` is given; receiving times out after 0.3
        seconds."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.settimeout(0.3)
            if address:
                made.bind((address, port))
            return made

        return self.run(namespace, make)

    def gets_through(self) -> bool:
        """Whether a UDP packet from far to near arrives."""
        with self.udp(self.near, "10.99.0.1", 7777) as receiver, self.udp(self.far) as sender:
            sender.sendto(b"ping", ("10.99.0.1", 7777))
            try:
                return receiver.recv(100) == b"ping"
            except TimeoutError:
                return False

    def leaves(self) -> bool:
        """Whether a UDP packet from near to far arrives."""
        with self.udp(self.far, "10.99.0.2", 7778) as receiver, self.udp(self.near) as sender:
            sender.sendto(b"ping", ("10.99.0.2", 7778))
            try:
                return receiver.recv(100) == b"ping"
            except TimeoutError:
                return False


@contextmanager
def veth_pair() -> Iterator[Veth]:
    """Two new namespaces with a veth pair that is up, neighbours known; both removed afterwards."""
    tag = uuid.uuid4().hex[:6]
    near, far = f"near_{tag}", f"far_{tag}"
    script = f"""
        ip netns add {near}
        ip netns add {far}
        ip -n {near} link add veth0 address 02:00:00:00:00:01 type veth \\
            peer name veth1 address 02:00:00:00:00:02 netns {far}
        ip -n {near} addr add 10.99.0.1/24 dev veth0
        ip -n {far} addr add 10.99.0.2/24 dev veth1
        ip -n {near} neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev veth0
        ip -n {far} neigh add 10.99.0.1 lladdr 02:00:00:00:00:01 dev veth1
        ip -n {near} link set veth0 up
        ip -n {far} link set veth1 up
    """
    try:
        subprocess.run(["sh", "-ec", script], check=True)
        yield Veth(near, far)
    finally:
        for name in (near, far):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def open_fds() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))
