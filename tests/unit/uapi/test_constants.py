"""Constants against the running kernel's headers as Python has them, and against what is known by heart."""

from __future__ import annotations

import socket

import pytest

from pyebpf import enums
from pyebpf.uapi import constants, releases
from pyebpf.uapi.constants import AttachType, BpfCmd, LinkType, MapType, ProgType

KNOWN: list[tuple[int, int]] = [
    (ProgType.SOCKET_FILTER, 1),
    (ProgType.NETFILTER, 32),
    (MapType.HASH, 1),
    (MapType.RINGBUF, 27),
    (MapType.ARENA, 33),
    (AttachType.XDP, 37),
    (AttachType.TCX_INGRESS, 46),
    (AttachType.TRACE_UPROBE_SESSION, 57),
    (LinkType.XDP, 6),
    (LinkType.TCX, 11),
    (BpfCmd.PROG_LOAD, 5),
    (BpfCmd.PROG_TEST_RUN, 10),
    (BpfCmd.PROG_BIND_MAP, 35),
    (constants.XDP_REDIRECT, 4),
    (constants.TC_ACT_UNSPEC, -1),
    (constants.TC_ACT_SHOT, 2),
    (constants.SK_PASS, 1),
    (constants.MapCreateFlag.NO_PREALLOC, 1),
    (constants.BPF_F_MMAPABLE, 0x400),
    (constants.MapUpdateFlag.NOEXIST, 1),
    (constants.BPF_F_LOCK, 4),
    (constants.ProgLoadFlag.SLEEPABLE, 0x10),
    (constants.BPF_F_XDP_HAS_FRAGS, 0x20),
    (constants.BPF_F_CURRENT_CPU, 0xFFFFFFFF),
    (constants.BPF_F_CURRENT_NETNS, -1),
    (constants.BPF_RINGBUF_BUSY_BIT, 1 << 31),
    (constants.BPF_RINGBUF_DISCARD_BIT, 1 << 30),
    (constants.ETH_HLEN, 14),
    (constants.ETH_P_IP, 0x0800),
    (constants.ETH_P_IPV6, 0x86DD),
]


@pytest.mark.parametrize(("constant", "value"), KNOWN)
def test_known_values(constant: int, value: int) -> None:
    assert constant == value


def test_names_are_the_members() -> None:
    assert constants.XDP_PASS is constants.XdpAction.PASS
    assert MapType(19).name == "CGROUP_STORAGE" and len(ProgType) == 33


def test_against_the_socket_module() -> None:
    for name in ("ETH_P_ALL", "ETH_P_ARP", "ETHERTYPE_IP", "ETHERTYPE_IPV6"):
        value = getattr(socket, name, None)
        if value is not None:
            assert getattr(constants, name.replace("ETHERTYPE_", "ETH_P_")) == value


def test_values_are_dense() -> None:
    """A member that went missing in the extraction would leave a hole."""
    for group in (ProgType, MapType, AttachType, LinkType, BpfCmd):
        assert sorted(int(member) for member in group) == list(range(len(group))), group.__name__


def test_names_at_module_level_are_plain() -> None:
    for name, value in vars(constants).items():
        if name.isupper() and name != "TYPE_CHECKING":
            assert isinstance(value, int) and (enums.is_member(value) or type(value) is int), name


def test_every_program_and_map_type_has_a_release() -> None:
    assert set(ProgType) - set(releases.PROG_TYPES) == {ProgType.UNSPEC}
    assert set(MapType) - set(releases.MAP_TYPES) == {MapType.UNSPEC}
    assert releases.PROG_TYPES[ProgType.XDP] == (4, 8) and releases.PROG_TYPES[ProgType.NETFILTER] == (6, 4)
    assert releases.MAP_TYPES[MapType.RINGBUF] == (5, 8) and releases.MAP_TYPES[MapType.ARENA] == (6, 9)
    assert releases.ATTACH_TYPES[AttachType.TCX_INGRESS] == (6, 6)
