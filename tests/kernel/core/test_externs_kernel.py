"""Externs and places in the running kernel: configuration, symbols, functions, tracepoints and iterators."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyebpf import btf
from pyebpf.backend.elf import read_object
from pyebpf.object import Extern, Relocation, RelocKind
from pyebpf.runtime.attach_target import attach_target
from pyebpf.runtime.errors import BpfError, ObjectError, UnsupportedObject, VerifierError
from pyebpf.runtime.info import kernel_release, program_facts
from pyebpf.runtime.kernel_btf import vmlinux
from pyebpf.runtime.kernel_config import kernel_config
from pyebpf.runtime.kernel_modules import module_btf, module_types, modules
from pyebpf.runtime.load import load
from pyebpf.runtime.syscall_wrapper import has_syscall_wrapper
from pyebpf.uapi.constants import AttachType, ProgType
from tests.kernel.core.loading import an_object, loaded, values
from tests.kernel.runtime.objects import address, exit_, mov, program, returns
from tests.kernel.runtime.objects import an_object as by_hand
from tests.kernel.runtime.places import open_fds

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")


def symbol(name: str) -> int:
    """The address of a symbol, by /proc/kallsyms."""
    for line in Path("/proc/kallsyms").read_text().splitlines():
        if line.split()[2] == name:
            return int(line.split()[0], 16)
    raise LookupError(name)


def test_externs_have_the_values_of_the_kernel() -> None:
    config = kernel_config()
    assert config is not None
    with loaded("externs") as found:
        found.programs["externs"].run()
        got = values(found)
        section = found.data[".kconfig"]
        assert section.read("CONFIG_HZ") == int(config["CONFIG_HZ"])
        with pytest.raises(BpfError, match="frozen"):
            section.write("CONFIG_HZ", 1)
    major, minor, _ = kernel_release()
    assert got[0] >> 8 == major << 8 | minor
    assert got[1:8] == [has_syscall_wrapper(), 1, 0, 1, 1, 0, int(config["CONFIG_HZ"])]
    assert chr(got[8]) == config["CONFIG_CC_VERSION_TEXT"][1]
    assert chr(got[9]) == config["CONFIG_NET"]
    assert got[10:14] == [symbol("schedule"), 0, 0, 0]


@pytest.mark.parametrize(
    ("extern", "message"),
    [
        (Extern("CONFIG_NO_SUCH_OPTION", ".kconfig", btf.INT), "'CONFIG_NO_SUCH_OPTION' is not set"),
        (
            Extern("LINUX_UNHEARD_OF", ".kconfig", btf.INT),
            "'LINUX_UNHEARD_OF' is no kernel configuration value",
        ),
        (Extern("hz", ".kconfig", btf.INT, weak=True), "'hz' is no kernel configuration value"),
        (Extern("CONFIG_HZ", ".kconfig", btf.BOOL), r"'CONFIG_HZ' is \d+ .* _Bool cannot hold"),
        (Extern("no_such_symbol", ".ksyms", btf.Const(None)), "no symbol 'no_such_symbol'"),
        (Extern("no_such_variable", ".ksyms", btf.INT), "no variable 'no_such_variable'"),
    ],
)
def test_what_the_kernel_does_not_have_is_told(extern: Extern, message: str) -> None:
    code = program(
        [address(1), mov(0, 0), exit_], relocations=(Relocation(0, RelocKind.EXTERN, extern.name),)
    )
    spec = by_hand(code)
    spec.externs[extern.name] = extern
    before = open_fds()
    with pytest.raises(ObjectError, match=message):
        load(spec)
    assert open_fds() == before
    spec.programs["prog"] = returns(0)  # what no code refers to need not be there
    load(spec).close()


def test_a_typed_variable_is_found_by_its_type() -> None:
    name = next(iter(vmlinux().names(btf.Kind.VAR)))
    code = program([address(1), mov(0, 0), exit_], relocations=(Relocation(0, RelocKind.EXTERN, name),))
    spec = by_hand(code)
    spec.externs[name] = Extern(name, ".ksyms", btf.FuncProto(None))
    with pytest.raises(ObjectError, match=f"kernel variable '{name}': the object declares"):
        load(spec)
    found = vmlinux().find(name, btf.Kind.VAR)
    assert isinstance(found, btf.Var) and found.type is not None
    spec.externs[name] = Extern(name, ".ksyms", found.type)
    if (kernel_config() or {}).get("CONFIG_KALLSYMS_ALL") == "y":
        load(spec).close()
        return
    with pytest.raises(VerifierError) as caught:
        load(spec)
    assert caught.value.diagnostic.message == f"this kernel does not tell where its variable `{name}` is"


def test_programs_for_tracepoints_and_iterators_are_loaded() -> None:
    with loaded("places") as found:
        assert {program_facts(p.handle).type for p in found.programs.values()} == {ProgType.TRACING}
    spec = read_object(an_object("places"))
    target = attach_target(spec.programs["switches"])
    assert vmlinux().ids("btf_trace_sched_switch", btf.Kind.TYPEDEF)[0] == target.id and not target.module


@pytest.mark.parametrize(
    ("section", "attach_type", "message"),
    [
        (
            "tp_btf/sched_swich",
            AttachType.TRACE_RAW_TP,
            r"no tracepoint 'sched_swich'; did you mean 'sched_switch'",
        ),
        ("iter/taks", AttachType.TRACE_ITER, r"no iterator 'taks'; did you mean 'task'"),
        ("fentry/vfs_raed", AttachType.TRACE_FENTRY, r"no function 'vfs_raed'; did you mean .*'vfs_read'"),
        ("lsm/no_hook_is_called_so", AttachType.LSM_MAC, r"no LSM hook 'no_hook_is_called_so'"),
        ("fexit/nomodule:f", AttachType.TRACE_FEXIT, r"no module 'nomodule' with type information is loaded"),
        (
            "fentry",
            AttachType.TRACE_FENTRY,
            r"'prog' \(section 'fentry'\) names no function: .*'fentry/vfs_read'",
        ),
        ("tp_btf/", AttachType.TRACE_RAW_TP, r"names no tracepoint: .*'tp_btf/sched_switch'"),
        ("fentry/vfs_read", None, r"of type TRACING has attach type none"),
    ],
)
def test_places_that_do_not_exist_are_told(
    section: str, attach_type: AttachType | None, message: str
) -> None:
    prog_type = ProgType.LSM if attach_type is AttachType.LSM_MAC else ProgType.TRACING
    tracing = returns(0, prog_type)
    tracing.section, tracing.attach_type = section, attach_type
    with pytest.raises(ObjectError, match=message) as caught:
        load(by_hand(tracing))
    assert not isinstance(caught.value, UnsupportedObject)


def test_places_of_functions_and_hooks_have_ids() -> None:
    for section, attach_type, name in (
        ("fentry/vmlinux:vfs_read", AttachType.TRACE_FENTRY, "vfs_read"),
        ("fexit.s/vfs_read", AttachType.TRACE_FEXIT, "vfs_read"),
        ("lsm/file_open", AttachType.LSM_MAC, "bpf_lsm_file_open"),
    ):
        tracing = returns(0, ProgType.LSM if attach_type is AttachType.LSM_MAC else ProgType.TRACING)
        tracing.section, tracing.attach_type = section, attach_type
        target = attach_target(tracing)
        assert target.id == vmlinux().ids(name, btf.Kind.FUNC)[0]


def test_modules_are_listed_and_found() -> None:
    before = open_fds()
    for name, spec in modules():
        assert spec.base is vmlinux() and len(spec) >= spec.first
        module_btf(name).close()
    with pytest.raises(ObjectError, match="no module 'no_such_module' with type information is loaded"):
        module_types("no_such_module")
    with pytest.raises(ObjectError, match="no module 'no_such_module' with type information is loaded"):
        module_btf("no_such_module")
    module_btf("vmlinux").close()
    assert open_fds() == before
