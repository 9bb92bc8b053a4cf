"""What a guest runs, as the image of a disk: this Python, pytest, what pyebpf needs, and the checkout.

The guest could see all of it in the host's file system, but there each look at a file is a question to the host: starting
pytest took 25 to 50 seconds under emulation, and takes 4 from a disk of its own.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT: tuple[str, ...] = (
    "pyebpf",
    "frontend",
    "backend",
    "runtime",
    "tests",
    "samples",
    "benchmarks",
    "pyproject.toml",
)
DISTRIBUTIONS = ("pytest", "astroid", "pyelftools")
"""They come with all that they need."""

LEFT_OUT = {
    "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "dist-packages", "test", "tkinter", "turtledemo",
}  # fmt: skip
"""Folders of Python's library that no test in a guest needs."""

TOOLS = ("ip",)
"""Commands that tests run often."""

PYTHON = "python3"
LAYOUT = {"library": "home/lib", "packages": "site", "checkout": "checkout", "objects": "so", "tools": "bin"}
"""Where the parts are on the disk."""


def environment(at: str) -> dict[str, str]:
    """What a process needs to know in order to find all this when the disk is mounted at ``at``."""
    return {
        "PYTHONHOME": f"{at}/home",
        "PYTHONPATH": f"{at}/{LAYOUT['checkout']}:{at}/{LAYOUT['packages']}",
        "LD_LIBRARY_PATH": f"{at}/{LAYOUT['objects']}",
        "PATH": f"{at}/{LAYOUT['tools']}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }


def write_stage(image: Path) -> None:
    """Make the image, with all bytecode in it: compiling is slow in a guest."""
    with tempfile.TemporaryDirectory(dir=image.parent) as temporary:
        tree = Path(temporary)
        _collect(tree)
        subprocess.run(
            [sys.executable, "-m", "compileall", "-qq", *(str(tree / part) for part in LAYOUT.values())],
            check=False,  # there are files in packages and tests that are no Python
            capture_output=True,
        )
        used = sum(file.lstat().st_size // 4096 + 2 for file in tree.rglob("*")) * 4096
        subprocess.run(
            [
                "mke2fs",
                "-q",
                "-t",
                "ext2",
                "-b",
                "4096",
                "-m",
                "0",
                "-d",
                str(tree),
                str(image),
                f"{used // 1024 + 16384}k",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )


def _collect(tree: Path) -> None:
    """Copy all parts into one folder, with their times: those are what bytecode is checked by."""
    (tree / LAYOUT["objects"]).mkdir()
    (tree / LAYOUT["tools"]).mkdir()
    _copy_program(Path(sys.executable), tree / PYTHON, tree / LAYOUT["objects"])
    for tool in TOOLS:
        found = shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if found is not None:
            _copy_program(Path(found), tree / LAYOUT["tools"] / tool, tree / LAYOUT["objects"])
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, tree / LAYOUT["library"] / library.name, symlinks=True, ignore=_left_out)
    for file in distribution_files(DISTRIBUTIONS):
        located = Path(str(file.locate()))
        if ".." not in file.parts and located.is_file():
            copy = tree / LAYOUT["packages"] / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(located, copy)
    for name in CHECKOUT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / LAYOUT["checkout"] / name, symlinks=True)
        else:
            shutil.copy2(ROOT / name, tree / LAYOUT["checkout"] / name)


def _copy_program(program: Path, to: Path, objects: Path) -> None:
    """With the libraries that it is linked with."""
    shutil.copy2(program.resolve(), to)
    for needed in _shared_objects(program.resolve()):
        shutil.copy2(needed, objects / needed.name)


def _left_out(folder: str, names: list[str]) -> list[str]:
    """What ``shutil.copytree`` shall not copy of Python's library."""
    return [name for name in names if name in LEFT_OUT or name.startswith("config-") or name.endswith(".a")]


def _shared_objects(program: Path) -> Iterator[Path]:
    """The libraries that a program is linked with."""
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    for path in re.findall(r"=> (/\S+)", told):
        yield Path(path)


def distribution_files(names: tuple[str, ...]) -> Iterator[importlib.metadata.PackagePath]:
    """The installed files of distributions and of what they require."""
    waiting, known = list(names), set[str]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in known:
            continue
        known.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # required on other systems only
        yield from found.files or ()
        for requirement in found.requires or ():
            spelled = re.match(r"[\w.-]+", requirement)
            if spelled and "extra ==" not in requirement:
                waiting.append(spelled[0])
