"""The process that runs LLVM: ``python -m pyebpf.backend.llvm_worker`` reads requests and writes answers.

LLVM ends the process over what it cannot compile, and may hit an assertion on the second module that it sees.
So each request is served by a child of its own. This process loads llvmlite once and then only forks, which takes a
few milliseconds. Nothing of pyebpf is imported here: the process starts with every compilation that needs it.

A request is a header of two numbers (level of the instruction set, length) and the text of a module in LLVM's
assembly; an answer is a status and a length, and an object file or a message.
"""

from __future__ import annotations

import enum
import os
import struct
import sys
import tempfile
from typing import BinaryIO, Final

REQUEST: Final = struct.Struct("<II")
ANSWER: Final = struct.Struct("<iI")
# A load that is put on the other ways to a join gives its value to a phi: of 32 bits where it is a pointer into
# the packet, which the verifier then takes for a number.
_OPTIONS: Final = ("-enable-load-pre=false",)


class Status(enum.IntEnum):
    """What became of a request, or of the start of the process, which is answered once without a request."""

    READY = 0  # the message is LLVM's version
    OBJECT = 1  # the message is the object file
    ERROR = 2  # LLVM refused the module; the message says why
    CRASH = 3  # LLVM ended the process by a signal
    MISSING = 4  # llvmlite cannot be imported; the process ends


def answer(stream: BinaryIO, status: Status, message: bytes) -> None:
    """Write one answer."""
    stream.write(ANSWER.pack(status, len(message)) + message)
    stream.flush()


def _compile(text: str, isa: int) -> bytes:
    """The object file of a module: LLVM's pipeline for -O2, and its BPF backend."""
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(text)
    module.verify()
    machine = llvm.Target.from_triple(module.triple).create_target_machine(
        cpu=f"v{isa}", opt=2, reloc="static", codemodel="default"
    )
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    found: bytes = machine.emit_object(module)
    return found


def _child(text: str, isa: int, output: int) -> None:
    """Serve one request and end. LLVM's own messages go to standard error, which is a file here."""
    code = 1
    try:
        found = _compile(text, isa)
        with os.fdopen(output, "wb") as stream:
            stream.write(found)
        code = 0
    except Exception as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
    finally:
        os._exit(code)


def _serve(text: str, isa: int) -> tuple[Status, bytes]:
    """Have a child compile ``text``."""
    come, go = os.pipe()
    with tempfile.TemporaryFile() as messages:
        child = os.fork()
        if child == 0:
            os.close(come)
            os.dup2(messages.fileno(), 2)
            _child(text, isa, go)
        os.close(go)
        with os.fdopen(come, "rb") as stream:
            found = stream.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        messages.seek(0)
        said = messages.read().strip()
    if status == 0 and b"error:" not in said:
        return Status.OBJECT, found
    if status < 0:
        return Status.CRASH, f"ended by signal {-status}\n".encode() + said
    return Status.ERROR, said or b"LLVM gave no reason"


def main() -> None:
    """Serve requests until there are no more."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        import llvmlite.binding as llvm
    except ImportError as error:
        answer(answers, Status.MISSING, str(error).encode())
        return
    for option in _OPTIONS:
        llvm.set_option("pyebpf", option)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    answer(answers, Status.READY, ".".join(map(str, llvm.llvm_version_info)).encode())
    while len(header := requests.read(REQUEST.size)) == REQUEST.size:
        isa, length = REQUEST.unpack(header)
        answer(answers, *_serve(requests.read(length).decode(), isa))


if __name__ == "__main__":
    main()
