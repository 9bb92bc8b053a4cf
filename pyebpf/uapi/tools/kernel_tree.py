"""A kernel source tree, as the extraction of helpers reads it: numbers, signatures, prototypes, who may call
what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyebpf.uapi.tools.kernel_c import Functions, strip_comments
from pyebpf.uapi.tools.kernel_switch import Reader

Release = tuple[int, int]


@dataclass(eq=False)
class Tree:
    """A kernel tree: its release and what was read from it."""

    path: Path
    release: Release
    mapper: dict[str, int]
    attach_types: set[str]
    uapi: set[str]
    entry: dict[str, str]
    reader: Reader
    prototypes: dict[str, dict[str, str]]
    btf_types: dict[str, str]

    def text(self, path: str) -> str:
        """A file of the tree without comments."""
        return strip_comments((self.path / path).read_text(errors="replace"))


def sources(path: Path) -> Iterator[Path]:
    """The C files that may define helpers or say who may call them."""
    for folder in ("kernel", "net", "drivers/media/rc", "drivers/hid/bpf", "fs", "security"):
        for file in sorted((path / folder).rglob("*.c")):
            if "bpf_func_proto" in file.read_text(errors="replace"):
                yield file


def read_tree(path: Path) -> Tree:
    """Read everything of interest of the tree at ``path``."""
    make = (path / "Makefile").read_text()
    version, patch = (int(re.search(rf"^{k} = (\d+)", make, re.M)[1]) for k in ("VERSION", "PATCHLEVEL"))  # type: ignore[index]  # every kernel's Makefile has both
    uapi = strip_comments((path / "include/uapi/linux/bpf.h").read_text())
    block = re.search(r"___?BPF_FUNC_MAPPER\(FN.*?\n\n", uapi.replace("\\\n", " \\\n") + "\n\n", re.S)
    assert block is not None
    mapper = {}
    for number, match in enumerate(
        re.finditer(r"\bFN\((\w+)(?:,\s*(\d+))?", block[0].replace("FN, ctx", ""))
    ):
        mapper[match[1]] = int(match[2] or number)
    files = list(sources(path))
    texts = {f: strip_comments(f.read_text(errors="replace")) for f in files}
    everything = "\n".join(texts.values())
    ops = dict(
        re.findall(r"bpf_verifier_ops (\w+)_verifier_ops = \{[^}]*?\.get_func_proto\s*=\s*(\w+)", everything)
    )
    types = strip_comments((path / "include/linux/bpf_types.h").read_text())
    entry = {}
    for kind, name in re.findall(r"BPF_PROG_TYPE\(BPF_PROG_TYPE_(\w+), (\w+)", types):
        if name in ops:
            entry[kind] = ops[name]
    prototypes = {}
    for name, body in re.findall(r"struct bpf_func_proto (\w+)\s*=\s*\{(.*?)\n\};", everything, re.S):
        prototypes[name] = dict(re.findall(r"\.(\w+)\s*=\s*([^,]+?)\s*(?:,|$)", body))
    # Plain kprobes have no attach type; PERF_EVENT, a later name for them, stands for it here.
    attach_types = {
        "",
        "BPF_PERF_EVENT",
        *re.findall(r"\bBPF_\w+", uapi[uapi.index("enum bpf_attach_type") :].partition("}")[0]),
    }
    words = set(re.findall(r"\bBPF_\w+", uapi))
    types_of_ids = btf_types(path, everything)
    reader = Reader(Functions(files))
    return Tree(path, (version, patch), mapper, attach_types, words, entry, reader, prototypes, types_of_ids)


def btf_types(path: Path, text: str) -> dict[str, str]:
    """C expressions of BTF ids (as prototypes write them, without ``&``) and the names of their types."""
    found = {}
    for name, kind in re.findall(r"BTF_ID_LIST(?:_GLOBAL)?_SINGLE\((\w+),\s*struct,\s*(\w+)", text):
        found[f"{name}[0]"] = found[name] = kind
    for name, ids in re.findall(
        r"BTF_ID_LIST(?:_GLOBAL)?\((\w+)[^)]*\)\s*((?:BTF_ID\(struct,\s*\w+\)\s*)+)", text
    ):
        for index, kind in enumerate(re.findall(r"BTF_ID\(struct,\s*(\w+)\)", ids)):
            found[f"{name}[{index}]"] = kind
    header = path / "include/linux/btf_ids.h"
    if header.exists():
        for index, kind in re.findall(
            r"BTF_(?:SOCK|TRACING)_TYPE\((BTF_\w+_TYPE_\w+),\s*(\w+)\)", header.read_text()
        ):
            found[f"btf_sock_ids[{index}]"] = found[f"btf_tracing_ids[{index}]"] = kind
    return found


def signatures(tree: Tree) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """C signatures of the helpers, from the comment in the UAPI header: name -> (return type, [(type,
    name)])."""
    text = (tree.path / "include/uapi/linux/bpf.h").read_text()
    found = {}
    for result, name, arguments in re.findall(r"^ \* ((?:\w+ )*\w+ \**)bpf_(\w+)\(([^)]*)\)$", text, re.M):
        pieces = []
        for argument in arguments.replace("...", "... ").split(","):
            argument = " ".join(argument.split())
            match = re.fullmatch(r"(.*?[ *])(\w+)", argument)
            if argument == "...":
                pieces.append(("...", "..."))
            elif argument != "void" and match:
                pieces.append((match[1].strip(), match[2]))
        if name in tree.mapper:
            found[name] = (result.strip(), pieces)
    return found


def switch_set(tree: Tree, path: str, function: str, constant: str = "BPF_FUNC_") -> set[str]:
    """The names with prefix ``constant`` that ``function`` mentions."""
    match = re.search(rf"^(?:static )?bool {function}\(.*?^\}}", tree.text(path), re.S | re.M)
    assert match is not None, function
    return set(re.findall(rf"{constant}(\w+)", match[0]))


def map_compatibility(tree: Tree, map_types: list[str]) -> dict[str, set[str]]:
    """The map types that each helper takes, as ``check_map_func_compatibility()`` in the verifier has it.

    That function asks twice: which helpers a map type is for, and which map types a helper is for. Helpers
    that appear in neither answer take the map types that do not appear either.
    """
    body = re.search(
        r"^static int check_map_func_compatibility\(.*?^\}", tree.text("kernel/bpf/verifier.c"), re.S | re.M
    )
    assert body is not None
    by_map: dict[str, set[str]] = {}
    by_helper: dict[str, set[str]] = {}
    for labels, test in re.findall(r"((?:\bcase \w+:\s*)+)(.*?)(?=\bcase\b|\bdefault:)", body[0], re.S):
        names = re.findall(r"case (\w+):", labels)
        if names[0].startswith("BPF_MAP_TYPE_"):
            helpers = set(re.findall(r"func_id != BPF_FUNC_(\w+)", test))
            if "may_update_sockmap" in test:
                helpers |= {"map_update_elem", "map_delete_elem"}
            by_map |= {name.removeprefix("BPF_MAP_TYPE_"): helpers for name in names}
        else:
            types = set(re.findall(r"map_type != BPF_MAP_TYPE_(\w+)", test))
            by_helper |= {name.removeprefix("BPF_FUNC_"): types for name in names}
    return {
        helper: {t for t in by_helper.get(helper, map_types) if helper in by_map.get(t, {helper})}
        for helper in tree.mapper
    }
