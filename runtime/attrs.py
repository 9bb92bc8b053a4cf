"""``union bpf_attr``, one ctypes Structure for each command, with the kernel's field names (linux/bpf.h).

Kernels differ in how much of the union they know: a shorter one counts as zero-filled, a longer one is
accepted if the rest is zero. So ``syscall.bpf`` passes the shortest prefix that holds everything set;
``KEEP`` names the last field that the kernel writes, which must be inside.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int32, c_uint8, c_uint32, c_uint64

from pyebpf.hints import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from typing import Final


NAME_BYTES: Final = 16


def address(data: bytes) -> int:
    """Where ``data`` is in memory, with a zero byte behind it: for what the kernel only reads while the caller keeps
    ``data``. A buffer of ctypes would be a copy, and a new class for each length."""
    return ctypes.c_void_p.from_buffer(ctypes.c_char_p(data)).value or 0


class Attr(ctypes.Structure):
    """The base of all. ``KEEP``: bytes that are always passed, because the kernel writes there."""

    KEEP: ClassVar[int] = 0


class MapCreate(Attr):
    """``BPF_MAP_CREATE``."""

    _fields_ = [
        ("map_type", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("inner_map_fd", c_uint32),
        ("numa_node", c_uint32),
        ("map_name", c_char * NAME_BYTES),
        ("map_ifindex", c_uint32),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("map_extra", c_uint64),
        ("value_type_btf_obj_fd", c_int32),
        ("map_token_fd", c_int32),
        ("excl_prog_hash", c_uint64),
        ("excl_prog_hash_size", c_uint32),
    ]


class MapElem(Attr):
    """``BPF_MAP_LOOKUP_ELEM``, ``UPDATE``, ``DELETE``, ``GET_NEXT_KEY``, ``LOOKUP_AND_DELETE``, ``FREEZE``.

    ``value`` is ``next_key`` for ``GET_NEXT_KEY``.
    """

    _fields_ = [
        ("map_fd", c_uint32),
        ("pad", c_uint32),
        ("key", c_uint64),
        ("value", c_uint64),
        ("flags", c_uint64),
    ]


class MapBatch(Attr):
    """``BPF_MAP_*_BATCH``. ``count`` is also written."""

    KEEP = 36
    _fields_ = [
        ("in_batch", c_uint64),
        ("out_batch", c_uint64),
        ("keys", c_uint64),
        ("values", c_uint64),
        ("count", c_uint32),
        ("map_fd", c_uint32),
        ("elem_flags", c_uint64),
        ("flags", c_uint64),
    ]


class ProgLoad(Attr):
    """``BPF_PROG_LOAD``. ``log_true_size`` is written, from Linux 6.4."""

    KEEP = 144
    _fields_ = [
        ("prog_type", c_uint32),
        ("insn_cnt", c_uint32),
        ("insns", c_uint64),
        ("license", c_uint64),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log_buf", c_uint64),
        ("kern_version", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_name", c_char * NAME_BYTES),
        ("prog_ifindex", c_uint32),
        ("expected_attach_type", c_uint32),
        ("prog_btf_fd", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("func_info_cnt", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("line_info", c_uint64),
        ("line_info_cnt", c_uint32),
        ("attach_btf_id", c_uint32),
        ("attach_btf_obj_fd", c_uint32),  # or attach_prog_fd
        ("core_relo_cnt", c_uint32),
        ("fd_array", c_uint64),
        ("core_relos", c_uint64),
        ("core_relo_rec_size", c_uint32),
        ("log_true_size", c_uint32),
        ("prog_token_fd", c_int32),
        ("fd_array_cnt", c_uint32),
        ("signature", c_uint64),
        ("signature_size", c_uint32),
        ("keyring_id", c_int32),
    ]


class ObjPin(Attr):
    """``BPF_OBJ_PIN`` and ``BPF_OBJ_GET``."""

    _fields_ = [
        ("pathname", c_uint64),
        ("bpf_fd", c_uint32),
        ("file_flags", c_uint32),
        ("path_fd", c_int32),
    ]


class ProgAttach(Attr):
    """``BPF_PROG_ATTACH`` and ``BPF_PROG_DETACH``."""

    _fields_ = [
        ("target_fd", c_uint32),  # or target_ifindex
        ("attach_bpf_fd", c_uint32),
        ("attach_type", c_uint32),
        ("attach_flags", c_uint32),
        ("replace_bpf_fd", c_uint32),
        ("relative_fd", c_uint32),  # or relative_id
        ("expected_revision", c_uint64),
    ]


class ProgRun(Attr):
    """``BPF_PROG_RUN`` (``BPF_PROG_TEST_RUN``). The kernel writes the sizes, ``retval`` and ``duration``."""

    KEEP = 48
    _fields_ = [
        ("prog_fd", c_uint32),
        ("retval", c_uint32),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("data_in", c_uint64),
        ("data_out", c_uint64),
        ("repeat", c_uint32),
        ("duration", c_uint32),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("ctx_in", c_uint64),
        ("ctx_out", c_uint64),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    ]


class GetId(Attr):
    """``BPF_*_GET_NEXT_ID`` (``next_id`` is written) and ``BPF_*_GET_FD_BY_ID``."""

    KEEP = 8
    _fields_ = [("id", c_uint32), ("next_id", c_uint32), ("open_flags", c_uint32)]


class InfoByFd(Attr):
    """``BPF_OBJ_GET_INFO_BY_FD``. ``info_len`` is also written."""

    KEEP = 16
    _fields_ = [("bpf_fd", c_uint32), ("info_len", c_uint32), ("info", c_uint64)]


class BtfLoad(Attr):
    """``BPF_BTF_LOAD``. ``btf_log_true_size`` is written, from Linux 6.4."""

    KEEP = 32
    _fields_ = [
        ("btf", c_uint64),
        ("btf_log_buf", c_uint64),
        ("btf_size", c_uint32),
        ("btf_log_size", c_uint32),
        ("btf_log_level", c_uint32),
        ("btf_log_true_size", c_uint32),
        ("btf_flags", c_uint32),
        ("btf_token_fd", c_int32),
    ]


class LinkCreateTcx(ctypes.Structure):
    """The part of ``BPF_LINK_CREATE`` for tcx, netkit and cgroups."""

    _fields_ = [("relative_fd", c_uint32), ("pad", c_uint32), ("expected_revision", c_uint64)]


class LinkCreateTracing(ctypes.Structure):
    """The part of ``BPF_LINK_CREATE`` for tracing programs."""

    _fields_ = [("target_btf_id", c_uint32), ("pad", c_uint32), ("cookie", c_uint64)]


class _LinkCreateUnion(ctypes.Union):
    _fields_ = [("tcx", LinkCreateTcx), ("tracing", LinkCreateTracing), ("perf_event_cookie", c_uint64)]


class LinkCreate(Attr):
    """``BPF_LINK_CREATE``."""

    _anonymous_ = ("target",)
    _fields_ = [
        ("prog_fd", c_uint32),  # or map_fd
        ("target_fd", c_uint32),  # or target_ifindex
        ("attach_type", c_uint32),
        ("flags", c_uint32),
        ("target", _LinkCreateUnion),
    ]


class LinkUpdate(Attr):
    """``BPF_LINK_UPDATE``."""

    _fields_ = [
        ("link_fd", c_uint32),
        ("new_prog_fd", c_uint32),
        ("flags", c_uint32),
        ("old_prog_fd", c_uint32),
    ]


class LinkDetach(Attr):
    """``BPF_LINK_DETACH``."""

    _fields_ = [("link_fd", c_uint32)]


class EnableStats(Attr):
    """``BPF_ENABLE_STATS``."""

    KEEP = 4
    _fields_ = [("type", c_uint32)]


class ProgInfo(ctypes.Structure):
    """``struct bpf_prog_info``."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * NAME_BYTES),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32, 1),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", c_uint64),
        ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", c_uint64),
        ("run_time_ns", c_uint64),
        ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64),
        ("verified_insns", c_uint32),
        ("attach_btf_obj_id", c_uint32),
        ("attach_btf_id", c_uint32),
    ]


class MapInfo(ctypes.Structure):
    """``struct bpf_map_info``."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * NAME_BYTES),
        ("ifindex", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("btf_id", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_id", c_uint32),
        ("map_extra", c_uint64),
    ]


class BtfInfo(ctypes.Structure):
    """``struct bpf_btf_info``."""

    _fields_ = [
        ("btf", c_uint64),
        ("btf_size", c_uint32),
        ("id", c_uint32),
        ("name", c_uint64),
        ("name_len", c_uint32),
        ("kernel_btf", c_uint32),
    ]


class LinkInfo(ctypes.Structure):
    """``struct bpf_link_info`` as far as XDP, tcx and sockmap links fill it: two numbers behind the common
    part."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("pad", c_uint32),
        ("target", c_uint32),  # ifindex (XDP, tcx) or map id (sockmap)
        ("attach_type", c_uint32),  # tcx and sockmap
        ("rest", c_uint8 * 40),
    ]
