"""Other people's tools read, link and load the objects that we write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyebpf.backend.elf import read_object, write_object
from pyebpf.object import ObjectSpec, Pinning
from tests.unit.elf.clang import compile_c
from tests.unit.elf.samples import externs, full, minimal, tables

BPF_FILESYSTEM = Path("/sys/fs/bpf")
Sample = Callable[[], ObjectSpec]


def run(*command: str | Path) -> str:
    """The output of ``command``, which must succeed; skips if it is not installed."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def write(folder: Path, spec: ObjectSpec) -> Path:
    path = folder / "sample.o"
    path.write_bytes(write_object(spec))
    return path


@pytest.fixture
def pins(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder to pin in, removed afterwards."""
    if os.geteuid() != 0 or not os.path.ismount(BPF_FILESYSTEM):
        pytest.skip("needs root and a mounted bpf file system")
    folder = BPF_FILESYSTEM / f"pyebpf-test-{os.getpid()}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and not folder.is_dir():
        folder.unlink()


@pytest.mark.parametrize("sample", [minimal, full, externs])
def test_bpftool_loads_all_programs(sample: Sample, tmp_path: Path, pins: Path) -> None:
    spec = sample()
    run("bpftool", "prog", "loadall", write(tmp_path, spec), pins)
    assert {p.name for p in pins.iterdir()} == set(spec.programs)
    for name, program in spec.programs.items():
        shown = json.loads(run("bpftool", "--json", "prog", "show", "pinned", pins / name))
        assert shown["name"] == name and shown["gpl_compatible"]
        assert "btf_id" in shown, program


def test_lines_reach_the_kernel(tmp_path: Path, pins: Path) -> None:
    run("bpftool", "prog", "loadall", write(tmp_path, full()), pins)
    dump = run("bpftool", "prog", "dump", "xlated", "pinned", pins / "count", "linum")
    assert "; line 10 [file:samples.py line_num:10 line_col:5]" in dump
    assert "on_turn" in dump and "leaf" in dump


def test_bpftool_fills_tables(tmp_path: Path, pins: Path) -> None:
    spec = tables()
    del spec.maps["kept"]  # bpftool would leave its pin behind
    run("bpftool", "prog", "load", write(tmp_path, spec), pins)
    shown = json.loads(run("bpftool", "--json", "prog", "show", "pinned", pins))
    assert shown["name"] == "first"


@pytest.mark.parametrize("sample", [minimal, full, tables, externs])
def test_bpftool_links(sample: Sample, tmp_path: Path) -> None:
    linked = tmp_path / "linked.o"
    run("bpftool", "gen", "object", linked, write(tmp_path, sample()))
    ours, theirs = sample(), read_object(linked.read_bytes())
    assert theirs.programs.keys() == ours.programs.keys()
    assert {n: p.code for n, p in theirs.programs.items()} == {n: p.code for n, p in ours.programs.items()}
    assert {n: m.slots for n, m in theirs.maps.items()} == {n: m.slots for n, m in ours.maps.items()}
    assert {n: d.contents for n, d in theirs.data.items()} == {n: d.contents for n, d in ours.data.items()}
    assert theirs.externs.keys() == ours.externs.keys()


@pytest.mark.parametrize("sample", [full, tables, externs])
def test_bpftool_makes_skeletons(sample: Sample, tmp_path: Path) -> None:
    text = run("bpftool", "gen", "skeleton", write(tmp_path, sample()))
    for name in sample().programs:
        assert f"struct bpf_program *{name};" in text


@pytest.mark.parametrize("sample", [full, externs])
def test_bpftool_makes_light_skeletons(sample: Sample, tmp_path: Path, pins: Path) -> None:
    assert "sample__load(struct sample *skel)" in run(
        "bpftool", "gen", "skeleton", "-L", write(tmp_path, sample()), "name", "sample"
    )


@pytest.mark.parametrize("sample", [minimal, full, tables, externs])
def test_bpftool_reads_the_types(sample: Sample, tmp_path: Path) -> None:
    text = run("bpftool", "btf", "dump", "file", write(tmp_path, sample()))
    assert "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED" in text
    for name in sample().programs:
        assert f"FUNC '{name}'" in text


@pytest.mark.parametrize("sample", [minimal, full, tables, externs, lambda: full(False)])
def test_llvm_reads_everything(sample: Sample, tmp_path: Path) -> None:
    path = write(tmp_path, sample())
    assert "warning" not in run("llvm-readelf", "-aW", path)
    for name in sample().programs:
        assert f"<{name}>:" in run("llvm-objdump", "-dr", path)


@pytest.mark.parametrize("name", ["data", "calls", "tables", "kernel"])
def test_what_clang_made_loads_the_same_after_rewriting(name: str, tmp_path: Path, pins: Path) -> None:
    theirs = compile_c(name)
    spec = read_object(theirs)
    for entry in spec.maps.values():
        entry.pinning = Pinning.NONE  # bpftool would leave the pin behind
    (tmp_path / "ours.o").write_bytes(write_object(spec))
    (tmp_path / "theirs.o").write_bytes(theirs)
    tags: list[str] = []
    for path in ("ours.o", "theirs.o"):
        run("bpftool", "prog", "load", tmp_path / path, pins)
        tags.append(json.loads(run("bpftool", "--json", "prog", "show", "pinned", pins))["tag"])
        pins.unlink()
        (BPF_FILESYSTEM / "hashed").unlink(missing_ok=True)
    assert tags[0] == tags[1]


def test_tables_of_operations_register(tmp_path: Path, pins: Path) -> None:
    spec = read_object(compile_c("operations", '-DOPERATIONS=".struct_ops"'))
    (tmp_path / "sample.o").write_bytes(write_object(spec))
    run("bpftool", "struct_ops", "register", tmp_path / "sample.o")
    run("bpftool", "struct_ops", "unregister", "name", "mine")


def test_ip_and_tc_attach(tmp_path: Path, pins: Path) -> None:
    path = write(tmp_path, full())
    for tool in ("ip", "tc", "unshare"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    script = f"""set -e
        ip link set lo up
        ip link set lo xdpgeneric obj {path} sec xdp program count
        ip link show lo
        tc qdisc add dev lo clsact
        tc filter add dev lo ingress bpf da obj {path} sec tc
        tc filter show dev lo ingress
    """
    shown = run("unshare", "-n", "sh", "-c", script)
    assert "name count" in shown and "name look" in shown
