"""Loading objects into the kernel: references, data, logs, errors, and nothing left open."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pyebpf import btf
from pyebpf.backend.insn import CALL, CallKind, Insn, ldx
from pyebpf.btf.decode import Spec
from pyebpf.btf.encode import encode
from pyebpf.layout import I32, U64
from pyebpf.object import (
    DataSection,
    Extern,
    LineInfo,
    MapSpec,
    Pinning,
    Relocation,
    RelocKind,
    Variable,
)
from pyebpf.runtime.attach.socket import attach_socket
from pyebpf.runtime.btf_simplify import simplify, unknown_kinds
from pyebpf.runtime.errors import (
    BpfError,
    LoadWarning,
    NotSupported,
    ObjectError,
    Phase,
    UnsupportedObject,
    VerifierError,
)
from pyebpf.runtime.fd import Fd
from pyebpf.runtime.info import statistics
from pyebpf.runtime.load import load, load_object
from pyebpf.runtime.maps import ArrayMap, HashMap
from pyebpf.runtime.prog_load import load_btf
from pyebpf.uapi.constants import MapType, ProgLoadFlag, ProgType
from tests.kernel.runtime.objects import (
    BPF_LOOP,
    FRAME,
    TAIL_CALL,
    add,
    address,
    an_object,
    array_of_u64,
    call,
    copy,
    counts_in,
    exit_,
    load_one,
    mov,
    program,
    returns,
    subprogram,
)
from tests.kernel.runtime.places import open_fds, pin_directory

ROOT = Path(__file__).parents[3]


def test_run_gives_the_verdict_as_a_signed_number() -> None:
    with load_one(returns(-3)) as loaded:
        result = loaded.programs["prog"].run(FRAME, repeat=3)
    assert result.verdict == -3
    assert result.data[14:] == FRAME[14:]
    assert result.duration >= 0


def test_info_tells_sizes_and_counts() -> None:
    with load_one(returns(7)) as loaded, statistics():
        loaded.programs["prog"].run(FRAME, repeat=5)
        facts = loaded.programs["prog"].info()
    assert (facts.type, facts.name, facts.xlated_size, facts.verified_insns) == (
        ProgType.SOCKET_FILTER,
        "prog",
        16,
        2,
    )
    assert facts.jited_size > 0
    assert facts.run_cnt == 5
    assert facts.btf_id > 0


def test_a_socket_filter_cuts_messages() -> None:
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver, sender, load_one(returns(4)) as loaded:
        with attach_socket(loaded.programs["prog"], receiver) as link:
            sender.send(b"Hello")
            assert receiver.recv(100) == b"Hell"
            assert link.attached
        assert not link.attached
        sender.send(b"Hello")
        assert receiver.recv(100) == b"Hello"


def test_detaching_from_a_closed_socket_is_harmless() -> None:
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with load_one(returns(4)) as loaded:
        link = attach_socket(loaded.programs["prog"], receiver)
        number = receiver.fileno()
        receiver.close()
        sender.close()
        others = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        second = attach_socket(loaded.programs["prog"], others[0])
        assert number in (others[0].fileno(), others[1].fileno())
        link.close()
        others[1].send(b"Hello")
        assert others[0].recv(100) == b"Hell"
        second.close()
        for one in others:
            one.close()


def test_maps_and_programs_see_each_other() -> None:
    with load(an_object(counts_in("counts"), maps=[array_of_u64()])) as loaded:
        counts = loaded.maps["counts"]
        assert isinstance(counts, ArrayMap)
        loaded.programs["prog"].run(FRAME, repeat=10)
        assert counts[0] == 10
        assert counts.info().id in loaded.programs["prog"].info().map_ids
        assert counts.info().btf_id > 0


def test_the_log_is_kept_on_success() -> None:
    line = LineInfo(0, "/home/me/hello.py", 12, 5, "    return 4")
    spec = program([mov(0, 4), exit_], lines=(line,))
    with load(an_object(spec), log_level=2) as loaded:
        log = loaded.programs["prog"].log
    assert "return 4 @ hello.py:12" in log
    assert "processed 2 insns" in log
    with load(an_object(spec), log_level=4) as loaded:
        assert "processed 2 insns" in loaded.programs["prog"].log
    with load(an_object(spec)) as loaded:
        assert loaded.programs["prog"].log == ""


def test_a_refused_program_gives_the_log_with_source_lines() -> None:
    line = LineInfo(0, "/home/me/bad.py", 99, 1, "x = nothing")
    spec = program([copy(0, 5), exit_], name="bad", lines=(line,))
    with pytest.raises(VerifierError) as caught:
        load(an_object(spec))
    error = caught.value
    assert error.errno == errno.EACCES
    assert error.phase is Phase.PROG_LOAD
    assert error.program == "bad"
    assert "R5 !read_ok" in error.log
    assert "x = nothing @ bad.py:99" in error.log
    assert "'bad'" in str(error) and "EACCES" in str(error)


def test_a_log_that_outgrows_the_buffer_is_read_whole() -> None:
    body = [add(0, 1) for _ in range(20_000)]
    with load(an_object(program([mov(0, 0), *body, exit_])), log_level=2) as loaded:
        log = loaded.programs["prog"].log
    assert len(log) > 1 << 20
    assert log.startswith("func#0 @0")
    assert "processed 20002 insns" in log
    with pytest.raises(VerifierError) as caught:
        load(an_object(program([mov(0, 0), *body, copy(0, 5), exit_])))
    assert "R5 !read_ok" in caught.value.log
    assert len(str(caught.value)) < 20_000


def test_attributes_refused_without_a_log() -> None:
    spec = returns(0)
    spec.flags = 1 << 30
    with pytest.raises(BpfError) as caught:
        load(an_object(spec))
    assert caught.value.errno == errno.EINVAL
    assert "before looking at the code" in str(caught.value)


def test_types_without_a_test_run_say_so() -> None:
    with load_one(returns(0, ProgType.SK_SKB)) as loaded, pytest.raises(NotSupported) as caught:
        loaded.programs["prog"].run(FRAME)
    assert "ENOTSUPP" in str(caught.value)
    assert "no test run for SK_SKB" in str(caught.value)
    with load_one(returns(0)) as loaded, pytest.raises(ValueError, match="at least 14 bytes"):
        loaded.programs["prog"].run(b"short")


def test_subprograms_are_appended_once_and_callbacks_need_func_info() -> None:
    callback = subprogram([mov(0, 0), exit_], "callback")
    entry = program(
        [mov(1, 3), address(2), mov(3, 0), mov(4, 0), call(BPF_LOOP), exit_],
        relocations=(Relocation(1, RelocKind.FUNC, "callback"),),
    )
    spec = an_object(entry, functions=[callback, subprogram([mov(0, 1), exit_], "unused")])
    with load(spec) as loaded:
        assert loaded.programs["prog"].run(FRAME).verdict == 3
    with pytest.raises(VerifierError, match="missing btf func_info"):
        load(spec, func_info=False)


def test_calls_reach_subprograms_of_subprograms() -> None:
    def calls(name: str, at: int) -> tuple[Relocation, ...]:
        return (Relocation(at, RelocKind.CALL, name),)

    sub = Insn(CALL, src=CallKind.SUBPROGRAM, imm=-1)
    entry = program([sub, add(0, 1), exit_], relocations=calls("middle", 0))
    middle = subprogram(
        [sub, sub, add(0, 10), exit_],
        "middle",
        relocations=(Relocation(0, RelocKind.CALL, "leaf"), Relocation(1, RelocKind.CALL, "leaf")),
    )
    leaf = subprogram([mov(0, 100), exit_], "leaf")
    with load(an_object(entry, functions=[middle, leaf])) as loaded:
        assert loaded.programs["prog"].run(FRAME).verdict == 111


def test_kernel_functions_are_found_by_name() -> None:
    kfunc = btf.Func("bpf_strlen___ours", btf.FuncProto(btf.INT, (btf.Param("s", btf.Ptr(btf.CHAR)),)))
    section = DataSection(".rodata", bytearray(b"four\0"), [Variable("text", 0, 5, btf.Array(btf.CHAR, 5))])
    entry = program(
        [address(1), Insn(CALL, src=CallKind.KFUNC, imm=-1), exit_],
        relocations=(
            Relocation(0, RelocKind.DATA, "text", ".rodata"),
            Relocation(2, RelocKind.KFUNC, "bpf_strlen___ours"),
        ),
    )
    spec = an_object(entry)
    spec.data[".rodata"] = section
    spec.externs[kfunc.name] = Extern(kfunc.name, ".ksyms", kfunc)
    with load(spec) as loaded:
        assert loaded.programs["prog"].run(FRAME).verdict == 4

    wrong = btf.Func("bpf_strlen", btf.FuncProto(btf.INT, ()))
    spec.externs[kfunc.name] = Extern(kfunc.name, ".ksyms", wrong)
    with pytest.raises(ObjectError, match="this kernel has"):
        load(spec)


def test_an_absent_kernel_function_is_an_error_unless_weak() -> None:
    proto = btf.FuncProto(btf.INT, ())
    spec = an_object(
        program(
            [Insn(CALL, src=CallKind.KFUNC, imm=-1), exit_],
            relocations=(Relocation(0, RelocKind.KFUNC, "bpf_no_such_thing"),),
        )
    )
    func = btf.Func("bpf_no_such_thing", proto)
    spec.externs[func.name] = Extern(func.name, ".ksyms", func)
    with pytest.raises(ObjectError, match="no function 'bpf_no_such_thing'"):
        load(spec)
    spec.externs[func.name] = Extern(func.name, ".ksyms", func, weak=True)
    with pytest.raises(VerifierError, match="invalid func unknown#2002000000") as caught:
        load(spec)
    told = caught.value.diagnostic.message
    assert told.startswith("there is no kernel function `bpf_no_such_thing` of this prototype on Linux ")


def data_object() -> tuple[DataSection, DataSection]:
    """Sections with a constant and a counter."""
    rodata = DataSection(".rodata", bytearray(8), [Variable("step", 0, 8, btf.U64)])
    rodata.contents[0] = 5
    bss = DataSection(
        ".bss",
        bytearray(24),
        [
            Variable("total", 8, 8, btf.U64, U64),
            Variable("hidden", 0, 8, btf.U64, static=True),
            Variable("small", 16, 4, btf.S32, I32),
        ],
    )
    return rodata, bss


def test_globals_are_shared_and_constants_frozen() -> None:
    rodata, bss = data_object()
    entry = program(
        [
            address(1),
            Insn(ldx(8), 2, 1),
            address(3),
            Insn(0xDB, 3, 2),
            Insn(ldx(4), 0, 3, 8),
            exit_,
        ],
        relocations=(
            Relocation(0, RelocKind.DATA, "step", ".rodata"),
            Relocation(3, RelocKind.DATA, "", ".bss", 8),
        ),
    )
    spec = an_object(entry)
    spec.data = {".rodata": rodata, ".bss": bss}
    with load(spec) as loaded:
        section = loaded.data[".bss"]
        section.write("small", -7)
        assert loaded.programs["prog"].run(FRAME, repeat=2).verdict == -7
        assert section.read("total") == 10
        section.write("total", 1)
        loaded.programs["prog"].run(FRAME)
        assert section.read("total") == 6
        assert section.variables == ("total", "small")
        assert loaded.data[".rodata"].read("step") == 5
        assert loaded.data[".rodata"].map.frozen
        with pytest.raises(BpfError, match="set it before"):
            loaded.data[".rodata"].write("step", 6)
        with pytest.raises(BpfError, match="frozen"):
            loaded.data[".rodata"].map.elements.update(bytes(4), bytes(8))
        with pytest.raises(OverflowError):
            section.write("total", -1)
        # A second object may share the section.
        with load(spec, data={".bss": section}) as again:
            again.programs["prog"].run(FRAME)
            assert section.read("total") == 11
        assert section.read("total") == 11


def test_a_tail_call_table_is_filled_and_kept_alive() -> None:
    table = MapSpec("table", MapType.PROG_ARRAY, 4, 4, 2, slots={1: "target"})
    entry = program(
        [address(2), mov(3, 1), call(TAIL_CALL), mov(0, 99), exit_],
        name="entry",
        relocations=(Relocation(0, RelocKind.MAP, "table"),),
    )
    loaded = load(an_object(entry, returns(42, name="target"), maps=[table]))
    assert loaded.programs["entry"].run(FRAME).verdict == 42
    kept = loaded.programs["entry"]
    del loaded
    gc.collect()
    assert kept.run(FRAME).verdict == 42
    kept.close()


def test_inner_maps_fill_their_slots() -> None:
    inner = array_of_u64("inner")
    outer = MapSpec("outer", MapType.ARRAY_OF_MAPS, 4, 4, 3, inner=inner, slots={2: "inner"})
    with load(an_object(returns(0), maps=[inner, outer])) as loaded:
        assert dict(loaded.maps["outer"].items()) == {2: loaded.maps["inner"].info().id}  # type: ignore[attr-defined]


def test_programs_that_are_not_autoloaded_stay_out() -> None:
    extra = returns(1, name="extra")
    extra.autoload = False
    with load(an_object(returns(0), extra)) as loaded:
        assert list(loaded.programs) == ["prog"]


def test_given_maps_are_used_checked_and_stay_open() -> None:
    with load(an_object(returns(0), maps=[array_of_u64()])) as first:
        counts = first.maps["counts"]
        assert isinstance(counts, ArrayMap)
        with load(an_object(counts_in("counts"), maps=[array_of_u64()]), maps={"counts": counts}) as second:
            second.programs["prog"].run(FRAME)
        assert counts[0] == 1
        with pytest.raises(ObjectError, match="max_entries 4 instead of 5"):
            load(an_object(counts_in("counts"), maps=[array_of_u64(entries=5)]), maps={"counts": counts})
        with pytest.raises(ObjectError, match="no map 'other'"):
            load(an_object(returns(0)), maps={"other": counts})


def test_maps_pinned_by_name_are_reused() -> None:
    def spec(entries: int = 8) -> MapSpec:
        return MapSpec("pinned.map", MapType.HASH, 4, 8, entries, pinning=Pinning.BY_NAME)

    with pin_directory() as directory:
        with load(an_object(returns(0), maps=[spec()]), pin_directory=directory) as first:
            assert isinstance(first.maps["pinned.map"], HashMap)
            first.maps["pinned.map"][b"key1"] = b"8 bytes!"
        assert (directory / "pinned_map").exists()
        with load(an_object(returns(0), maps=[spec()]), pin_directory=directory) as second:
            assert isinstance(second.maps["pinned.map"], HashMap)
            assert second.maps["pinned.map"][b"key1"] == b"8 bytes!"
        with pytest.raises(ObjectError, match="max_entries 8 instead of 9"):
            load(an_object(returns(0), maps=[spec(9)]), pin_directory=directory)


def test_a_failed_load_takes_its_pins_away() -> None:
    made = MapSpec("new", MapType.HASH, 4, 8, 8, pinning=Pinning.BY_NAME)
    with pin_directory() as directory:
        with pytest.raises(VerifierError):
            load(an_object(program([copy(0, 5), exit_]), maps=[made]), pin_directory=directory)
        assert list(directory.iterdir()) == []


def test_what_the_loader_cannot_do_is_refused() -> None:
    replacing = returns(0, ProgType.EXT, "replaces")
    with pytest.raises(UnsupportedObject, match=r"'replaces' \(EXT\)"):
        load(an_object(replacing))
    replacing.autoload = False
    load(an_object(replacing)).close()
    with pytest.raises(UnsupportedObject, match="struct_ops"):
        load(an_object(maps=[MapSpec("ops", MapType.STRUCT_OPS, 4, 64, 1)]))


@pytest.mark.parametrize(
    ("relocation", "message"),
    [
        (Relocation(0, RelocKind.MAP, "gone"), "map 'gone'"),
        (Relocation(0, RelocKind.DATA, "gone"), "variable 'gone'"),
        (Relocation(0, RelocKind.DATA, "", ".data"), "section '.data'"),
        (Relocation(0, RelocKind.FUNC, "gone"), "undefined function 'gone'"),
        (Relocation(0, RelocKind.EXTERN, "gone"), "does not declare"),
        (Relocation(2, RelocKind.MAP, "gone"), "cannot hold it"),
        (Relocation(7, RelocKind.CALL, "gone"), "cannot hold it"),
    ],
)
def test_broken_references_are_named(relocation: Relocation, message: str) -> None:
    with pytest.raises(ObjectError, match=message):
        load(an_object(program([address(1), mov(0, 0), exit_], relocations=(relocation,))))


def test_other_inconsistencies_are_named() -> None:
    spec = an_object(returns(0))
    spec.little_endian = sys.byteorder != "little"
    with pytest.raises(ObjectError, match="byte order"):
        load(spec)
    with pytest.raises(ObjectError, match="not known from its section"):
        load(an_object(returns(0, ProgType.UNSPEC)))
    with pytest.raises(ObjectError, match="no relocation"):
        load(an_object(program([Insn(CALL, src=CallKind.SUBPROGRAM, imm=0), mov(0, 0), exit_])))
    plain = subprogram([mov(0, 1), exit_], "plain")
    plain.type = None
    entry = program(
        [Insn(CALL, src=CallKind.SUBPROGRAM, imm=-1), exit_],
        relocations=(Relocation(0, RelocKind.CALL, "plain"),),
    )
    with pytest.raises(ObjectError, match="'plain' has no type"):
        load(an_object(entry, functions=[plain]))
    table = MapSpec("table", MapType.PROG_ARRAY, 4, 4, 2, slots={1: "gone"})
    with pytest.raises(ObjectError, match="slot 1 is for 'gone'"):
        load(an_object(returns(0), maps=[table]))


def test_a_syscall_program_gives_its_context_back() -> None:
    spec = program(
        [Insn(ldx(4), 2, 1), add(2, 1), Insn(0x63, 1, 2, 4), mov(0, -5), exit_],
        ProgType.SYSCALL,
        flags=ProgLoadFlag.SLEEPABLE,
    )
    with load_one(spec) as loaded:
        result = loaded.programs["prog"].run(ctx=(41).to_bytes(8, sys.byteorder))
        assert result.verdict == -5
        assert int.from_bytes(result.ctx[4:], sys.byteorder) == 42
        with pytest.raises(ValueError, match="not on data"):
            loaded.programs["prog"].run(FRAME)


def test_nothing_stays_open_over_a_thousand_cycles() -> None:
    spec = an_object(counts_in("counts"), maps=[array_of_u64()])
    spec.data[".bss"] = data_object()[1]
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver, sender:
        before = open_fds()
        for _ in range(1000):
            with load(spec) as loaded, attach_socket(loaded.programs["prog"], receiver):
                pass
        assert open_fds() == before


def test_nothing_stays_open_after_failed_loads() -> None:
    bad = an_object(returns(0, name="good"), program([copy(0, 5), exit_]), maps=[array_of_u64()])
    bad.data[".rodata"] = data_object()[0]
    before = open_fds()
    for _ in range(200):
        with pytest.raises(VerifierError):
            load(bad)
    assert open_fds() == before


def test_what_is_dropped_without_close_is_closed_by_the_collector() -> None:
    before = open_fds()
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    loaded = load(an_object(returns(4), maps=[array_of_u64()]))
    link = attach_socket(loaded.programs["prog"], receiver)
    del loaded
    sender.send(b"Hello")
    assert receiver.recv(100) == b"Hell"
    del link
    gc.collect()
    sender.send(b"Hello")
    assert receiver.recv(100) == b"Hello"
    receiver.close()
    sender.close()
    assert open_fds() == before


UNPRIVILEGED = """
    from pyebpf.runtime.errors import PermissionDenied
    from pyebpf.runtime.load import load
    from pyebpf.uapi.constants import ProgType
    from tests.kernel.runtime.objects import an_object, array_of_u64, returns
    import os
    before = len(os.listdir("/proc/self/fd"))
    for spec in (an_object(maps=[array_of_u64()]), an_object(returns(0, ProgType.{type}))):
        for one in spec.programs.values():
            one.type = None
        for one in spec.maps.values():
            one.key_type = one.value_type = None
        try:
            load(spec)
        except PermissionDenied as error:
            print(error)
        else:
            print("loaded")
    assert len(os.listdir("/proc/self/fd")) == before
