"""The process that runs LLVM: what it answers, how it fails, and who may share it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pyebpf.backend import llvm_process
from pyebpf.backend.elf_file import SymbolType, parse
from pyebpf.backend.llvm_process import (
    LlvmCrashed,
    LlvmError,
    LlvmMissing,
    LlvmRefused,
    LlvmStackTooLarge,
    compile_text,
)
from pyebpf.target import Isa

_HEAD = 'target triple = "bpfel"\n'


def named(name: str, body: str = "ret i64 0") -> str:
    """A module with one function."""
    return f'{_HEAD}define i64 @{name}(ptr %p, i64 %a) section "xdp" {{\n  {body}\n}}\n'


def functions(data: bytes) -> list[str]:
    """The functions of an object file."""
    return [s.name for s in parse(data).symbols if s.type is SymbolType.FUNC]


def test_many_modules_one_after_the_other() -> None:
    for number in range(30):
        assert functions(compile_text(named(f"f{number}"), Isa.V3)) == [f"f{number}"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("nonsense", LlvmRefused, "expected top-level entity"),
        (named("f", "ret i32 0"), LlvmRefused, "function result type"),
        (named("f", "%q = sdiv i64 %a, 3\n  ret i64 %q"), LlvmRefused, "unsupported signed division"),
        (named("f", "%x = alloca i64\n  br label %nowhere"), LlvmRefused, "nowhere"),
        (
            named(
                "f", "%x = alloca [600 x i8]\n  %r = call i64 inttoptr (i64 1 to ptr)(ptr %x)\n  ret i64 %r"
            ),
            LlvmStackTooLarge,
            "BPF stack limit",
        ),
    ],
    ids=["syntax", "types", "division", "label", "stack"],
)
def test_refusals(text: str, error: type[LlvmError], message: str) -> None:
    with pytest.raises(error, match=message):
        compile_text(text, Isa.V3)
    assert functions(compile_text(named("next"), Isa.V3)) == ["next"]


def test_a_crash_costs_one_module_only() -> None:
    # The object writer has no assembler for the target and gives up by itself.
    with pytest.raises(LlvmCrashed, match="ended by signal 6\nLLVM ERROR: Inline asm not supported"):
        compile_text(named("f", 'call void asm sideeffect "nonsense", ""()\n  ret i64 0'), Isa.V3)
    assert functions(compile_text(named("next"), Isa.V3)) == ["next"]


def test_a_process_that_was_ended_is_started_again() -> None:
    compile_text(named("first"), Isa.V3)
    process = llvm_process._workers[os.getpid()].process
    process.kill()
    process.wait()
    assert functions(compile_text(named("second"), Isa.V3)) == ["second"]


def test_an_end_in_the_middle_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_text(named("first"), Isa.V3)
    worker = llvm_process._workers[os.getpid()]
    worker.process.kill()
    with pytest.raises(LlvmCrashed, match="status -9"):
        worker.ask(3, named("f").encode())


def test_threads_take_turns() -> None:
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        for _ in range(5):
            found[number] = functions(compile_text(named(f"t{number}"), Isa.V3))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [f"t{n}"] for n in range(4)}


def test_a_fork_has_a_process_of_its_own() -> None:
    compile_text(named("before"), Isa.V3)
    come, go = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(go, ",".join(functions(compile_text(named("child"), Isa.V3))).encode())
            llvm_process._stop()
        finally:
            os._exit(0)
    os.close(go)
    mine = [functions(compile_text(named(f"p{n}"), Isa.V3)) for n in range(10)]
    with os.fdopen(come) as stream:
        assert stream.read() == "child"
    os.waitpid(child, 0)
    assert mine == [[f"p{n}"] for n in range(10)]


_LEAVES_A_CHILD = """
import os, sys, time
from pyebpf.backend.llvm_process import compile_text
from pyebpf.target import Isa
compile_text(sys.argv[1], Isa.V3)
child = os.fork()
if child == 0:
    os.close(1)
    time.sleep(60)
    os._exit(0)
print(child)
"""


def test_the_end_does_not_wait_for_forks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LEAVES_A_CHILD, named("f")],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p)),
        stdout=subprocess.PIPE,
        check=True,
        timeout=30,
    )
    os.kill(int(done.stdout), signal.SIGKILL)


def stub(folder: Path, binding: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another llvmlite before the real one; ``binding`` is its module, None for none at all."""
    package = folder / "llvmlite"
    package.mkdir()
    package.joinpath("__init__.py").write_text(
        "" if binding is not None else "raise ImportError('no such thing')"
    )
    package.joinpath("binding.py").write_text(binding or "")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(llvm_process, "_workers", {})


def test_without_llvmlite_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(tmp_path, None, monkeypatch)
    with pytest.raises(LlvmMissing, match=r"no such thing.*pip install '\.\[llvm\]'"):
        compile_text(named("f"), Isa.V3)


def test_an_old_llvm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "llvm_version_info = (14, 0, 6)",
        "initialize_all_targets = initialize_all_asmprinters = set_option = lambda *_: None",
    )
    stub(tmp_path, "\n".join(lines), monkeypatch)
    with pytest.raises(LlvmMissing, match=r"its LLVM is 14\.0\.6"):
        compile_text(named("f"), Isa.V3)
