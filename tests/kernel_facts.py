"""A small kernel for tests of the compiler: a few types, functions and events, always the same."""

from __future__ import annotations

import functools

from pyebpf import btf
from pyebpf.uapi.constants import ProgType
from pyebpf.uapi.contexts import ANY_WIDTH, Context, ContextField, FieldKind

_TRACEPOINT = frozenset({ProgType.TRACEPOINT})


def _struct(name: str, size: int, *members: tuple[str, btf.Type, int]) -> btf.Struct:
    return btf.Struct(name, size, tuple(btf.Member(n, t, 8 * at) for n, t, at in members))


def _function(name: str, result: btf.Type | None, *params: tuple[str, btf.Type]) -> btf.Func:
    proto = btf.FuncProto(result, tuple(btf.Param(n, t) for n, t in params))
    return btf.Func(name, proto, btf.FuncLinkage.STATIC)


@functools.cache
def types() -> btf.Spec:
    """The kernel's types."""
    char, u32, s32, u64 = btf.CHAR, btf.U32, btf.S32, btf.U64
    task, memory = btf.Struct("task_struct", 512), btf.Struct("mm_struct", 64)
    task_pointer = btf.Ptr(task)
    memory.members = (
        btf.Member("owner", task_pointer, 0),
        btf.Member("total_vm", u64, 64),
        btf.Member("pages", btf.Array(u32, 4, btf.ARRAY_INDEX), 128),
    )
    scheduling = _struct("sched_entity", 32, ("vruntime", u64, 0), ("on_rq", btf.U8, 8))
    names = btf.Union("", 8, (btf.Member("hash", u32, 0), btf.Member("hash_len", u64, 0)))
    text = _struct("qstr", 16, ("", names, 0), ("name", btf.Ptr(btf.Const(btf.U8)), 8))
    dentry = _struct("dentry", 64, ("d_name", text, 32))
    path = _struct("path", 16, ("mnt", btf.Ptr(None), 0), ("dentry", btf.Ptr(dentry), 8))
    file = _struct("file", 128, ("f_flags", u32, 8), ("f_path", path, 16))
    sock = _struct("sock", 256, ("sk_family", btf.U16, 16))
    seq = _struct("seq_file", 64, ("count", u64, 24))
    meta = _struct(
        "bpf_iter_meta", 24, ("seq", btf.Ptr(seq), 0), ("session_id", u64, 8), ("seq_num", u64, 16)
    )
    registers = _struct(
        "pt_regs", 168, *((name, u64, at) for name, at in (("dx", 96), ("si", 104), ("di", 112)))
    )
    task.members = (
        btf.Member("__state", u32, 0),
        btf.Member("se", scheduling, 64 * 8),
        btf.Member("pid", s32, 100 * 8),
        btf.Member("tgid", s32, 104 * 8),
        btf.Member("reset", btf.U32, 108 * 8 + 3, 1),
        btf.Member("level", btf.S32, 108 * 8 + 4, 5),
        btf.Member("comm", btf.Array(char, 16, btf.ARRAY_INDEX), 112 * 8),
        btf.Member("mm", btf.Ptr(memory), 128 * 8),
        btf.Member("real_parent", task_pointer, 136 * 8),
        btf.Member("counts", btf.Array(u64, 8, btf.ARRAY_INDEX), 144 * 8),
        btf.Member("argument", btf.Ptr(btf.TypeTag("user", char)), 208 * 8),
        btf.Member("cpu_local", btf.Ptr(btf.TypeTag("percpu", u64)), 216 * 8),
    )
    kinds = btf.Enum("map_kind", 4, (btf.Enumerator("KIND_HASH", 1), btf.Enumerator("KIND_ARRAY", 2)))
    switch = (
        ("__data", btf.Ptr(None)),
        ("preempt", btf.BOOL),
        ("prev", task_pointer),
        ("next", task_pointer),
    )
    size = btf.Typedef("size_t", u64)
    caller = _function("__traceiter_sched_switch", s32, *switch)
    encoder = btf.Encoder(little_endian=True)
    for one in (
        task,
        sock,
        registers,
        kinds,
        caller,
        btf.Typedef("btf_trace_sched_switch", btf.Ptr(caller.proto)),
        _function(
            "vfs_read",
            s32,
            ("file", btf.Ptr(file)),
            ("buf", btf.Ptr(btf.TypeTag("user", char))),
            ("count", size),
        ),
        _function("tcp_connect", s32, ("sk", btf.Ptr(sock))),
        _function("security_file_open", s32, ("file", btf.Ptr(file))),
        _function("bpf_lsm_file_open", s32, ("file", btf.Ptr(file))),
        _function("bpf_iter_task", s32, ("meta", btf.Ptr(meta)), ("task", task_pointer)),
        _function("do_exit", None, ("code", btf.S64)),
        _function("by_value", s32, ("text", text)),
    ):
        encoder.add(one)
    return btf.Spec(encoder.finish())


def _event(name: str, *fields: ContextField) -> Context:
    size = max(field.offset + field.total_size for field in fields)
    return Context(f"tracepoint {name}", size, lambda: fields)


def _field(
    name: str, offset: int, size: int, *, length: int | None = None, signed: bool = False, text: bool = False
) -> ContextField:
    kind = FieldKind.DATA_LOCATION if text else FieldKind.SCALAR
    return ContextField(
        name,
        offset,
        size,
        _TRACEPOINT,
        kind=kind,
        length=length,
        read_widths=ANY_WIDTH,
        signed=signed,
        text=text,
    )


EVENTS = {
    "sched/sched_switch": _event(
        "sched/sched_switch",
        _field("prev_comm", 8, 1, length=16, signed=True),
        _field("prev_pid", 24, 4, signed=True),
        _field("prev_state", 32, 8, signed=True),
        _field("next_pid", 56, 4, signed=True),
    ),
    "sched/sched_process_exec": _event(
        "sched/sched_process_exec", _field("filename", 8, 4, text=True), _field("pid", 12, 4, signed=True)
    ),
    "syscalls/sys_enter_openat": _event(
        "syscalls/sys_enter_openat", _field("dfd", 16, 8), _field("filename", 24, 8), _field("flags", 32, 8)
    ),
}


class SmallKernel:
    """These types and events, as ``pyebpf.target.TargetFacts``."""

    def types(self) -> btf.Spec:
        """The kernel's types."""
        return types()

    def tracepoint(self, category: str, name: str) -> Context | None:
        """The fields of an event."""
        return EVENTS.get(f"{category}/{name}")

    def tracepoints(self) -> list[str]:
        """The events."""
        return list(EVENTS)
