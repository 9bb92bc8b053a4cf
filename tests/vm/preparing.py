"""What tests in guests need from the host: compiling is slow under emulation, and the host knows what is right.

A module ``tests/vm/guest/test_x.py`` may have a function ``prepare(folder)``; the host calls it before the boots, and the
fixture ``prepared`` is that folder in the guest.
"""

from __future__ import annotations

import importlib
from pathlib import Path

GUEST = Path(__file__).with_name("guest")


def prepare_one(name: str, folder: Path) -> Path:
    """Let the module called ``name`` prepare its things in ``folder``, which is returned."""
    module = importlib.import_module(f"tests.vm.guest.{name}")
    if hasattr(module, "prepare"):
        folder.mkdir()
        module.prepare(folder)
    return folder


def prepare_all(exchange: Path) -> None:
    """Every module's things, each in the folder of its name."""
    for path in sorted(GUEST.glob("test_*.py")):
        prepare_one(path.stem, exchange / path.stem)
