"""Where functions may come from: files, IPython and notebook cells, factories; what is said where there is no text."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pyebpf as bpf

ROOT = Path(__file__).resolve().parents[2]


def make(limit: int) -> bpf.XdpProgram:
    """A program with a captured constant."""

    @bpf.xdp
    def limited(ctx: bpf.Xdp) -> int:
        return bpf.XDP_DROP if len(ctx) > limit else bpf.XDP_PASS

    return limited


def test_a_factory_makes_programs_from_parameters() -> None:
    small, large = make(100), make(1000)
    assert "100" in small.disassemble()
    assert "1000" in large.disassemble()


def test_indented_and_non_ascii_source_keeps_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "umlaut.py"
    path.write_text(
        textwrap.dedent(
            '''
            import pyebpf as bpf

            if True:
                @bpf.xdp
                def prüfen(ctx: bpf.Xdp) -> int:
                    """Grüße."""
                    größe = len(ctx); return größe + fehlt
            '''
        )
    )
    namespace: dict[str, object] = {"__name__": "umlaut"}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    program = namespace["prüfen"]
    assert isinstance(program, bpf.XdpProgram)
    with pytest.raises(bpf.CompileError) as refused:
        program.check()
    (found,) = refused.value.diagnostics
    line = path.read_text().splitlines()[found.span.line - 1]
    assert line[found.span.column - 1 : found.span.end_column - 1] == "fehlt"


def test_cells_of_ipython_compile_and_can_be_run_again() -> None:
    shell_module = pytest.importorskip("IPython.core.interactiveshell", reason="IPython is not installed")
    shell = shell_module.InteractiveShell.instance()
    cell = """
    @bpf.xdp
    def in_a_cell(ctx: bpf.Xdp) -> int:
        return {verdict} + zero
    """
    try:
        shell.run_cell("import pyebpf as bpf\nzero = 0").raise_error()
        for verdict in (1, 2):
            shell.run_cell(textwrap.dedent(cell.format(verdict=verdict))).raise_error()
            listing = shell.user_ns["in_a_cell"].disassemble()
            assert f"r0 = {verdict}" in listing
            assert "in_a_cell" in listing
    finally:
        shell_module.InteractiveShell.clear_instance()


def test_the_plain_prompt_keeps_no_text_and_the_error_says_so() -> None:
    typed = """
    import pyebpf as bpf
    @bpf.xdp
    def typed(ctx: bpf.Xdp) -> int:
        return 2

    try:
        typed.check()
        print("compiled")
    except bpf.CompileError as error:
        print(error)

    """
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=textwrap.dedent(typed),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    if sys.version_info >= (3, 13):  # from here on Python keeps what was typed
        assert "compiled" in done.stdout
    else:
        assert "the source of `typed` is not available" in done.stdout
        assert "put the function into a file" in done.stdout
