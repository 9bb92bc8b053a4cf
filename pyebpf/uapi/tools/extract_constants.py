"""Extracts the constants of the BPF and packet UAPI into ``input/constants.tsv``: facts only, one per line.

Enumerators come from a kernel's BTF (through ``bpftool btf dump``), because BTF is what that kernel was built
with; a header of the same generation tells which of them are UAPI. Macros, which BTF does not record, come
from the headers ``linux/{bpf,if_link,if_ether,pkt_cls}.h``. Run as

    python -m pyebpf.uapi.tools.extract_constants KERNEL_TREE [--btf /sys/kernel/btf/vmlinux]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

INPUT = Path(__file__).resolve().parent.parent / "input"

# UAPI enums that become Python classes: (C enum, class, prefix that the members lose).
CLASSES = (
    ("bpf_prog_type", "ProgType", "BPF_PROG_TYPE_"),
    ("bpf_map_type", "MapType", "BPF_MAP_TYPE_"),
    ("bpf_attach_type", "AttachType", "BPF_"),
    ("bpf_link_type", "LinkType", "BPF_LINK_TYPE_"),
    ("bpf_cmd", "BpfCmd", "BPF_"),
    ("xdp_action", "XdpAction", "XDP_"),
    ("sk_action", "SkAction", "SK_"),
)

# Anonymous enums and runs of macros that become flag classes, known by their first member.
FLAGS = (("BPF_ANY", "MapUpdateFlag"), ("BPF_F_NO_PREALLOC", "MapCreateFlag"))
LOAD_FLAGS = (
    "BPF_F_STRICT_ALIGNMENT",
    "BPF_F_ANY_ALIGNMENT",
    "BPF_F_TEST_RND_HI32",
    "BPF_F_TEST_STATE_FREQ",
    "BPF_F_SLEEPABLE",
    "BPF_F_XDP_HAS_FRAGS",
    "BPF_F_XDP_DEV_BOUND_ONLY",
    "BPF_F_TEST_REG_INVARIANTS",
)

# Macros that are kept, by header: everything else there is an opcode, a size of a struct or not for programs.
MACROS = {
    "bpf.h": re.compile(r"BPF_F_\w+|BPF_OBJ_NAME_LEN|BPF_TAG_SIZE|BPF_BUILD_ID_SIZE"),
    "if_link.h": re.compile(r"XDP_FLAGS_\w+"),
    "if_ether.h": re.compile(r"ETH_[A-Z]+_?\w*"),
    "pkt_cls.h": re.compile(r"TC_ACT_(?!EXT|VALUE|JUMP|GOTO)\w+"),
}


def strip_comments(text: str) -> str:
    """C source without comments."""
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def macros(header: Path) -> Iterator[tuple[str, int]]:
    """The object-like macros of ``header`` whose value is an integer expression of literals and earlier
    macros."""
    wanted, known = MACROS[header.name], dict[str, int]()
    text = strip_comments(header.read_text()).replace("\\\n", " ")
    for name, body in re.findall(r"^#define[ \t]+(\w+)[ \t]+(\S[^\n]*)$", text, flags=re.M):
        expression = re.sub(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", body.strip())
        expression = re.sub(r"\b[A-Z]\w+\b", lambda m: str(known.get(m[0], m[0])), expression)
        if re.fullmatch(r"[-\d\sxXa-fA-F()|<&~]+", expression) and wanted.fullmatch(name):
            known[name] = int(eval(expression, {"__builtins__": {}}))
            yield name, known[name]


def btf_enums(btf: str) -> list[tuple[str, list[tuple[str, int]]]]:
    """All enums in a BTF file: (name, members), members as (name, value)."""
    dump = subprocess.run(["bpftool", "-j", "btf", "dump", "file", btf], check=True, capture_output=True)
    found = []
    for entry in json.loads(dump.stdout)["types"]:
        if entry["kind"] in ("ENUM", "ENUM64"):
            # Old bpftool sign-extends the unsigned enumerators of a 32-bit enum.
            low = 2**32 - 1 if entry["kind"] == "ENUM" else 2**64 - 1
            found.append(
                (
                    entry["name"],
                    [(v["name"], v["val"] & low if v["val"] > low else v["val"]) for v in entry["values"]],
                )
            )
    return found


def rows(tree: Path, btf: str) -> Iterator[tuple[str, str, int]]:
    """(class or '-', C name, value) of every constant."""
    uapi = tree / "include/uapi/linux"
    header = strip_comments((uapi / "bpf.h").read_text())
    mapper = re.search(r"#define ___BPF_FUNC_MAPPER.*?\n\n", header, flags=re.S)
    assert mapper is not None
    in_header = set(re.findall(r"\b\w+\b", header.replace(mapper[0], "")))
    classes = {enum: name for enum, name, _ in CLASSES}
    flags = dict(FLAGS)
    seen = set[str]()
    for enum, members in btf_enums(btf):
        if enum == "bpf_func_id" or (members[0][0] not in in_header and enum not in classes):
            continue
        group = classes.get(enum) or flags.get(members[0][0]) or "-"
        for name, value in members:
            if not name.startswith("__") and name not in seen and (group != "-" or name in in_header):
                seen.add(name)
                yield group, name, value
    for name_of_header in MACROS:
        for name, value in macros(uapi / name_of_header):
            if name not in seen:
                seen.add(name)
                group = "TcAction" if name.startswith("TC_ACT_") else "-"
                yield "ProgLoadFlag" if name in LOAD_FLAGS else group, name, value


def main() -> None:
    """Writes ``input/constants.tsv``."""
    parser = argparse.ArgumentParser(description="extract UAPI constants")
    parser.add_argument("tree", type=Path, help="a kernel source tree")
    parser.add_argument("--btf", default="/sys/kernel/btf/vmlinux", help="BTF of a kernel")
    arguments = parser.parse_args()
    lines = ["group\tname\tvalue"]
    found = sorted(rows(arguments.tree, arguments.btf), key=lambda row: (row[0] == "-", row[0]))
    lines += [f"{group}\t{name}\t{value}" for group, name, value in found]
    (INPUT / "constants.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
