"""``BPF_BTF_LOAD`` and ``BPF_PROG_LOAD``: the attributes, and the protocol of the log.

A program is loaded without a log first, since writing one takes time; if that fails it is loaded again with
one. A buffer that is too small makes the load fail even if the program is good, so it is grown until the
log fits.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Mapping, Sequence

from pyebpf.hints import TYPE_CHECKING
from pyebpf.object import SLOT_BYTES, PreparedProgram
from pyebpf.records import replace
from pyebpf.runtime.attrs import BtfLoad, ProgLoad, address
from pyebpf.runtime.errors import BpfError, ObjectError, PermissionDenied, Phase, VerifierError
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.map_create import kernel_name
from pyebpf.runtime.privilege import Need, lacking, program_need, setcap_command
from pyebpf.runtime.syscall import bpf_fd, call, call_retrying, error
from pyebpf.uapi.constants import BpfCmd, ProgType

if TYPE_CHECKING:
    from typing import Final


_FIRST_LOG: Final = 64 << 10
_WANTED_LOG: Final = 1 << 20
_LARGEST_LOG: Final = 1 << 30  # the kernel's limit is UINT_MAX >> 2
_ON_FAILURE: Final = 1


def load_btf(data: bytes) -> Fd:
    """Load type information. Raises ``BpfError`` with the kernel's log."""
    attr = BtfLoad(btf=address(data), btf_size=len(data))
    try:
        return bpf_fd(BpfCmd.BTF_LOAD, attr, Phase.BTF_LOAD)
    except BpfError as first:
        log = ctypes.create_string_buffer(_FIRST_LOG)
        attr.btf_log_buf, attr.btf_log_size, attr.btf_log_level = ctypes.addressof(log), _FIRST_LOG, 1
        call(BpfCmd.BTF_LOAD, attr)
        first.log = _text(log)
        raise


def _text(log: ctypes.Array[ctypes.c_char]) -> str:
    return log.value.decode("utf-8", "replace")


def load_program(
    prepared: PreparedProgram,
    resolved: bytearray,
    license_: str,
    *,
    types: Fd | None,
    types_data: bytes = b"",
    log_level: int,
    place: tuple[int, int] = (0, 0),
    modules: Sequence[int] = (),
    missing: Mapping[int, str] | None = None,
) -> tuple[Fd, str]:
    """Load a program, whose code is ``resolved`` now; return its descriptor and the verifier's log (empty at ``log_level`` 0).

    ``types``: the loaded type information, if the kernel took it; ``types_data``: its bytes, which tell where the
    instructions of a refused program come from. ``place``: BTF id, and descriptor of the module, of what the program is for.
    ``modules``: the table of descriptors for calls of modules. ``missing``: what the kernel lacks, by instruction.
    ``log_level``: bits 1 (messages), 2 (every instruction), 4
    (statistics), 8 (keep the head of a log too long). Raises ``VerifierError``, ``PermissionDenied`` or another ``BpfError``.
    """
    program = prepared.program
    if program.prog_type is ProgType.UNSPEC:
        raise ObjectError(
            f"the type of program {program.name!r} is not known from its section {program.section!r}; set it "
            "before loading"
        )
    code, text = bytes(resolved), license_.encode()
    attr = ProgLoad(
        prog_type=program.prog_type,
        insn_cnt=len(resolved) // SLOT_BYTES,
        insns=address(code),
        license=address(text),
        prog_flags=program.flags,
        prog_name=kernel_name(program.name),
        expected_attach_type=program.attach_type or 0,
        kern_version=_release() if program.prog_type is ProgType.KPROBE else 0,
        attach_btf_id=place[0],
        attach_btf_obj_fd=place[1],
    )
    if modules:
        table = (ctypes.c_int32 * len(modules))(*modules)
        attr.fd_array = ctypes.addressof(table)
    if types is not None and (prepared.func_info or prepared.line_info):
        attr.prog_btf_fd = types.fileno()
    if types is not None and prepared.func_info:
        attr.func_info, attr.func_info_rec_size = address(prepared.func_info), 8
        attr.func_info_cnt = len(prepared.func_info) // 8
    if types is not None and prepared.line_info:
        attr.line_info, attr.line_info_rec_size = address(prepared.line_info), 16
        attr.line_info_cnt = len(prepared.line_info) // 16
    if log_level == 0:
        result = call_retrying(BpfCmd.PROG_LOAD, attr)
        if result >= 0:
            return Fd(result), ""
        result, log = _load_logged(attr, _ON_FAILURE, _FIRST_LOG)
    else:
        result, log = _load_logged(attr, log_level, _WANTED_LOG)
    if result >= 0:
        # Without a wish for a log this is a load that failed only for the moment: out of memory, a signal.
        return Fd(result), log if log_level else ""
    raise _failure(-result, prepared, len(resolved) // SLOT_BYTES, log, types_data, missing)


def _load_logged(attr: ProgLoad, level: int, size: int) -> tuple[int, str]:
    """Load with a log of at least ``size`` bytes; the result and the log."""
    while True:
        log = ctypes.create_string_buffer(size)
        attr.log_level, attr.log_buf, attr.log_size = level, ctypes.addressof(log), size
        attr.log_true_size = 0
        result = call_retrying(BpfCmd.PROG_LOAD, attr)
        if result != -errno.ENOSPC or size >= _LARGEST_LOG:
            return result, _text(log)
        # Linux 6.4 tells how much it wanted to write.
        size = min(max(attr.log_true_size + 1, size * 4), _LARGEST_LOG)


def _release() -> int:
    """The release of the running kernel, which those before 5.0 compare."""
    from pyebpf.runtime.kernel_config import kernel_version

    return kernel_version()


def _failure(
    code: int,
    prepared: PreparedProgram,
    instructions: int,
    log: str,
    types_data: bytes,
    missing: Mapping[int, str] | None,
) -> BpfError:
    program = prepared.program
    if log.strip():
        from pyebpf.runtime.rejection.source import read_source

        source = read_source(
            program.name, program.prog_type.name, prepared.func_info, prepared.line_info, types_data
        )
        source = replace(source, missing=tuple((missing or {}).items()))
        refused = VerifierError(code, program.name, log, source)
        if "!root" in log and (caps := lacking(Need.PERFMON)):
            command = setcap_command(caps)
            refused.detail = (
                f"the verifier allows this with CAP_PERFMON, which this process lacks; `{command}`"
            )
        return refused
    found = error(code, Phase.PROG_LOAD, repr(program.name), need=program_need(program.prog_type))
    attach = program.attach_type.name if program.attach_type is not None else "none"
    if isinstance(found, PermissionDenied):
        return found
    if code == errno.EINVAL:
        found.detail = (
            "the kernel refused the request before looking at the code: it does not know or combine "
            f"program type {program.prog_type.name}, attach type {attach} and flags {program.flags:#x}"
        )
    elif code == errno.E2BIG:
        found.detail = f"{instructions} instructions, or a field that this kernel does not know"
    return found