"""


def unprivileged(prog_type: str, *options: str) -> list[str]:
    """What happens to a process with the identity and capabilities that ``options`` of setpriv give it."""
    code = textwrap.dedent(UNPRIVILEGED.format(type=prog_type))
    done = subprocess.run(
        ["setpriv", *options, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_eperm_names_what_is_missing() -> None:
    nobody = ("--reuid=65534", "--clear-groups", "--inh-caps=-all")
    for line in unprivileged("SOCKET_FILTER", *nobody):
        assert "EPERM" in line
        assert "lacks CAP_BPF" in line
        assert "unprivileged_bpf_disabled" in line
    assert "lacks CAP_BPF and CAP_NET_ADMIN" in unprivileged("XDP", *nobody)[1]
    assert "lacks CAP_BPF and CAP_PERFMON" in unprivileged("KPROBE", *nobody)[1]
    with_bpf = ("--inh-caps=-all,+bpf", "--ambient-caps=-all,+bpf", "--bounding-set=-all,+bpf")
    assert unprivileged("SOCKET_FILTER", *with_bpf) == ["loaded", "loaded"]
    only = unprivileged("XDP", *with_bpf)
    assert only[0] == "loaded"
    assert "lacks CAP_NET_ADMIN" in only[1]


def test_type_information_is_simplified_for_older_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyebpf.runtime import btf_simplify
    from pyebpf.runtime import load as module

    tagged = btf.Struct("tagged", 16, (btf.Member("p", btf.Ptr(btf.TypeTag("user", btf.INT)), 0),))
    wide = btf.Enum64("wide", 8, (btf.Enumerator("a", 1), btf.Enumerator("b", 1 << 40)))
    roots: list[btf.Type] = [
        btf.Typedef("t", btf.INT, (btf.Tag("a tag"),)),
        tagged,
        wide,
        btf.Struct("s", 8, (btf.Member("e", wide, 0),)),
    ]
    encoded = encode(roots)
    assert unknown_kinds() == frozenset()
    newer = frozenset({btf.Kind.DECL_TAG, btf.Kind.TYPE_TAG, btf.Kind.ENUM64})
    simple = simplify(encoded.data, newer)
    before, after = Spec(encoded.data), Spec(simple)
    replaced = {
        btf.Kind.DECL_TAG: btf.Kind.INT,
        btf.Kind.TYPE_TAG: btf.Kind.CONST,
        btf.Kind.ENUM64: btf.Kind.UNION,
    }
    for number in range(1, len(before)):
        kind = before.kind(number)
        assert after.kind(number) == replaced.get(kind, kind)
    load_btf(simple).close()

    refused = BpfError(errno.EINVAL, Phase.BTF_LOAD)
    seen: list[bytes] = []

    def older(data: bytes) -> Fd:
        seen.append(data)
        if len(seen) == 1:
            raise refused
        return load_btf(data)

    monkeypatch.setattr(module, "load_btf", older)
    monkeypatch.setattr(btf_simplify, "unknown_kinds", lambda: newer)
    with (
        pytest.warns(LoadWarning, match="no BTF kinds DECL_TAG, ENUM64, TYPE_TAG"),
        load_one(returns(0)) as made,
    ):
        assert made.programs["prog"].info().btf_id > 0
    seen.clear()
    monkeypatch.setattr(btf_simplify, "unknown_kinds", lambda: frozenset())
    with pytest.warns(LoadWarning, match="without type information.*EINVAL"), load_one(returns(3)) as made:
        assert made.programs["prog"].info().btf_id == 0
        assert made.programs["prog"].run(FRAME).verdict == 3


def test_an_object_of_clang_is_loaded_and_run(tmp_path: Path) -> None:
    source = tmp_path / "theirs.c"
    source.write_text(textwrap.dedent(CLANG_SOURCE))
    compiler = shutil.which("clang") or "clang-14"
    built = tmp_path / "theirs.o"
    subprocess.run([compiler, "-O2", "-g", "-target", "bpf", "-c", source, "-o", built], check=True)
    for given in (built, built.read_bytes()):
        with load_object(given) as loaded:
            result = loaded.programs["count"].run(FRAME, repeat=3)
            assert result.verdict == 7
            counts = loaded.maps["counts"]
            assert isinstance(counts, ArrayMap)
            assert (counts[1].packets, counts[1].bytes) == (3, 3 * (len(FRAME) - 14))
            assert loaded.data[".bss"].read("total") == 3
            assert loaded.data[".data"].read("step") == 1
            loaded.data[".data"].write("step", 10)
            loaded.programs["count"].run(FRAME)
            assert loaded.data[".bss"].read("total") == 13
            assert loaded.data[".rodata"].read("verdict") == 7
            assert loaded.programs["count"].info().btf_id > 0


CLANG_SOURCE = """
    #define SEC(name) __attribute__((section(name), used))
    typedef unsigned int u32;
    typedef unsigned long long u64;
    struct __sk_buff { u32 len; };
    struct counter { u64 packets, bytes; };
    struct {
        int (*type)[2];
        int (*max_entries)[4];
        u32 *key;
        struct counter *value;
    } counts SEC(".maps");
    static void *(*lookup)(void *map, const void *key) = (void *)1;
    u64 total = 0;
    u64 step = 1;
    const volatile int verdict = 7;

    static __attribute__((noinline)) int note(u32 key, u32 size)
    {
        struct counter *found = lookup(&counts, &key);
        if (!found)
            return 1;
        __sync_fetch_and_add(&found->packets, 1);
        __sync_fetch_and_add(&found->bytes, size);
        return 0;
    }

    SEC("socket") int count(struct __sk_buff *skb)
    {
        __sync_fetch_and_add(&total, step);
        if (note(1, skb->len))
            return -1;
        return verdict;
    }

    char LICENSE[] SEC("license") = "GPL";
"""
