"""Constants against the running kernel's headers as Python has them, and against what is known by heart."""

from __future__ import annotations

import enum
import socket

from pyebpf.uapi import constants, releases
from pyebpf.uapi.constants import AttachType, BpfCmd, LinkType, MapType, ProgType


def test_known_values() -> None:
    assert ProgType.SOCKET_FILTER == 1 and ProgType.NETFILTER == 32 and len(ProgType) == 33
    assert MapType.HASH == 1 and MapType.RINGBUF == 27 and MapType.ARENA == 33
    assert AttachType.XDP == 37 and AttachType.TCX_INGRESS == 46 and AttachType.TRACE_UPROBE_SESSION == 57
    assert LinkType.XDP == 6 and LinkType.TCX == 11
    assert BpfCmd.PROG_LOAD == 5 and BpfCmd.PROG_TEST_RUN == 10 and BpfCmd.PROG_BIND_MAP == 35
    assert constants.XDP_PASS is constants.XdpAction.PASS and constants.XDP_REDIRECT == 4
    assert constants.TC_ACT_UNSPEC == -1 and constants.TC_ACT_SHOT == 2 and constants.SK_PASS == 1
    assert constants.BPF_F_CURRENT_CPU == 0xFFFFFFFF and constants.BPF_F_CURRENT_NETNS == -1
    assert constants.BPF_RINGBUF_BUSY_BIT == 1 << 31 and constants.BPF_RINGBUF_DISCARD_BIT == 1 << 30
    assert constants.ETH_HLEN == 14 and constants.ETH_P_IP == 0x0800 and constants.ETH_P_IPV6 == 0x86DD
    assert constants.MapCreateFlag.NO_PREALLOC == 1 and constants.MapCreateFlag.MMAPABLE == 0x400
    assert constants.MapUpdateFlag.NOEXIST == 1 and constants.BPF_F_LOCK == 4
    assert constants.ProgLoadFlag.SLEEPABLE == 0x10 and constants.ProgLoadFlag.XDP_HAS_FRAGS == 0x20


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
        if name.isupper():
            assert isinstance(value, int) and (isinstance(value, enum.Enum) or type(value) is int), name


def test_every_program_and_map_type_has_a_release() -> None:
    assert set(ProgType) - set(releases.PROG_TYPES) == {ProgType.UNSPEC}
    assert set(MapType) - set(releases.MAP_TYPES) == {MapType.UNSPEC}
    assert releases.PROG_TYPES[ProgType.XDP] == (4, 8) and releases.PROG_TYPES[ProgType.NETFILTER] == (6, 4)
    assert releases.MAP_TYPES[MapType.RINGBUF] == (5, 8) and releases.MAP_TYPES[MapType.ARENA] == (6, 9)
    assert releases.ATTACH_TYPES[AttachType.TCX_INGRESS] == (6, 6)
