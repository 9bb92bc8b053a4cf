"""Programs that the kernel refuses, the logs that it wrote about them, and what pyebpf makes of those.

A case in ``rejections/`` is a source, the recorded ``.log``, and the rendered diagnostic ``.txt``. Sources are ``.py``
(compiled without run-time checks, unless their text says "with all checks"), ``.s`` (assembly) and ``.c`` (for clang);
there is none where the log was written by hand after the format of another release. ``error: E1101`` in a comment of the
source says by hand which code is to be told, and at which line.

    python -m tests.golden.rejected              # as root: record the logs anew on the running kernel
    pytest tests/unit/rejection --bless          # write the diagnostics anew; read the difference
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from pyebpf.backend.elf import read_object
from pyebpf.declare import LICENSES, ProgramDecl, declaration_of
from pyebpf.driver import compile_programs
from pyebpf.object import LineInfo, ObjectSpec
from pyebpf.records import dataclass
from pyebpf.runtime.errors import VerifierError
from pyebpf.runtime.load import load
from pyebpf.runtime.rejection.source import Source
from tests.golden.cases import sections
from tests.golden.rejected_source import read_assembly

FOLDER: Final = Path(__file__).parent / "rejections"
_EXPECTED: Final = re.compile(r"[#;/] error: (E\d{4})")
_LINE: Final = re.compile(r"(\d+) (.*?):(\d+):(\d+) ?(.*)")
_ADDRESS: Final = re.compile(r"0xffff[0-9a-f]{12}")
_KEPT_LINES: Final = 400
_CAPABILITIES: Final = {"SYS_ADMIN": 21, "PERFMON": 38, "NET_ADMIN": 12}


@dataclass(frozen=True, slots=True)
class Case:
    """One refused program. ``path``: of its log; ``source``: of what it was made from, if that is kept."""

    name: str
    path: Path
    source: Path | None

    @property
    def golden(self) -> Path:
        """The rendered diagnostic."""
        return self.path.with_suffix(".txt")

    @property
    def expected(self) -> tuple[str, int]:
        """The code that is to be told, and its line of the source."""
        if self.source is None:
            code, line = json.loads(sections(self.path)["about"])["expected"]
            return str(code), int(line)
        for number, text in enumerate(self.source.read_text().splitlines(), 1):
            found = _EXPECTED.search(text)
            if found:
                return found[1], number
        raise AssertionError(f"{self.source} does not say what it expects")


def cases() -> list[Case]:
    """All cases that have a source or a log, by name."""
    sources = {p.stem: p for suffix in ("py", "s", "c") for p in FOLDER.glob(f"*.{suffix}")}
    names = sorted({*sources, *(p.stem for p in FOLDER.glob("*.log"))})
    return [Case(name, FOLDER / f"{name}.log", sources.get(name)) for name in names]


# ---------------------------------------------------------------- provoking


def object_of(path: Path) -> tuple[ObjectSpec, tuple[str, ...]]:
    """The object of a source, and the capabilities that the loading process is to give up."""
    match path.suffix:
        case ".s":
            assembled = read_assembly(path)
            return assembled.spec, assembled.without
        case ".c":
            return read_object(_compile_c(path)), ()
        case _:
            checks = "with all checks" in path.read_text()
            return compile_programs([_program_of(path)], checks=checks).object, ()


def _compile_c(path: Path) -> bytes:
    clang = shutil.which("clang") or shutil.which("clang-14")
    assert clang is not None, "clang is needed"
    command = [clang, "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c", str(path), "-o", "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _program_of(path: Path) -> ProgramDecl:
    name = f"golden_rejections_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    LICENSES.pop(name, None)
    spec.loader.exec_module(module)
    declared = [declaration_of(value) for value in vars(module).values()]
    (program,) = [d for d in declared if isinstance(d, ProgramDecl)]
    return program


def provoke(path: Path, log_level: int = 0) -> VerifierError:
    """Load the program of a source and return how the kernel refuses it; whoever calls needs root."""
    spec, without = object_of(path)
    if without:
        return _provoke_with_less(spec, without)
    try:
        load(spec, log_level=log_level).close()
    except VerifierError as error:
        return error
    raise AssertionError(f"{path.name}: the kernel took the program")


def _provoke_with_less(spec: ObjectSpec, without: tuple[str, ...]) -> VerifierError:
    """The same in a child process that gives up capabilities first."""
    with tempfile.TemporaryFile("w+") as file:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                _give_up(without)
                try:
                    load(spec).close()
                except VerifierError as error:
                    json.dump(_plain(error), file)
                    file.flush()
            os._exit(0)
        os.waitpid(child, 0)
        file.seek(0)
        return _error(json.load(file))


def _give_up(names: tuple[str, ...]) -> None:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    data = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, data) == 0
    for name in names:
        number = _CAPABILITIES[name]
        for part in range(3):  # effective, permitted, inheritable; two words each, interleaved
            data[number // 32 * 3 + part] &= ~(1 << number % 32) & 0xFFFFFFFF
    assert libc.capset(header, data) == 0


# ---------------------------------------------------------------- logs on disk


def _plain(error: VerifierError) -> dict[str, object]:
    source = error.source
    assert source is not None
    return {
        "errno": error.errno,
        "advice": error.detail,
        "program": source.program,
        "kind": source.kind,
        "functions": [list(pair) for pair in source.functions],
        "lines": [[n.slot, n.file, n.line, n.column, n.text] for n in source.lines],
        "log": error.log,
    }


def _error(told: dict[str, Any]) -> VerifierError:
    source = Source(
        told["program"],
        told["kind"],
        tuple(LineInfo(*line) for line in told["lines"]),
        tuple((slot, name) for slot, name in told["functions"]),
    )
    error = VerifierError(told["errno"], told["program"], told["log"], source)
    error.detail = told["advice"]
    return error


def text_of(error: VerifierError, how: str) -> str:
    """The contents of a ``.log`` file: four sections. Addresses are made the same, long logs are cut to their end."""
    told = _plain(error)
    log = _ADDRESS.sub("0xffff000000000000", str(told["log"])).splitlines()
    about = {key: told[key] for key in ("errno", "advice", "program", "kind")}
    source = error.source
    assert source is not None
    parts = {
        "about": json.dumps({"how": how, **about}),
        "functions": "\n".join(f"{slot} {name}" for slot, name in source.functions),
        "lines": "\n".join(
            f"{n.slot} {Path(n.file).name}:{n.line}:{n.column} {n.text}" for n in source.lines
        ),
        "log": "\n".join(log[-_KEPT_LINES:]),
    }
    return "\n".join(f"==== {name}\n{text}".rstrip() for name, text in parts.items()) + "\n"


def read_log(path: Path) -> VerifierError:
    """The refusal that a ``.log`` file holds; its lines are of files in its folder."""
    parts = sections(path)
    about = json.loads(parts["about"])
    lines = []
    for text in parts["lines"].splitlines():
        found = _LINE.fullmatch(text)
        if found:
            slot, file, line, column, line_text = found.groups()
            lines.append([int(slot), str(path.parent / file), int(line), int(column), line_text])
    functions = [text.split() for text in parts["functions"].splitlines() if text]
    return _error(
        {
            **about,
            "functions": [(int(slot), name) for slot, name in functions],
            "lines": lines,
            "log": parts["log"],
        }
    )


def main() -> None:
    """Record every case that has a source, or those named."""
    parser = argparse.ArgumentParser(description="Record the logs of refused programs on the running kernel.")
    parser.add_argument("names", nargs="*")
    wanted = parser.parse_args().names
    how = f"recorded on Linux {os.uname().release.partition('-')[0]}"
    for case in cases():
        if case.source is not None and (not wanted or case.name in wanted):
            case.path.write_text(text_of(provoke(case.source), how))
            print(case.name)


if __name__ == "__main__":
    main()
