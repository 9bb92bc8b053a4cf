"""The SEC table: what the name of an ELF section says about the programs in it.

Names and meanings are those of libbpf 1.8, restricted to what Linux 6.18 knows. A section name is exactly a
name of the table, or, for rows that take one, the name, a slash and a target: ``tp/sched/sched_switch``.
A question mark in front (``?xdp``) means that the program is not loaded unless it is asked for.
"""

from __future__ import annotations

from pyebpf.hints import TYPE_CHECKING
from pyebpf.records import dataclass
from pyebpf.uapi.constants import AttachType as A
from pyebpf.uapi.constants import ProgLoadFlag
from pyebpf.uapi.constants import ProgType as P

if TYPE_CHECKING:
    from typing import Final


_NO_FLAGS = ProgLoadFlag(0)


@dataclass(frozen=True, slots=True)
class SectionKind:
    """One row: ``attach_type`` is the expected attach type, ``flags`` go into ``prog_flags``.

    ``target``: a slash and a target may follow the name. ``needs_btf_id``: the target is a function, typedef
    or type of the kernel whose BTF id is needed to load. ``attach_type_optional``: kernels that do not know
    the expected attach type take the program without it.
    """

    name: str
    prog_type: P
    attach_type: A | None = None
    flags: ProgLoadFlag = _NO_FLAGS
    target: bool = False
    needs_btf_id: bool = False
    attach_type_optional: bool = False


_SLEEPABLE = ProgLoadFlag.SLEEPABLE
_FRAGS = ProgLoadFlag.XDP_HAS_FRAGS


def _plain(prog_type: P, attach_type: A | None, *names: str, optional: bool = False) -> list[SectionKind]:
    return [SectionKind(n, prog_type, attach_type, attach_type_optional=optional) for n in names]


def _targeted(
    prog_type: P, attach_type: A | None, *names: str, sleepable: bool = False, btf: bool = False
) -> list[SectionKind]:
    """Rows with a target, and their sleepable forms if there are any."""
    rows = [SectionKind(n, prog_type, attach_type, target=True, needs_btf_id=btf) for n in names]
    if sleepable:
        rows += [SectionKind(f"{n}.s", prog_type, attach_type, _SLEEPABLE, True, btf) for n in names]
    return rows


