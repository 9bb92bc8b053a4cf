"""What a ``bpf_func_proto`` demands, in the notation of the tables (``pyebpf.uapi.helpers`` explains it)."""

from __future__ import annotations

import re

from pyebpf.uapi.tools.kernel_tree import Tree

KINDS = {
    "ARG_ANYTHING": "SCALAR",
    "ARG_SCALAR": "SCALAR",
    "ARG_PTR_TO_CTX": "CTX",
    "ARG_CONST_MAP_PTR": "MAP",
    "ARG_PTR_TO_MAP_KEY": "MAP_KEY",
    "ARG_PTR_TO_MAP_VALUE": "MAP_VALUE",
    "ARG_PTR_TO_MEM": "MEM",
    "ARG_PTR_TO_FIXED_SIZE_MEM": "MEM",
    "ARG_CONST_SIZE": "CONST_SIZE",
    "ARG_CONST_SIZE_OR_ZERO": "CONST_SIZE_OR_ZERO",
    "ARG_CONST_ALLOC_SIZE_OR_ZERO": "ALLOC_SIZE",
    "ARG_PTR_TO_FUNC": "FUNC",
    "ARG_PTR_TO_STACK": "STACK",
    "ARG_PTR_TO_BTF_ID": "BTF_ID",
    "ARG_PTR_TO_BTF_ID_SOCK_COMMON": "BTF_ID_SOCK_COMMON",
    "ARG_PTR_TO_SOCK_COMMON": "SOCK_COMMON",
    "ARG_PTR_TO_SOCKET": "SOCKET",
    "ARG_PTR_TO_PERCPU_BTF_ID": "PERCPU_BTF_ID",
    "ARG_PTR_TO_CONST_STR": "CONST_STR",
    "ARG_PTR_TO_SPIN_LOCK": "SPIN_LOCK",
    "ARG_PTR_TO_TIMER": "TIMER",
    "ARG_PTR_TO_DYNPTR": "DYNPTR",
    "ARG_PTR_TO_KPTR": "KPTR",
    "ARG_KPTR_XCHG_DEST": "KPTR",
    "ARG_PTR_TO_RINGBUF_MEM": "RINGBUF_MEM",
    "ARG_PTR_TO_ALLOC_MEM": "RINGBUF_MEM",
}
ARG_FLAGS = {
    "ARG_PTR_TO_UNINIT_MEM": ("ARG_PTR_TO_MEM", {"MEM_UNINIT", "MEM_WRITE"}),
    "ARG_PTR_TO_INT": ("ARG_PTR_TO_FIXED_SIZE_MEM", {"MEM_UNINIT", "MEM_WRITE", "MEM_ALIGNED"}),
    "ARG_PTR_TO_LONG": ("ARG_PTR_TO_FIXED_SIZE_MEM", {"MEM_UNINIT", "MEM_WRITE", "MEM_ALIGNED"}),
}
SIZES = {"u32": 4, "u64": 8, "s64": 8, "struct iphdr": 20, "struct ipv6hdr": 40, "struct tcphdr": 20}
RETURNS = {
    "RET_INTEGER": "INTEGER",
    "RET_VOID": "VOID",
    "RET_PTR_TO_MAP_VALUE": "MAP_VALUE",
    "RET_PTR_TO_RINGBUF_MEM": "RINGBUF_MEM",
    "RET_PTR_TO_DYNPTR_MEM": "DYNPTR_MEM",
    "RET_PTR_TO_SOCKET": "SOCKET",
    "RET_PTR_TO_TCP_SOCK": "TCP_SOCK",
    "RET_PTR_TO_SOCK_COMMON": "SOCK_COMMON",
    "RET_PTR_TO_BTF_ID": "BTF_ID",
    "RET_PTR_TO_MEM_OR_BTF_ID": "MEM_OR_BTF_ID",
}


def flags_of(expression: str) -> tuple[str, set[str]]:
    """A type expression as (base, flags): ``A_OR_NULL | B`` is A with PTR_MAYBE_NULL and B."""
    base, *rest = (part.strip() for part in expression.split("|"))
    flags = set(rest)
    if base.endswith("_OR_NULL") and base != "ARG_CONST_ALLOC_SIZE_OR_ZERO":
        base = base.removesuffix("_OR_NULL")
        flags.add("PTR_MAYBE_NULL")
    if base == "RET_PTR_TO_BTF_ID_TRUSTED":
        base = "RET_PTR_TO_BTF_ID"
    more = ARG_FLAGS.get(base)
    return (more[0], flags | more[1]) if more else (base, flags)


def argument(
    number: int, newest: Tree, proto: dict[str, str], older: list[dict[str, str]], c_type: str
) -> str:
    """What the verifier asks of argument ``number``, as ``helpers.py`` reads it: KIND, marks, ``:detail``.

    What is written to and what is read comes from the newest kernel; what must have been initialised, and
    whether a size may be zero or a pointer null, is what the strictest kernel from FIRST_SUPPORTED on
    demands.
    """
    key = f"arg{number}_type"
    base, flags = flags_of(proto[key])
    kind = KINDS[base]
    if kind == "CONST_SIZE_OR_ZERO" and any(o.get(key) == "ARG_CONST_SIZE" for o in older):
        kind = "CONST_SIZE"
    if kind in ("MEM", "MAP_VALUE", "DYNPTR") and "MEM_WRITE" in flags:
        fresh = "MEM_UNINIT" in flags and all("MEM_UNINIT" in flags_of(o[key])[1] for o in older if key in o)
        kind = f"UNINIT_{kind}" if fresh else f"RDWR_{kind}"
    text = kind
    nullable = "PTR_MAYBE_NULL" in flags and all(
        "PTR_MAYBE_NULL" in flags_of(o[key])[1] for o in older if key in o
    )
    text += "?" * nullable + "!" * ("OBJ_RELEASE" in flags)
    if (size := re.match(r"sizeof\((.*)\)", proto.get(f"arg{number}_size", ""))) is not None:
        text += f":{SIZES[size[1]]}"
    elif base == "ARG_PTR_TO_BTF_ID":
        expression = proto[f"arg{number}_btf_id"].removeprefix("&")
        struct = re.match(r"struct (\w+)", c_type)
        name = newest.btf_types.get(expression) or (struct[1] if struct else expression.removesuffix("_id"))
        text += f":{name}" if expression != "BPF_PTR_POISON" else ""
    return text


def returned(newest: Tree, proto: dict[str, str], acquires: bool) -> str:
    """What the helper returns, in the same notation; ``+`` marks a reference that the program must
    release."""
    base, flags = flags_of(proto.get("ret_type", "RET_INTEGER").replace("ALLOC_MEM", "RINGBUF_MEM"))
    text = RETURNS[base] + "?" * ("PTR_MAYBE_NULL" in flags) + "+" * acquires + "r" * ("MEM_RDONLY" in flags)
    expression = proto.get("ret_btf_id", "").removeprefix("&")
    return text + (f":{newest.btf_types[expression]}" if expression in newest.btf_types else "")
