"""The kernel's test run: a program of the kernel on data that the caller gives."""

from __future__ import annotations

import ctypes
import errno

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.attrs import ProgRun
from pyebpf.runtime.errors import NotSupported, Phase
from pyebpf.runtime.privilege import program_need
from pyebpf.runtime.run_result import ON_PACKETS, ON_SKB, RunResult, check_input, longest_frame
from pyebpf.runtime.syscall import call, error
from pyebpf.uapi.constants import BpfCmd, ProgType

if TYPE_CHECKING:
    from typing import Final

    from pyebpf.runtime.program import LoadedProgram

_HEADROOM: Final = 4096 + 512
"""How much more data than it got a program may give back: an XDP program can grow the frame by about a
page."""


def run_in_kernel(
    program: LoadedProgram, data: bytes, repeat: int, ctx: bytes | None, flags: int, cpu: int
) -> RunResult:
    """What ``LoadedProgram.run`` does and raises."""
    data = check_input(program.type, data, repeat, ctx)
    ctx = None if ctx is None else bytes(ctx)
    attr = ProgRun(prog_fd=program.fd, flags=flags, cpu=cpu)
    packet = ctypes.create_string_buffer(data, max(len(data), 1))
    out = ctypes.create_string_buffer(len(data) + _HEADROOM)
    context = ctypes.create_string_buffer(ctx or b"", max(len(ctx or b""), 1))
    context_out = ctypes.create_string_buffer(ctx or b"", max(len(ctx or b""), 1))
    if data:
        attr.repeat = repeat
        attr.data_in, attr.data_size_in = ctypes.addressof(packet), len(data)
        attr.data_out, attr.data_size_out = ctypes.addressof(out), len(out)
    if ctx is not None:
        attr.ctx_in, attr.ctx_size_in = ctypes.addressof(context), len(ctx)
        if program.type in ON_PACKETS or program.type is ProgType.SK_LOOKUP:
            attr.ctx_out, attr.ctx_size_out = ctypes.addressof(context_out), len(ctx)
    result = call(BpfCmd.PROG_RUN, attr)
    if result < 0:
        raise _failure(program, -result, len(data))
    after = context if program.type is ProgType.SYSCALL else context_out
    return RunResult(
        verdict=ctypes.c_int32(attr.retval).value,
        data=out.raw[: attr.data_size_out] if data else b"",
        duration=attr.duration,
        ctx=after.raw[: len(ctx)] if ctx is not None else b"",
    )


def _failure(program: LoadedProgram, code: int, length: int) -> Exception:
    found = error(code, Phase.PROG_RUN, repr(program.name), need=program_need(program.type))
    if isinstance(found, NotSupported):
        found.detail = f"the kernel has no test run for {program.type.name} programs; attach it instead"
    elif code == errno.EINVAL and program.type in ON_SKB and length > longest_frame():
        found.detail = f"a test run takes frames of 14 to {longest_frame()} bytes, not {length}"
    elif code == errno.EINVAL:
        found.detail = "the kernel does not accept this data or this context for the program's type"
    return found
