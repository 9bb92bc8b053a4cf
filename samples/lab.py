"""Support for the samples: whether this process may do things for real, and two network namespaces to do them in.

left: veth0, 10.99.0.1, fd99::1   <──>   right: veth1, 10.99.0.2, fd99::2
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
from collections.abc import Generator

import pyebpf as bpf

CLONE_NEWNET = 0x40000000


def may_load(*programs: bpf.Program) -> bool:
    """Whether the kernel takes the programs from this process; where not, samples run them in the built-in machine."""
    try:
        for program in programs:
            program.load()
    except bpf.BpfError:
        return False
    return True


def may_sniff() -> bool:
    """Whether this process may open packet sockets."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except (AttributeError, PermissionError):  # not Linux, or no CAP_NET_RAW
        return False
    return True


def may_make_namespaces() -> bool:
    """Whether this process may enter network namespaces."""
    try:
        with open("/proc/self/ns/net", "rb") as home:
            _enter(home.fileno())
    except OSError:
        return False
    return True


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _enter(fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Lab:
    """The pair of namespaces; a context manager that takes them away again."""

    def __init__(self) -> None:
        self.names = {side: f"pyebpf-{side}-{os.getpid()}" for side in ("left", "right")}

    def __enter__(self) -> Lab:
        left, right = self.names["left"], self.names["right"]
        try:
            for name in self.names.values():
                _ip("netns", "add", name)
            _ip(
                "link", "add", "veth0", "netns", left, "type", "veth", "peer", "name", "veth1", "netns", right
            )
            for number, (name, device) in enumerate(((left, "veth0"), (right, "veth1")), start=1):
                _ip("-n", name, "addr", "add", f"10.99.0.{number}/24", "dev", device)
                _ip("-n", name, "addr", "add", f"fd99::{number}/64", "dev", device, "nodad")
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", device, "up")
            self._wait_until_reachable()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def _wait_until_reachable(self) -> None:
        """IPv6 needs a moment to find its neighbours: wait until both addresses answer (a closed port refuses)."""
        with self.inside("left"):
            for address in ("10.99.0.2", "fd99::2"):
                for _ in range(50):
                    with socket.socket(_family(address)) as probe:
                        probe.settimeout(0.1)
                        if probe.connect_ex((address, 9)) == errno.ECONNREFUSED:
                            break

    def add_address(self, side: str, address: str) -> None:
        """Give the device of one side a further address, such as ``10.99.0.77/24``."""
        device = "veth0" if side == "left" else "veth1"
        _ip("-n", self.names[side], "addr", "add", address, "dev", device)

    @contextlib.contextmanager
    def inside(self, side: str) -> Generator[None]:
        """Make sockets and attach programs in one of the namespaces while the block runs (this thread only)."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.names[side]}", os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(home)
            os.close(home)
            os.close(there)
