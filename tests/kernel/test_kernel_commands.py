"""``pyebpf hooks``, ``list`` and ``stubs``: what they say of this kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pyebpf as bpf
from pyebpf import u32, u64
from pyebpf.cli import main
from tests import usdt_shop

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="asking for what is loaded needs root")

counted = bpf.ArrayMap[u32, u64](max_entries=3)


@bpf.xdp
def passes_all(ctx: bpf.Xdp) -> int:
    counted[0] += 1
    return bpf.XDP_PASS


def said(capsys: pytest.CaptureFixture[str], *words: str | Path, status: int = 0) -> str:
    """What a command prints, or what is wrong."""
    assert main([str(word) for word in words]) == status
    printed = capsys.readouterr()
    return printed.err if status else printed.out


def test_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "hooks", "vfs_read")
    assert "kernel function vfs_read\n    arguments: file: struct file *, buf: char *" in text
    (hook,) = json.loads(said(capsys, "hooks", "--json", "vfs_read"))
    assert [one["name"] for one in hook["arguments"]] == ["file", "buf", "count", "pos"]
    assert said(capsys, "hooks", "vfs_raed", status=1).endswith(
        "did you mean `vfs_read` or `vfs_readv` or `vfs_write` or `vfs_rmdir`?\n"
    )
    assert "did you mean `openat`" in said(capsys, "hooks", "opneat", status=1)


def test_hooks_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shop = usdt_shop.build(tmp_path)
    text = said(capsys, "hooks", "*o*", "--in", shop)
    assert "function work\n    arguments: not known\n    usable by: uprobe, uretprobe" in text
    vector = "USDT probe shop:vector\n    arguments: u32, u64\n    usable by: usdt\n    not by usdt: for argument 2"
    assert vector in text
    (hook,) = json.loads(said(capsys, "hooks", "--json", "sale", "--in", shop))
    assert (hook["name"], [one["type"] for one in hook["arguments"]]) == ("shop:sale", ["i32", "u64", "i8"])
    assert json.loads(said(capsys, "hooks", "--json", "shop:s*", "--in", shop))[1]["name"] == "shop:stock"
    assert "did you mean `malloc`" in said(capsys, "hooks", "mallok", "--in", "libc", status=1)
    assert "did you mean `shop:sale`" in said(capsys, "hooks", "shop:sail", "--in", shop, status=1)
    assert "it only chooses among implementations" in said(capsys, "hooks", "strlen", "--in", "libc")
    assert "usable by" not in said(capsys, "hooks", "strlen", "--in", "libc")
    assert "there is no library or executable" in said(capsys, "hooks", "x", "--in", "no-such", status=1)


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    with passes_all.load() as program:
        facts = program.info()
        number, map_number = facts.id, facts.map_ids[0]
        words = next(
            line.split()
            for line in said(capsys, "list", "progs").splitlines()
            if line.startswith(f"{number} ")
        )
        assert words[1:3] == ["xdp", "passes_all"]
        assert words[-1] == str(map_number)
        (entry,) = [
            one for one in json.loads(said(capsys, "list", "maps", "--json")) if one["id"] == map_number
        ]
        assert (entry["name"], entry["max_entries"]) == ("counted", 3)
        assert said(capsys, "list", "links").split()[:4] == ["ID", "TYPE", "PROGRAM", "WHERE"]
    passes_all.close()


SOURCE = """
import pyebpf as bpf
from pyebpf.kernel import (
    task_struct,  # it has a name (its own)
    pid_t, file as opened,
)

def program(task: task_struct, of: opened, pid: pid_t) -> None:
    reveal_type(task.mm.owner.pid)
    reveal_type(of.f_inode.i_ino)
    reveal_type(task.comm)
    reveal_type(pid)
    task.no_such_field
"""


def test_stubs_are_what_type_checkers_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, typings = tmp_path / "traces.py", tmp_path / "typings"
    source.write_text(SOURCE)
    assert said(capsys, "stubs", str(source), "-o", str(typings)).endswith("file, pid_t, task_struct\n")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"stubPath": "typings"}))
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "-p", tmp_path, source],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    told = [one["message"] for one in json.loads(done.stdout)["generalDiagnostics"]]
    types = [message.rpartition(" is ")[2].strip('"') for message in told if message.startswith("Type of")]
    assert types[:4] == ["int", "int", "bytes", "int"]
    assert any('"no_such_field"' in message for message in told), told


def test_stubs_of_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "traces.py"
    source.write_text("x = 1\nfrom pyebpf.kernel import sock, task_strut\n")
    text = said(capsys, "stubs", str(source), "-o", str(tmp_path), status=1)
    assert f"{source}:2:33: this kernel has no type 'task_strut'; did you mean `task_struct`" in text
    source.write_text("x = 1\n")
    assert "none of the files imports a type" in said(capsys, "stubs", str(source), status=1)
    source.write_text("x = = 1\n")
    assert "this is no Python" in said(capsys, "stubs", str(source), status=1)
