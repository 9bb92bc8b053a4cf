"""Never stale: whatever a compilation depends on gives another key when it changes, and the same when it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import pyebpf as bpf
from pyebpf import cache, kernel
from pyebpf.declare import GlobalDecl, ProgramDecl
from pyebpf.diagnostics import CompileError
from pyebpf.driver import compile_programs
from pyebpf.fingerprint import Uncacheable, fingerprint
from pyebpf.ready import Ready
from pyebpf.target import Isa, Target
from tests.unit.cache.conftest import Import

ROOT = Path(__file__).resolve().parents[3]
TARGET = Target(kernel=(6, 1))

PROGRAM = """from __future__ import annotations
import enum
import pyebpf as bpf
from pyebpf import u8, u32, u64
import helper
from helper import OTHER, added

bpf.license("GPL")
LIMIT = 100
PAIR = (3, 4)
UNUSED = 5

class Kind(enum.IntEnum):
    FIRST = 11

@bpf.struct
class Record:
    count: u64
    last: u32

packets = bpf.HashMap[u32, Record](max_entries=64)
hits = bpf.Global[u64](7)
fixed = bpf.Const[u32](9)

def outer(captured):
    @bpf.socket_filter(on_error=bpf.KEEP)
    def program(skb: bpf.SkBuff) -> int:
        # the program
        value = added(LIMIT) + helper.DEPTH + captured + PAIR[1] + Kind.FIRST + OTHER + fixed.value
        length: u32 = u32(len(skb))
        record = packets.get(length)
        if record is not None:
            record.count += value
        hits.value += 1
        return 0
    return program

program = outer(21)
"""

HELPER = """from __future__ import annotations
DEPTH = 2
OTHER = 6
STEP = 1

def added(x: int) -> int:
    return x + STEP + deeper(x)

def deeper(x: int) -> int:
    return x ^ 5
