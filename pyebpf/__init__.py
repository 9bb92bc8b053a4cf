"""pyebpf: eBPF programs as plain Python functions.

    import pyebpf as bpf
    from pyebpf import u8, u32, u64

    packets = bpf.ArrayMap[u32, u64](max_entries=256)

    @bpf.socket_filter(on_error=bpf.KEEP)
    def count_by_protocol(skb: bpf.SkBuff) -> int:
        packets[skb.load(u8, bpf.ETH_HLEN + 9)] += 1
        return len(skb)

This module is the namespace that programs use: types, maps, decorators, the kernel's constants and all of its
helpers (``bpf.ktime_get_ns()``; C's names without ``bpf_``).
"""

from __future__ import annotations

import sys

from pyebpf import collecting, tracebacks
from pyebpf.hints import TYPE_CHECKING

with collecting.paused(lasting=True):
    from pyebpf.contexts import PerfEvent, PtRegs, RawTracepoint, SkBuff, Tracepoint, Tracing, Xdp
    from pyebpf.decorators import (
        action,
        fentry,
        fexit,
        fmod_ret,
        iter,
        kprobe,
        kprobe_multi,
        kprobe_session,
        kretprobe,
        kretprobe_multi,
        kretsyscall,
        ksyscall,
        lsm,
        perf_event,
        raw_tracepoint,
        raw_tracepoint_writable,
        sk_skb_stream_parser,
        sk_skb_stream_verdict,
        sk_skb_verdict,
        socket_filter,
        tc,
        tc_egress,
        tc_ingress,
        tp_btf,
        tracepoint,
        uprobe,
        uprobe_multi,
        uretprobe,
        uretprobe_multi,
        usdt,
        xdp,
    )
    from pyebpf.diagnostics import CompileError, Diagnostic, PyebpfError
    from pyebpf.lang import (
        Const,
        Global,
        array,
        be16,
        be32,
        be64,
        chars,
        checked,
        copy,
        function,
        global_function,
        htonl,
        htonll,
        htons,
        i8,
        i16,
        i32,
        i64,
        inline,
        le16,
        le32,
        le64,
        license,
        log2,
        log2l,
        loop,
        noinline,
        ntohl,
        ntohll,
        ntohs,
        sizeof,
        snprintf,
        struct,
        u8,
        u16,
        u32,
        u64,
        union,
    )
    from pyebpf.maps import (
        ArrayMap,
        HashMap,
        LpmTrie,
        LruHashMap,
        PerCpuArray,
        PerCpuHash,
        ProgArray,
        Queue,
        SockMap,
        Stack,
        StackTrace,
    )
    from pyebpf.program import Program, SkSkbProgram, SocketFilter, TcProgram, XdpProgram
    from pyebpf.streams import PerfEventArray, RingBuf, poll
    from pyebpf.structs import Struct

if TYPE_CHECKING:
    from pyebpf.foreign import load as load
    from pyebpf.foreign import raw_socket as raw_socket
    from pyebpf.histograms import plot_hist as plot_hist
    from pyebpf.histograms import print_hist as print_hist
    from pyebpf.histograms import print_linear_hist as print_linear_hist
    from pyebpf.looking import User as User
    from pyebpf.looking import cast as cast
    from pyebpf.looking import container_of as container_of
    from pyebpf.looking import enum_exists as enum_exists
    from pyebpf.looking import enum_value as enum_value
    from pyebpf.looking import field_exists as field_exists
    from pyebpf.looking import field_offset as field_offset
    from pyebpf.looking import field_size as field_size
    from pyebpf.looking import kconfig as kconfig
    from pyebpf.looking import kernel_struct as kernel_struct
    from pyebpf.looking import kernel_version as kernel_version
    from pyebpf.looking import read_kernel as read_kernel
    from pyebpf.looking import read_user as read_user
    from pyebpf.looking import str_from_kernel as str_from_kernel
    from pyebpf.looking import str_from_user as str_from_user
    from pyebpf.looking import type_exists as type_exists
    from pyebpf.looking import type_size as type_size
    from pyebpf.runtime.errors import BpfError as BpfError
    from pyebpf.runtime.errors import LostEvents as LostEvents
    from pyebpf.runtime.errors import PermissionDenied as PermissionDenied
    from pyebpf.runtime.errors import VerifierError as VerifierError
    from pyebpf.runtime.info import statistics as statistics
    from pyebpf.runtime.pinned import open_pinned as open_pinned
    from pyebpf.runtime.symbols import symbolize_kernel as symbolize_kernel
    from pyebpf.runtime.symbols import symbolize_user as symbolize_user
    from pyebpf.runtime.trace import trace_print as trace_print
    from pyebpf.runtime.vm.environment import Environment as Environment
    from pyebpf.session import InMachine as InMachine
    from pyebpf.session import MachineWarning as MachineWarning
    from pyebpf.session import machine as machine
    from pyebpf.uapi.constants import *  # noqa: F403
    from pyebpf.uapi.helper_functions import *  # noqa: F403
    from pyebpf.uapi.programs import DROP as DROP
    from pyebpf.uapi.programs import KEEP as KEEP

__all__ = [
    "ArrayMap",
    "CompileError",
    "Const",
    "Diagnostic",
    "Global",
    "HashMap",
    "LpmTrie",
    "LruHashMap",
    "PerCpuArray",
    "PerCpuHash",
    "PerfEvent",
    "PerfEventArray",
    "ProgArray",
    "Program",
    "PtRegs",
    "PyebpfError",
    "Queue",
    "RawTracepoint",
    "RingBuf",
    "SkBuff",
    "SkSkbProgram",
    "SockMap",
    "SocketFilter",
    "Stack",
    "StackTrace",
    "Struct",
    "TcProgram",
    "Tracepoint",
    "Tracing",
    "Xdp",
    "XdpProgram",
    "action",
    "array",
    "be16",
    "be32",
    "be64",
    "chars",
    "checked",
    "copy",
    "fentry",
    "fexit",
    "fmod_ret",
    "function",
    "global_function",
    "htonl",
    "htonll",
    "htons",
    "i16",
    "i32",
    "i64",
    "i8",
    "inline",
    "iter",
    "kprobe",
    "kprobe_multi",
    "kprobe_session",
    "kretprobe",
    "kretprobe_multi",
    "kretsyscall",
    "ksyscall",
    "le16",
    "le32",
    "le64",
    "license",
    "log2",
    "log2l",
    "loop",
    "lsm",
    "noinline",
    "ntohl",
    "ntohll",
    "ntohs",
    "perf_event",
    "raw_tracepoint",
    "raw_tracepoint_writable",
    "poll",
    "sizeof",
    "sk_skb_stream_parser",
    "sk_skb_stream_verdict",
    "sk_skb_verdict",
    "snprintf",
    "socket_filter",
    "struct",
    "tc",
    "tc_egress",
    "tc_ingress",
    "tp_btf",
    "tracepoint",
    "u16",
    "u32",
    "u64",
    "u8",
    "union",
    "uprobe",
    "uprobe_multi",
    "uretprobe",
    "uretprobe_multi",
    "usdt",
    "xdp",
]


tracebacks.install()


def _displays() -> None:
    from pyebpf.notebook import install

    install()


if "IPython" in sys.modules:
    _displays()


def __getattr__(name: str) -> object:
    from pyebpf.names import find

    value = find(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from pyebpf.names import all_names

    return sorted({*globals(), *all_names()})
