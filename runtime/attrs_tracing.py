"""The parts of ``union bpf_attr`` and of perf_event_open(2) that attaching to traces needs (linux/bpf.h,
linux/perf_event.h).

``BPF_LINK_CREATE`` has one structure here for each kind of link, since the fields behind the first four differ.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_uint8, c_uint16, c_uint32, c_uint64

from pyebpf.runtime.attrs import Attr

_LINK_HEAD = (
    ("prog_fd", c_uint32),
    ("target_fd", c_uint32),
    ("attach_type", c_uint32),
    ("flags", c_uint32),
)


class LinkCreatePerf(Attr):
    """``BPF_LINK_CREATE`` on a perf event."""

    _fields_ = (*_LINK_HEAD, ("bpf_cookie", c_uint64))


class LinkCreateTraced(Attr):
    """``BPF_LINK_CREATE`` of a program whose place in the kernel was named when it was loaded."""

    _fields_ = (*_LINK_HEAD, ("target_btf_id", c_uint32), ("pad", c_uint32), ("cookie", c_uint64))


class LinkCreateIter(Attr):
    """``BPF_LINK_CREATE`` of an iterator. ``iter_info``: address of an ``IterInfo`` of ``iter_info_len`` bytes."""

    _fields_ = (*_LINK_HEAD, ("iter_info", c_uint64), ("iter_info_len", c_uint32))


class LinkCreateKprobes(Attr):
    """``BPF_LINK_CREATE`` on many kernel functions: ``syms`` or ``addrs``."""

    _fields_ = (
        *_LINK_HEAD,
        ("multi_flags", c_uint32),
        ("cnt", c_uint32),
        ("syms", c_uint64),
        ("addrs", c_uint64),
        ("cookies", c_uint64),
    )


class LinkCreateUprobes(Attr):
    """``BPF_LINK_CREATE`` on many places of one file."""

    _fields_ = (
        *_LINK_HEAD,
        ("path", c_uint64),
        ("offsets", c_uint64),
        ("ref_ctr_offsets", c_uint64),
        ("cookies", c_uint64),
        ("cnt", c_uint32),
        ("multi_flags", c_uint32),
        ("pid", c_uint32),
    )


class RawTracepointOpen(Attr):
    """``BPF_RAW_TRACEPOINT_OPEN``; without a name for a program whose place was named when it was loaded."""

    _fields_ = (("name", c_uint64), ("prog_fd", c_uint32), ("pad", c_uint32), ("cookie", c_uint64))


class IterCreate(Attr):
    """``BPF_ITER_CREATE``."""

    _fields_ = (("link_fd", c_uint32), ("flags", c_uint32))


class IterTask(ctypes.Structure):
    """The part of ``IterInfo`` for tasks."""

    _fields_ = (("tid", c_uint32), ("pid", c_uint32), ("pid_fd", c_uint32))


class IterCgroup(ctypes.Structure):
    """The part of ``IterInfo`` for control groups."""

    _fields_ = (("order", c_uint32), ("cgroup_fd", c_uint32), ("cgroup_id", c_uint64))


class IterInfo(ctypes.Union):
    """``union bpf_iter_link_info``."""

    _fields_ = (("map_fd", c_uint32), ("cgroup", IterCgroup), ("task", IterTask))


class PerfEventAttr(ctypes.Structure):
    """``struct perf_event_attr`` as of ``PERF_ATTR_SIZE_VER5``, 112 bytes. Of the flags those that are used have
    names."""

    _fields_ = (
        ("type", c_uint32),
        ("size", c_uint32),
        ("config", c_uint64),
        ("sample_period", c_uint64),  # or sample_freq, with ``freq``
        ("sample_type", c_uint64),
        ("read_format", c_uint64),
        ("disabled", c_uint64, 1),
        ("inherit", c_uint64, 1),
        ("pinned", c_uint64, 1),
        ("exclusive", c_uint64, 1),
        ("exclude_user", c_uint64, 1),
        ("exclude_kernel", c_uint64, 1),
        ("exclude_hv", c_uint64, 1),
        ("exclude_idle", c_uint64, 1),
        ("mmap", c_uint64, 1),
        ("comm", c_uint64, 1),
        ("freq", c_uint64, 1),
        ("other_flags", c_uint64, 53),
        ("wakeup_events", c_uint32),
        ("bp_type", c_uint32),
        ("config1", c_uint64),
        ("config2", c_uint64),
        ("branch_sample_type", c_uint64),
        ("sample_regs_user", c_uint64),
        ("sample_stack_user", c_uint32),
        ("clockid", c_int32),
        ("sample_regs_intr", c_uint64),
        ("aux_watermark", c_uint32),
        ("sample_max_stack", c_uint16),
        ("reserved", c_uint16),
    )


class RawTracepointInfo(ctypes.Structure):
    """``struct bpf_link_info`` of a raw tracepoint. The name goes where ``tp_name`` points."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("tp_name", c_uint64),
        ("tp_name_len", c_uint32),
    )


class TracingInfo(ctypes.Structure):
    """``struct bpf_link_info`` of a tracing program."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("pad", c_uint32),  # what follows is a union aligned to 8 bytes
        ("attach_type", c_uint32),
        ("target_obj_id", c_uint32),
        ("target_btf_id", c_uint32),
    )


class IterLinkInfo(ctypes.Structure):
    """``struct bpf_link_info`` of an iterator. ``extra``: the map's id, or what limits the tasks."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("target_name", c_uint64),
        ("target_name_len", c_uint32),
        ("extra", c_uint32),
    )


class PerfInfo(ctypes.Structure):
    """``struct bpf_link_info`` of a perf event, from Linux 6.6. ``name``: a file, a function or a tracepoint."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("pad", c_uint32),
        ("perf_type", c_uint32),
        ("pad2", c_uint32),
        ("name", c_uint64),  # or config, of an event proper
        ("name_len", c_uint32),  # or its type
        ("offset", c_uint32),
        ("rest", c_uint8 * 32),
    )