"""


def program_of(module: ModuleType) -> ProgramDecl:
    """The declaration of its program."""
    found: ProgramDecl = module.program.__bpf__
    return found


def ready(module: ModuleType, target: Target = TARGET) -> tuple[Ready | None, bytes]:
    """What the cache has for the program now, and what compiling gives, which is stored."""
    decl = program_of(module)
    key = cache.key_of(decl, target)
    assert key is not None
    found = cache.find(key)
    compiled = compile_programs([decl], target)
    cache.store(key, compiled)
    return found, compiled.object.programs[decl.name].code


def test_the_same_again(user_module: Import, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    assert ready(user_module(PROGRAM))[0] is None
    found, code = ready(user_module(PROGRAM))
    assert found is not None and found.object.programs["program"].code == code
    assert [m.name for m in found.maps] == ["packets"]
    assert {g.name: g.section for g in found.globals} == {"hits": ".data", "fixed": ".rodata"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 100", "LIMIT = 101"),
        ("LIMIT = 100", "LIMIT = True"),
        ("PAIR = (3, 4)", "PAIR = (3, 5)"),
        ("FIRST = 11", "FIRST = 12"),
        ("outer(21)", "outer(22)"),
        ("count: u64", "count: bpf.i64"),
        ("last: u32", "last: u64"),
        ("max_entries=64", "max_entries=65"),
        ("HashMap[u32", "HashMap[u64"),
        ("bpf.HashMap", "bpf.LruHashMap"),
        ("Global[u64](7)", "Global[u64](8)"),
        ("Global[u64](7)", "Global[u32](7)"),
        ("Const[u32](9)", "Const[u32](10)"),
        ('license("GPL")', 'license("MIT")'),
        ("on_error=bpf.KEEP", "on_error=bpf.DROP"),
        ("hits.value += 1", "hits.value += 2"),
        ("bpf.socket_filter(on_error=bpf.KEEP)", "bpf.tc_ingress"),
        (
            "packets = bpf.HashMap[u32, Record](max_entries=64)",
            'packets = bpf.HashMap[u32, Record](max_entries=64, name="n")',
        ),
        ("hits = bpf", "extra = bpf.Global[u64](3)\nhits = bpf"),
        ("# the program", "# the same program"),
    ],
)
def test_a_change_of_the_module(old: str, new: str, user_module: Import, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    assert PROGRAM.count(old) >= 1
    ready(user_module(PROGRAM))
    found, _ = ready(user_module(PROGRAM.replace(old, new)))
    assert found is None
    assert ready(user_module(PROGRAM.replace(old, new)))[0] is not None
    assert ready(user_module(PROGRAM))[0] is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [("DEPTH = 2", "DEPTH = 3"), ("OTHER = 6", "OTHER = 7"), ("STEP = 1", "STEP = 2"), ("x ^ 5", "x ^ 6")],
)
def test_a_change_of_another_module(old: str, new: str, user_module: Import, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    _, code = ready(user_module(PROGRAM))
    del sys.modules["helper"]
    (tmp_path / "helper.py").write_text(
        HELPER.replace(old, new) + "# longer, so that no stale bytecode is used\n"
    )
    found, changed = ready(user_module(PROGRAM))
    assert found is None and changed != code


def test_values_that_change_while_the_process_runs(user_module: Import, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    module = user_module(PROGRAM)
    ready(module)
    ready(module)  # named now
    assert ready(module)[0] is not None
    changes: list[Callable[[], object]] = [
        lambda: setattr(module, "LIMIT", 55),
        lambda: setattr(module.fixed, "value", 56),
        lambda: setattr(module.hits, "value", 57),
        lambda: setattr(module.helper, "DEPTH", 58),
        lambda: setattr(module.helper, "STEP", 59),
        lambda: setattr(module.packets.__bpf__, "max_entries", 60),
    ]
    for change in changes:
        change()
        assert ready(module)[0] is None
        assert ready(module)[0] is not None


def test_other_targets_and_another_compiler(
    user_module: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    ready(user_module(PROGRAM))
    assert ready(user_module(PROGRAM), replace(TARGET, kernel=(6, 6)))[0] is None
    assert ready(user_module(PROGRAM), replace(TARGET, isa=Isa.V4))[0] is None
    assert ready(user_module(PROGRAM))[0] is not None
    monkeypatch.setattr("pyebpf.fingerprint._package", lambda: "another version")
    assert ready(user_module(PROGRAM))[0] is None


def test_a_local_annotation_is_a_dependency(user_module: Import, tmp_path: Path) -> None:
    """Annotations of local variables are in no code object, only in the text."""
    text = """from __future__ import annotations
import pyebpf as bpf
from pyebpf import u8, u16
Width = u8

@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    low: Width = Width(len(skb))
    return low
"""
    ready(user_module(text))
    assert ready(user_module(text))[0] is not None
    module = user_module(text)
    vars(module)["Width"] = module.u16
    assert ready(module)[0] is None


@pytest.mark.parametrize(
    "captured",
    [
        "object()",
        "iter([])",
        "helper.Lazy",
        "open(__file__)",
        "{object()}",
        "type('C', (), {'value': property(len)})",
    ],
)
def test_what_cannot_be_written_down_is_not_cached(
    captured: str, user_module: Import, tmp_path: Path
) -> None:
    (tmp_path / "helper.py").write_text("class Meta:\n    pass\nLazy = Meta()\n")
    module = user_module(
        f"""from __future__ import annotations
import helper
import pyebpf as bpf
strange = {captured}
value = 1

