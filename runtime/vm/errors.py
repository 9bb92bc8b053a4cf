"""What a program can do wrong in the built-in machine: each a typed error that names the instruction and its line."""

from __future__ import annotations

from pyebpf.diagnostics import PyebpfError
from pyebpf.records import dataclass


@dataclass(frozen=True, slots=True)
class Where:
    """The place of an instruction: ``slot`` counts from the start of ``function``; file and line where the object has
    line information."""

    function: str
    slot: int
    file: str = ""
    line: int = 0
    text: str = ""

    def __str__(self) -> str:
        source = f"{self.file}:{self.line}: " if self.file else ""
        return f"{source}{self.function}, instruction {self.slot}"


class MachineError(PyebpfError):
    """A program did what the kernel would not have let it do. ``where`` is filled in by the machine; helpers raise
    without it."""

    def __init__(self, message: str, where: Where | None = None) -> None:
        self.message = message
        self.where = where
        super().__init__(message)

    def __str__(self) -> str:
        return self.message if self.where is None else f"{self.where}: {self.message}"


class OutOfBounds(MachineError):
    """A memory access outside of what the address belongs to, or to no memory at all."""


class ReadOnly(MachineError):
    """A write to memory that programs may only read."""


class Uninitialised(MachineError):
    """A read of a register that nothing was written to."""


class EndlessLoop(MachineError):
    """The program ran longer than the machine's budget of instructions."""


class MissingHelper(MachineError):
    """A call of a helper or kernel function that the machine does not have; the message names it."""


class BadArgument(MachineError):
    """A helper was given what it cannot work on: an address that is no map, a size that does not fit."""


class BadCode(MachineError):
    """Code that is no program: an unknown instruction, a jump to nowhere, calls nested too deep."""