SECTIONS: Final[tuple[SectionKind, ...]] = (
    *_plain(P.SOCKET_FILTER, None, "socket"),
    *_plain(P.SK_REUSEPORT, A.SK_REUSEPORT_SELECT_OR_MIGRATE, "sk_reuseport/migrate"),
    *_plain(P.SK_REUSEPORT, A.SK_REUSEPORT_SELECT, "sk_reuseport"),
    *_targeted(P.KPROBE, None, "kprobe", "kretprobe", "ksyscall", "kretsyscall"),
    *_targeted(P.KPROBE, None, "uprobe", "uretprobe", "usdt", sleepable=True),
    *_targeted(P.KPROBE, A.TRACE_KPROBE_MULTI, "kprobe.multi", "kretprobe.multi"),
    *_targeted(P.KPROBE, A.TRACE_KPROBE_SESSION, "kprobe.session"),
    *_targeted(P.KPROBE, A.TRACE_UPROBE_MULTI, "uprobe.multi", "uretprobe.multi", sleepable=True),
    *_targeted(P.KPROBE, A.TRACE_UPROBE_SESSION, "uprobe.session", sleepable=True),
    *_plain(P.SCHED_CLS, A.TCX_INGRESS, "tc/ingress", "tcx/ingress"),
    *_plain(P.SCHED_CLS, A.TCX_EGRESS, "tc/egress", "tcx/egress"),
    *_plain(P.SCHED_CLS, None, "tc", "classifier"),
    *_plain(P.SCHED_ACT, None, "action"),
    *_plain(P.SCHED_CLS, A.NETKIT_PRIMARY, "netkit/primary"),
    *_plain(P.SCHED_CLS, A.NETKIT_PEER, "netkit/peer"),
    *_targeted(P.TRACEPOINT, None, "tracepoint", "tp", sleepable=True),
    *_targeted(P.RAW_TRACEPOINT, None, "raw_tracepoint", "raw_tp", sleepable=True),
    *_targeted(P.RAW_TRACEPOINT_WRITABLE, None, "raw_tracepoint.w", "raw_tp.w"),
    *_targeted(P.TRACING, A.TRACE_RAW_TP, "tp_btf", sleepable=True, btf=True),
    *_targeted(P.TRACING, A.TRACE_FENTRY, "fentry", sleepable=True, btf=True),
    *_targeted(P.TRACING, A.TRACE_FEXIT, "fexit", sleepable=True, btf=True),
    *_targeted(P.TRACING, A.MODIFY_RETURN, "fmod_ret", sleepable=True, btf=True),
    *_targeted(P.EXT, None, "freplace", btf=True),
    *_targeted(P.LSM, A.LSM_MAC, "lsm", sleepable=True, btf=True),
    *_targeted(P.LSM, A.LSM_CGROUP, "lsm_cgroup", btf=True),
    *_targeted(P.TRACING, A.TRACE_ITER, "iter", sleepable=True, btf=True),
    SectionKind("syscall", P.SYSCALL, flags=_SLEEPABLE),
    *_plain(P.XDP, A.XDP, "xdp", optional=True),
    *_plain(P.XDP, A.XDP_DEVMAP, "xdp/devmap"),
    *_plain(P.XDP, A.XDP_CPUMAP, "xdp/cpumap"),
    SectionKind("xdp.frags", P.XDP, A.XDP, _FRAGS),
    SectionKind("xdp.frags/devmap", P.XDP, A.XDP_DEVMAP, _FRAGS),
    SectionKind("xdp.frags/cpumap", P.XDP, A.XDP_CPUMAP, _FRAGS),
    *_plain(P.PERF_EVENT, None, "perf_event"),
    *_plain(P.LWT_IN, None, "lwt_in"),
    *_plain(P.LWT_OUT, None, "lwt_out"),
    *_plain(P.LWT_XMIT, None, "lwt_xmit"),
    *_plain(P.LWT_SEG6LOCAL, None, "lwt_seg6local"),
    *_plain(P.SOCK_OPS, A.CGROUP_SOCK_OPS, "sockops", optional=True),
    *_plain(P.SK_SKB, A.SK_SKB_STREAM_PARSER, "sk_skb/stream_parser", optional=True),
    *_plain(P.SK_SKB, A.SK_SKB_STREAM_VERDICT, "sk_skb/stream_verdict", optional=True),
    *_plain(P.SK_SKB, A.SK_SKB_VERDICT, "sk_skb/verdict", optional=True),
    *_plain(P.SK_SKB, None, "sk_skb"),
    *_plain(P.SK_MSG, A.SK_MSG_VERDICT, "sk_msg", optional=True),
    *_plain(P.LIRC_MODE2, A.LIRC_MODE2, "lirc_mode2", optional=True),
    *_plain(P.FLOW_DISSECTOR, A.FLOW_DISSECTOR, "flow_dissector", optional=True),
    *_plain(P.CGROUP_SKB, A.CGROUP_INET_INGRESS, "cgroup_skb/ingress", optional=True),
    *_plain(P.CGROUP_SKB, A.CGROUP_INET_EGRESS, "cgroup_skb/egress", optional=True),
    *_plain(P.CGROUP_SKB, None, "cgroup/skb"),
    *_plain(P.CGROUP_SOCK, A.CGROUP_INET_SOCK_CREATE, "cgroup/sock_create"),
    *_plain(P.CGROUP_SOCK, A.CGROUP_INET_SOCK_CREATE, "cgroup/sock", optional=True),
    *_plain(P.CGROUP_SOCK, A.CGROUP_INET_SOCK_RELEASE, "cgroup/sock_release"),
    *_plain(P.CGROUP_SOCK, A.CGROUP_INET4_POST_BIND, "cgroup/post_bind4"),
    *_plain(P.CGROUP_SOCK, A.CGROUP_INET6_POST_BIND, "cgroup/post_bind6"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_BIND, "cgroup/bind4"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_BIND, "cgroup/bind6"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_CONNECT, "cgroup/connect4"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_CONNECT, "cgroup/connect6"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_CONNECT, "cgroup/connect_unix"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_UDP4_SENDMSG, "cgroup/sendmsg4"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_UDP6_SENDMSG, "cgroup/sendmsg6"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_SENDMSG, "cgroup/sendmsg_unix"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_UDP4_RECVMSG, "cgroup/recvmsg4"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_UDP6_RECVMSG, "cgroup/recvmsg6"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_RECVMSG, "cgroup/recvmsg_unix"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_GETPEERNAME, "cgroup/getpeername4"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_GETPEERNAME, "cgroup/getpeername6"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_GETPEERNAME, "cgroup/getpeername_unix"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_GETSOCKNAME, "cgroup/getsockname4"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_GETSOCKNAME, "cgroup/getsockname6"),
    *_plain(P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_GETSOCKNAME, "cgroup/getsockname_unix"),
    *_plain(P.CGROUP_SYSCTL, A.CGROUP_SYSCTL, "cgroup/sysctl"),
    *_plain(P.CGROUP_SOCKOPT, A.CGROUP_GETSOCKOPT, "cgroup/getsockopt"),
    *_plain(P.CGROUP_SOCKOPT, A.CGROUP_SETSOCKOPT, "cgroup/setsockopt"),
    *_plain(P.CGROUP_DEVICE, A.CGROUP_DEVICE, "cgroup/dev", optional=True),
    *_targeted(P.STRUCT_OPS, None, "struct_ops", sleepable=True),
    *_plain(P.SK_LOOKUP, A.SK_LOOKUP, "sk_lookup"),
    *_plain(P.NETFILTER, A.NETFILTER, "netfilter"),
)

_BY_NAME: Final = {row.name: row for row in SECTIONS}


def section_kind(section: str) -> SectionKind | None:
    """The row for the section name ``section`` (without ``?``), or ``None`` if it is none of the table."""
    row = _BY_NAME.get(section)
    if row is None and "/" in section:
        row = _BY_NAME.get(section.split("/", 1)[0])
        if row is not None and not row.target:
            return None
    return row


def section_target(section: str) -> str:
    """What follows the name of the row: ``sched/sched_switch`` of ``tp/sched/sched_switch``; may be empty."""
    row = section_kind(section)
    return section[len(row.name) + 1 :] if row is not None else ""