@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    return strange.value
"""
    )
    with pytest.raises(Uncacheable):
        fingerprint(program_of(module), TARGET)
    assert cache.key_of(program_of(module), TARGET) is None


def test_no_source_no_key(user_module: Import, tmp_path: Path) -> None:
    module = user_module("import pyebpf as bpf\n@bpf.socket_filter\ndef program(skb):\n    return 0\n")
    assert cache.key_of(program_of(module), TARGET) is not None
    (tmp_path / "program.py").unlink()
    assert cache.key_of(program_of(module), TARGET) is None


def test_a_function_that_the_walk_did_not_see_is_not_stored(user_module: Import, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    module = user_module(PROGRAM)
    key = cache.key_of(program_of(module), TARGET)
    assert key is not None
    key.functions[:] = [one for one in key.functions if not one[0].endswith("helper.py")]
    compiled = compile_programs([program_of(module)], TARGET)
    if compiled.unit.functions:
        cache.store(key, compiled)
        assert cache.find(key) is None


def test_a_variable_that_the_walk_did_not_see_is_not_stored(user_module: Import, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    module = user_module(PROGRAM)
    key = cache.key_of(program_of(module), TARGET)
    assert key is not None
    key.declarations[:] = [one for one in key.declarations if not isinstance(one, GlobalDecl)]
    cache.store(key, compile_programs([program_of(module)], TARGET))
    assert cache.find(key) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return 5", "return 66"),
        ("skb: bpf.SkBuff) -> int", "skb: bpf.SkBuff) -> bpf.u32"),
        ("x + 1", "x + 2"),
    ],
)
def test_a_file_that_was_edited_but_not_imported_again(
    old: str, new: str, user_module: Import, tmp_path: Path
) -> None:
    """Neither what is stored for the new text is taken for the old function, nor the other way round."""
    text = """from __future__ import annotations
import pyebpf as bpf

def helped(x: bpf.u32) -> bpf.u32:
    return bpf.u32(x + 1)

@bpf.socket_filter
def program(skb: bpf.SkBuff) -> int:
    if helped(bpf.u32(len(skb))) == 7:
        return 1
    return 5
"""
    edited = text.replace(old, new)
    assert edited != text
    ready(user_module(edited))
    ready(user_module(edited))  # named now
    assert ready(user_module(edited))[0] is not None
    module = user_module(text)
    ready(module)
    assert ready(module)[0] is not None
    (tmp_path / "program.py").write_text(edited)
    for _ in range(2):
        key = cache.key_of(program_of(module), TARGET)
        assert key is not None and cache.find(key) is None
        with pytest.raises(CompileError, match="has changed in its file since it was imported"):
            compile_programs([program_of(module)], TARGET)
    (tmp_path / "program.py").write_text(text)
    assert ready(module)[0] is not None


def test_the_key_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Also that of constants whose order is another in each process, and of bytecode from ``__pycache__``."""
    (tmp_path / "program.py").write_text(
        """import pyebpf as bpf
@bpf.socket_filter
def program(skb):
    if "a" in {"a", "b", "c", "d", b"e", 1, 2.5, None, ("f", "g")}:
        return 1
    return 0
"""
    )
    script = "import program, zlib; from pyebpf.fingerprint import *; from pyebpf.target import Target\n"
    script += "print(zlib.crc32(fingerprint(program.program.__bpf__, Target()).text.encode()))"
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONHASHSEED": str(seed),
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(told) == 1


def test_types_of_the_kernel_count() -> None:
    """A name for a type of the kernel, and how a program declares one itself, may come from another file."""

    def made(of: object) -> ProgramDecl:
        @bpf.kprobe("vfs_read")
        def program(where: int) -> None:
            print(f"{bpf.type_size(of)}")

        return program.__bpf__

    @bpf.kernel_struct
    class file___short:  # the kernel's name, with a flavor
        f_flags: bpf.u32

    first = file___short

    @bpf.kernel_struct
    class file___short:  # type: ignore[no-redef]  # the same name, another field
        f_mode: bpf.u32

    kinds = (kernel.task_struct, kernel.file, first, file___short, bpf.User)
    texts = [fingerprint(made(kind), TARGET).text for kind in kinds]
    assert len(set(texts)) == len(kinds)
    assert fingerprint(made(kernel.KernelType("file")), TARGET).text == texts[1]
