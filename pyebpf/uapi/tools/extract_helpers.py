"""Extracts the facts on all BPF helpers from kernel trees into ``input/``.

    python -m pyebpf.uapi.tools.extract_helpers --releases FEATURES.yaml TREE [TREE...]

Each TREE is an unpacked kernel (or its ``include kernel net drivers/media/rc fs security`` only), in any
order. The newest one gives signatures, prototypes and the program types that are allowed; the older ones tell
since when a program type is: the release of the first tree where it is, if an older tree with both the
helper and the program type has it not. So a release is never too early by this rule, but may be as late as
the next tree. FEATURES.yaml is ``data/feature-versions.yaml`` of the eBPF documentation project (the first
kernel of each helper and program type); each release in it is checked against the trees.

The table was made from Linux 4.15, 4.18, 5.0, 5.3, 5.4, 5.10, 5.15, 5.19, 6.1, 6.5, 6.8, 6.12, 6.14, 6.17 and
7.2 as Debian and Ubuntu ship them (``apt-get download linux-source-X``, then ``dpkg -x`` and ``tar -x``).

Files written: ``helpers.tsv`` (a line per helper), ``prototypes.tsv`` (what the verifier demands, a line per
prototype) and ``availability.tsv`` (a line per helper and set of program types with the same conditions).
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pyebpf.uapi.tools.kernel_switch import Fact, Outcome, Program
from pyebpf.uapi.tools.kernel_tree import Release, Tree, map_compatibility, read_tree, signatures, switch_set
from pyebpf.uapi.tools.notation import argument, returned

INPUT = Path(__file__).resolve().parent.parent / "input"
FIRST_SUPPORTED: Release = (6, 1)  # the strictest kernel from here on decides what a call must fulfil
Line = tuple[str, ...]  # of a table, in the order of its columns
Shape = tuple[str, str, str, str]  # what a call demands: arguments, returns, gpl, packet of prototypes.tsv

# Attach types that the kernel tells apart when it looks a helper up; all other program types have one.
ATTACH_TYPES = {
    "CGROUP_SKB": "CGROUP_INET_INGRESS CGROUP_INET_EGRESS",
    "CGROUP_SOCK": (
        "CGROUP_INET_SOCK_CREATE CGROUP_INET_SOCK_RELEASE CGROUP_INET4_POST_BIND CGROUP_INET6_POST_BIND"
    ),
    "CGROUP_SOCK_ADDR": (
        "CGROUP_INET4_BIND CGROUP_INET6_BIND CGROUP_INET4_CONNECT CGROUP_INET6_CONNECT CGROUP_UNIX_CONNECT "
        "CGROUP_UDP4_SENDMSG CGROUP_UDP6_SENDMSG CGROUP_UNIX_SENDMSG CGROUP_UDP4_RECVMSG CGROUP_UDP6_RECVMSG "
        "CGROUP_UNIX_RECVMSG CGROUP_INET4_GETPEERNAME CGROUP_INET6_GETPEERNAME CGROUP_UNIX_GETPEERNAME "
        "CGROUP_INET4_GETSOCKNAME CGROUP_INET6_GETSOCKNAME CGROUP_UNIX_GETSOCKNAME"
    ),
    "CGROUP_SOCKOPT": "CGROUP_GETSOCKOPT CGROUP_SETSOCKOPT",
    "CGROUP_DEVICE": "CGROUP_DEVICE",
    "CGROUP_SYSCTL": "CGROUP_SYSCTL",
    "SOCK_OPS": "CGROUP_SOCK_OPS",
    "KPROBE": "PERF_EVENT TRACE_KPROBE_MULTI TRACE_KPROBE_SESSION TRACE_UPROBE_MULTI TRACE_UPROBE_SESSION",
    "TRACING": "TRACE_RAW_TP TRACE_FENTRY TRACE_FEXIT MODIFY_RETURN TRACE_ITER",
    "LSM": "LSM_MAC LSM_CGROUP",
}

# Helper tables of iterators and struct_ops: the kernel finds them at run time, so they are listed here.
ITERATORS = ("bpf_iter_tcp_get_func_proto", "bpf_iter_unix_get_func_proto")
STRUCT_OPS = ("bpf_tcp_ca_get_func_proto", "bpf_scx_get_func_proto")


def dotted(release: Release | None) -> str:
    """``6.1`` for (6, 1), an empty text for None."""
    return ".".join(map(str, release or ()))


def programs(kind: str) -> Iterator[Program]:
    """Every program of type ``kind`` that the kernel tells apart when it looks helpers up."""
    for attach in ATTACH_TYPES.get(kind, "").split() or [""]:
        for sleepable in (False, True):
            yield Program(f"BPF_PROG_TYPE_{kind}", f"BPF_{attach}" if attach else "", sleepable)


@cache
def allowed(tree: Tree, helper: str, kind: str) -> dict[Program, Outcome]:
    """The programs of type ``kind`` that may call ``helper``, each with the prototype it gets and the
    conditions.

    Where the kernel can answer in several ways, the one that asks for least is meant.
    """
    found = {}
    for program in programs(kind):
        entries = [(tree.entry[kind], "")] if kind in tree.entry else []
        if kind == "TRACING" and program.attach_type == "BPF_TRACE_ITER":
            entries += [(function, "bpf_iter_tcp_or_unix") for function in ITERATORS]
        if kind == "STRUCT_OPS":
            entries = [("bpf_base_func_proto", "")]
            entries += [(function, function.partition("_get_")[0]) for function in STRUCT_OPS]
        for function, target in entries:
            if function not in tree.reader.functions.source:
                continue
            outcomes = tree.reader.lookup(function, f"BPF_FUNC_{helper}", program)
            if outcomes:
                needed = frozenset({("ATTACH_TARGET", target)} if target else ())
                found[program] = Outcome(outcomes[0].proto, outcomes[0].facts | needed)
                break
    return found


# What the features file lacks or has wrong, as the trees and the kernel's history show.
CORRECTIONS: dict[str, Release] = {
    "bpf_get_prandom_u32": (4, 1),
    "BPF_STRUCT_OPS": (6, 4),
    "BPF_NETFILTER": (6, 4),
    "BPF_TRACE_UPROBE_MULTI": (6, 6),
    "BPF_CGROUP_UNIX_CONNECT": (6, 7),
    "BPF_CGROUP_UNIX_SENDMSG": (6, 7),
    "BPF_CGROUP_UNIX_RECVMSG": (6, 7),
    "BPF_CGROUP_UNIX_GETPEERNAME": (6, 7),
    "BPF_CGROUP_UNIX_GETSOCKNAME": (6, 7),
    "BPF_TRACE_UPROBE_SESSION": (6, 13),
}


# What distributions took into older kernels as a fix: their trees say nothing on these.
BACKPORTED = {"BPF_CGROUP_UDP4_RECVMSG", "BPF_CGROUP_UDP6_RECVMSG"}


def release_table(path: Path) -> dict[str, Release]:
    """``name: x, version: v5.7`` pairs of the features file: C names and first releases."""
    pairs = re.findall(r"name: (\w+)\n\s+version: v(\d+)\.(\d+)", path.read_text())
    return {name: (int(major), int(minor)) for name, major, minor in pairs} | CORRECTIONS


# Where the switch allows a helper but the verifier refuses every use of it (check_map_prog_compatibility and
# check_get_func_ip of kernel/bpf/verifier.c).
TRACING_TYPES = {"KPROBE", "TRACEPOINT", "PERF_EVENT", "RAW_TRACEPOINT", "RAW_TRACEPOINT_WRITABLE"}
REFUSED = {
    **dict.fromkeys(("spin_lock", "spin_unlock"), TRACING_TYPES | {"SOCKET_FILTER"}),
    **dict.fromkeys(("timer_init", "timer_set_callback", "timer_start", "timer_cancel"), TRACING_TYPES),
    "get_func_ip": {
        "TRACEPOINT",
        "PERF_EVENT",
        "RAW_TRACEPOINT",
        "RAW_TRACEPOINT_WRITABLE",
        "LSM",
        "SYSCALL",
    },
}
# Attach types that the verifier asks for beyond the switch.
ATTACHED = {("get_func_ip", "TRACING"): ("TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN")}
# Demands that stand elsewhere in the verifier and in the helpers' registration.
DEMANDS: dict[str, tuple[Fact, ...]] = {"override_return": (("ATTACH_TARGET", "error_injection"),)}


# Map types that no helper takes; those whose values may hold timers (map_check_btf() in the kernel);
# those that bpf_for_each_map_elem() knows (``map_for_each_callback`` of their operations).
NOT_FOR_HELPERS = {"UNSPEC", "STRUCT_OPS", "ARENA"}
TIMERS = {"ARRAY", "HASH", "LRU_HASH"}
FOR_EACH = {"ARRAY", "PERCPU_ARRAY", "HASH", "LRU_HASH", "PERCPU_HASH", "LRU_PERCPU_HASH"}


def conditions(tree: Tree, helper: str, kind: str, outcomes: list[tuple[Program, Outcome]]) -> Line:
    """What else ``helper`` needs in programs of type ``kind``, as ``KIND:value`` words; attach types
    apart."""
    facts = set.union(*(set(outcome.facts) for _, outcome in outcomes)) | set(DEMANDS.get(helper, ()))
    protos = [tree.prototypes[outcome.proto or ""] for program, outcome in outcomes if not program.sleepable]
    if kind != "SYSCALL" and all("might_sleep" in proto for proto in protos):
        facts.add(("SLEEPABLE", ""))
    facts |= {
        ("ATTACH_TARGET", proto["allowed"].removeprefix("bpf_")) for proto in protos if "allowed" in proto
    }
    return tuple(f"{fact}:{value}".rstrip(":") for fact, value in sorted(facts))


def since_of(trees: list[Tree], helper: str, kind: str, attach: str, kind_since: Release) -> Release | None:
    """The release from which on programs may call ``helper``, if it is later than both are themselves."""
    refused = False
    for tree in trees:
        if helper not in tree.mapper or tree.release < kind_since or attach not in tree.attach_types:
            continue
        if not any(program.attach_type == attach for program in allowed(tree, helper, kind)):
            refused = True
        elif refused:
            return tree.release
    return None


def shape_of(trees: list[Tree], helper: str, c_types: list[str], names: list[str], acquires: bool) -> Shape:
    """What a call demands where the kernel answers with the prototypes ``names``, as ``prototypes.tsv`` has
    it."""
    newest = trees[-1]
    proto = newest.prototypes[names[0]]
    older = [
        t.prototypes[n] for t in trees if t.release >= FIRST_SUPPORTED for n in names if n in t.prototypes
    ]
    count = sum(f"arg{n}_type" in proto for n in range(1, 6))
    arguments = (argument(n, newest, proto, older, [*c_types, *[""] * 5][n - 1]) for n in range(1, count + 1))
    return (
        " ".join(arguments),
        returned(newest, proto, acquires),
        "gpl" if any(p.get("gpl_only") == "true" for p in older) else "",
        "packet" if proto.get("pkt_access") == "true" else "",
    )


def terms(
    trees: list[Tree], helper: str, kind: str, c_types: list[str], acquires: bool, kind_since: Release
) -> Iterator[tuple[Shape, str, str]]:
    """On which terms programs of type ``kind`` may call ``helper``: (shape, release or '', conditions).

    More than one where attach types differ; each then names its own.
    """
    newest = trees[-1]
    programs_allowed = allowed(newest, helper, kind)
    if kind in REFUSED.get(helper, ()):
        return
    groups: dict[tuple[Shape, Line], dict[str, Release | None]] = defaultdict(dict)
    every = [f"BPF_{a}" for a in ATTACH_TYPES.get(kind, "").split()] or [""]
    for attach in every:
        outcomes = [(p, o) for p, o in programs_allowed.items() if p.attach_type == attach]
        if outcomes and attach.removeprefix("BPF_") in ATTACHED.get(
            (helper, kind), (attach.removeprefix("BPF_"),)
        ):
            names = list(dict.fromkeys(outcome.proto or "" for _, outcome in outcomes))
            since = since_of(trees, helper, kind, attach, kind_since)
            shape = shape_of(trees, helper, c_types, names, acquires)
            words = conditions(newest, helper, kind, outcomes)
            groups[shape, words][attach] = since
    for (shape, words), since_by_attach in groups.items():
        for release, attaches in merged(trees, since_by_attach).items():
            plain = (attach.removeprefix("BPF_") for attach in attaches)
            attached = () if len(attaches) == len(every) else ("ATTACH_TYPE:" + ",".join(plain),)
            yield shape, dotted(release), " ".join((*words, *attached))


def merged(trees: list[Tree], since_by_attach: dict[str, Release | None]) -> dict[Release | None, list[str]]:
    """Attach types by the release that counts for them. One that came into being later than another's release
    goes with that one, because for it the release says nothing."""
    found: dict[Release | None, list[str]] = defaultdict(list)
    known = [release for release in since_by_attach.values() if release is not None]
    for attach, release in since_by_attach.items():
        first = next(tree.release for tree in trees if attach in tree.attach_types)
        if release is None and first > trees[0].release:
            release = max((r for r in known if r <= first), default=None)
        found[release].append(attach)
    return found


def write(name: str, header: str, lines: list[Line]) -> None:
    """Write ``input/name``."""
    (INPUT / name).write_text(
        "\n".join([header.replace(" ", "\t"), *("\t".join(line) for line in lines)]) + "\n"
    )


def check(name: str, first: Release, present: dict[Release, bool]) -> None:
    """Raise if ``name`` is in a tree older than ``first`` or not in a later one."""
    for release, there in present.items():
        if there != (release >= first):
            raise ValueError(f"{name}: first release {dotted(first)} contradicts Linux {dotted(release)}")


def releases(trees: list[Tree], names: dict[str, Release]) -> list[Line]:
    """Lines of ``releases.tsv``: first kernels of the program, map and attach types of ``constants.tsv``."""
    lines: list[Line] = []
    for row in (INPUT / "constants.tsv").read_text().splitlines()[1:]:
        group, name, _ = row.split("\t")
        if group in ("ProgType", "MapType", "AttachType") and not name.endswith(("_UNSPEC", "_DEPRECATED")):
            if name not in BACKPORTED:
                check(name, names[name], {tree.release: name in tree.uapi for tree in trees})
            lines.append((group, name, dotted(names[name])))
    return lines


def map_types(newest: Tree) -> dict[str, str]:
    """The map types that each helper takes, in the order of their numbers, joined by spaces."""
    constants = (row.split("\t") for row in (INPUT / "constants.tsv").read_text().splitlines()[1:])
    names = [name.removeprefix("BPF_MAP_TYPE_") for group, name, _ in constants if group == "MapType"]
    names = [name for name in names if not name.endswith("_DEPRECATED") and name not in NOT_FOR_HELPERS]
    found = map_compatibility(newest, names)
    found["for_each_map_elem"] &= FOR_EACH
    found["timer_init"] &= TIMERS
    return {helper: " ".join(name for name in names if name in types) for helper, types in found.items()}


def extract(trees: list[Tree], names: dict[str, Release]) -> None:
    """Write the tables."""
    newest = trees[-1]
    declared = signatures(newest)
    acquire = switch_set(newest, "kernel/bpf/verifier.c", "is_acquire_function") - {"map_lookup_elem"}
    changes = switch_set(newest, "net/core/filter.c", "bpf_helper_changes_pkt_data")
    kinds_since = {
        n.removeprefix("BPF_PROG_TYPE_"): r for n, r in names.items() if n.startswith("BPF_PROG_TYPE_")
    }
    kinds = [k for k in kinds_since if k in newest.entry or k == "STRUCT_OPS"]
    maps = map_types(newest)
    helper_lines: list[Line] = []
    proto_lines: list[Line] = []
    where_lines: list[Line] = []
    for helper, number in newest.mapper.items():
        if helper == "unspec":
            continue
        result, arguments = declared[helper]
        first = names[f"bpf_{helper}"]
        check(helper, first, {tree.release: helper in tree.mapper for tree in trees})
        shapes: dict[Shape, str] = {}
        where: dict[Line, list[str]] = defaultdict(list)
        for kind in kinds:
            c_types = [c_type for c_type, _ in arguments]
            for shape, since, words in terms(
                trees, helper, kind, c_types, helper in acquire, kinds_since[kind]
            ):
                where[shapes.setdefault(shape, str(len(shapes))), since, words].append(kind)
        first = max(first, min((kinds_since[k] for group in where.values() for k in group), default=first))
        c_arguments = ", ".join(
            c if c == "..." else f"{c}{'' if c.endswith('*') else ' '}{n}" for c, n in arguments
        )
        takes = maps[helper] if any("MAP" in shape[0].split() for shape in shapes) else ""
        changed = "packet" if helper in changes else ""
        helper_lines.append((str(number), helper, dotted(first), result, c_arguments, changed, takes))
        proto_lines += [(helper, name, *shape) for shape, name in shapes.items()]
        where_lines += [(helper, *key, " ".join(group)) for key, group in where.items()]
    write("helpers.tsv", "id name since returns arguments changes map_types", helper_lines)
    write("prototypes.tsv", "helper variant arguments returns gpl packet", proto_lines)
    write("availability.tsv", "helper variant since conditions program_types", where_lines)
    write("releases.tsv", "group name since", releases(trees, names))


def main() -> None:
    """Reads the trees given on the command line and writes the tables."""
    parser = argparse.ArgumentParser(description="extract facts on BPF helpers from kernel trees")
    parser.add_argument("--releases", type=Path, required=True, help="feature-versions.yaml")
    parser.add_argument("trees", nargs="+", type=Path, help="kernel source trees")
    options = parser.parse_args()
    trees = sorted((read_tree(path) for path in options.trees), key=lambda tree: tree.release)
    extract(trees, release_table(options.releases))


if __name__ == "__main__":
    main()
