"""Programs of a user's module in the kernel: what they share, how they run, what is left when they are gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyebpf as bpf
from pyebpf import u8, u16, u32, u64
from pyebpf.driver import compile_programs
from pyebpf.runtime.load import load as load_spec

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")
ROOT = Path(__file__).resolve().parents[2]

bpf.license("GPL")


@bpf.struct
class Stat:
    """Per protocol."""

    packets: u64
    bytes: u32
    last: u16


counts = bpf.ArrayMap[u32, u64](max_entries=4)
stats = bpf.HashMap[u8, Stat](max_entries=8)
percpu = bpf.PerCpuArray[u32, u64](max_entries=1)
inbox = bpf.Queue[u32](max_entries=8)
programs = bpf.ProgArray(max_entries=2)
hits = bpf.Global[u64](5)
zeroed = bpf.Global[u32](0)
limit = bpf.Const[u32](3)


@bpf.xdp
def first(ctx: bpf.Xdp) -> int:
    """Writes to everything that is shared."""
    counts[0] += 1
    percpu[0] += 1
    hits.value += 1
    zeroed.value = len(ctx)
    inbox.push(len(ctx))
    stats[ctx.read(u8, 0)] = Stat(packets=1, bytes=len(ctx), last=limit.value)
    return bpf.XDP_PASS


@bpf.xdp
def second(ctx: bpf.Xdp) -> int:
    """Sees what the other program wrote."""
    hits.value += 10
    counts[0] += 100
    return bpf.XDP_DROP


@bpf.xdp
def entry(ctx: bpf.Xdp) -> int:
    """Calls another program by index."""
    try:
        return programs[ctx.read(u8, 0)](ctx)
    except KeyError:
        return 77


@bpf.socket_filter
def keep(skb: bpf.SkBuff) -> int:
    """Keeps what it is told."""
    print(f"keeping {len(skb)} bytes of {skb.protocol:x}")
    return 3


@pytest.fixture(autouse=True)
def unloaded() -> Iterator[None]:
    """Every test starts and ends with nothing loaded."""
    yield
    for program in (first, second, entry, keep):
        program.close()
    for made in (counts, stats, percpu, inbox, programs):
        made.close()


def test_programs_share_maps_and_variables_with_each_other_and_with_user_space() -> None:
    before = hits.value
    assert first.run(bytes([6]) + bytes(59)).verdict == bpf.XDP_PASS
    assert second.run(bytes(60)).verdict == bpf.XDP_DROP
    assert counts[0] == 101
    assert hits.value == before + 11
    assert zeroed.value == 60
    hits.value = 1000
    second.run(bytes(60))
    assert hits.value == 1010
    assert dict(stats.items()) == {6: Stat(packets=1, bytes=60, last=3)}
    assert percpu.total(0) == 1
    assert inbox.pop() == 60
    with pytest.raises(IndexError):
        inbox.pop()


def test_maps_can_be_used_before_anything_is_loaded() -> None:
    counts[1] = 7
    assert len(counts) == 4
    first.run(bytes(60))
    assert (counts[0], counts[1]) == (1, 7)


def test_constants_are_set_before_loading_and_frozen_afterwards() -> None:
    limit.value = 9
    first.run(bytes([1]) + bytes(59))
    assert stats[1].last == 9
    with pytest.raises(bpf.BpfError, match="frozen since the program was loaded"):
        limit.value = 3
    first.close()
    limit.value = 3


def test_tail_calls() -> None:
    assert entry.run(bytes([0]) + bytes(59)).verdict == 77
    programs[0] = second
    assert entry.run(bytes([0]) + bytes(59)).verdict == bpf.XDP_DROP
    assert entry.run(bytes([1]) + bytes(59)).verdict == 77
    del programs[0]
    assert entry.run(bytes([0]) + bytes(59)).verdict == 77


def test_the_result_of_a_run() -> None:
    result = first.run(bytes(range(64)), repeat=10)
    assert result.data == bytes(range(64))
    assert result.duration >= 0


def test_the_log_is_kept_also_on_success() -> None:
    assert first.load(log_level=1).log.startswith("processed") or "processed" in first.load(log_level=1).log
    assert "0: (" in first.load(log_level=2).log
    assert "processed" in first.load(log_level=4).log


def test_attach_detach_attach() -> None:
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver, sender:
        with keep.attach(receiver):
            sender.send(b"Hello")
            assert receiver.recv(16) == b"Hel"
        sender.send(b"Hello")
        assert receiver.recv(16) == b"Hello"
        keep.attach(receiver)
        sender.send(b"Hello")
        assert receiver.recv(16) == b"Hel"
        keep.close()
        sender.send(b"Hello")
        assert receiver.recv(16) == b"Hello"


@pytest.mark.alone("trace pipe")
def test_what_print_wrote_can_be_read() -> None:
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    lines = bpf.trace_print(timeout=5.0)
    with receiver, sender, keep.attach(receiver):
        sender.send(b"Hello")
        assert any("keeping 5 bytes of" in line for line in lines)


def test_callbacks_need_func_info() -> None:
    """What the kernel says without the types of functions, and that they are all that was missing."""
    sys.path.insert(0, str(ROOT / "samples"))
    import drop_foobar

    spec = compile_programs([drop_foobar.drop_foobar.__bpf__]).object
    with pytest.raises(bpf.VerifierError) as refused:
        load_spec(spec, func_info=False)
    assert "missing btf func_info" in refused.value.log
    load_spec(spec).close()


@bpf.xdp
def unsafe(ctx: bpf.Xdp) -> int:
    """Compiled without its checks, this reads beyond what was proven."""
    value = ctx.read(u8, 20)  # the line that the kernel will name
    return value + 1


def test_the_verifiers_log_shows_the_users_file_and_line() -> None:
    spec = compile_programs([unsafe.__bpf__], checks=False).object
    with pytest.raises(bpf.VerifierError) as refused:
        load_spec(spec)
    text = "value = ctx.read(u8, 20)  # the line that the kernel will name"
    lines = Path(__file__).read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.strip() == text)
    assert f"{text} @ test_session.py:{number}" in refused.value.log
    load_spec(compile_programs([unsafe.__bpf__]).object).close()


def open_files() -> int:
    """Descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def test_nothing_leaks_over_a_thousand_cycles() -> None:
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver, sender:
        compiled = compile_programs([keep.__bpf__])
        from pyebpf.runtime.attach.socket import attach_socket

        with load_spec(compiled.object) as loaded, attach_socket(loaded.programs["keep"], receiver):
            pass
        before = open_files()
        for _ in range(1000):
            with load_spec(compiled.object) as loaded, attach_socket(loaded.programs["keep"], receiver):
                pass
        assert open_files() == before


def test_nothing_leaks_through_the_users_objects() -> None:
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver, sender:
        for _ in range(2):
            with keep.attach(receiver):
                pass
            keep.close()
        before = open_files()
        for _ in range(30):
            with keep.attach(receiver):
                pass
            first.run(bytes(60))
            first.close()
            for made in (counts, stats, percpu, inbox):
                made.close()
            keep.close()
        assert open_files() <= before + 2


def test_nothing_leaks_after_200_failed_loads() -> None:
    spec = compile_programs([unsafe.__bpf__], checks=False).object
    before = open_files()
    for _ in range(200):
        with pytest.raises(bpf.VerifierError):
            load_spec(spec)
    assert open_files() == before


SCRIPT = """
    import socket, sys
    import pyebpf as bpf
    from pyebpf import u32, u64

    counts = bpf.ArrayMap[u32, u64](max_entries=1)

    @bpf.xdp
    def counting(ctx: bpf.Xdp) -> int:
        counts[0] += 1
        return bpf.XDP_PASS

    link = counting.attach("lo", mode="generic")
    counting.pin(sys.argv[1] + "/prog")
    counts.pin(sys.argv[1] + "/map")
    link.pin(sys.argv[1] + "/link")
"""


@pytest.mark.alone("xdp on lo")
def test_pinned_things_go_on_after_their_process(tmp_path: Path) -> None:
    if not os.path.ismount("/sys/fs/bpf"):
        subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=True)
    folder = Path(f"/sys/fs/bpf/pyebpf_session_{os.getpid()}")
    folder.mkdir()
    script = tmp_path / "pins.py"
    script.write_text(textwrap.dedent(SCRIPT))
    try:
        subprocess.run(
            [sys.executable, script, folder],
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
        )
        program = bpf.open_pinned(folder / "prog")
        link = bpf.open_pinned(folder / "link")
        counted = bpf.open_pinned(folder / "map")
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", 9))
        assert int.from_bytes(counted[0], sys.byteorder) >= 1  # type: ignore[index]  # an array of bytes
        assert program.run(bytes(60)).verdict == bpf.XDP_PASS  # type: ignore[union-attr]  # a program
        for made in (program, counted):
            made.close()
        link.detach()  # type: ignore[union-attr]  # a link
    finally:
        for pin in folder.iterdir():
            pin.unlink()
        folder.rmdir()


def test_without_privilege_one_sentence_says_what_is_missing(tmp_path: Path) -> None:
    script = tmp_path / "unprivileged.py"
    script.write_text(
        textwrap.dedent(
            """
            import pyebpf as bpf

            @bpf.xdp
            def nothing(ctx: bpf.Xdp) -> int:
                return bpf.XDP_PASS

            try:
                nothing.load()
            except bpf.PermissionDenied as error:
                print(error)
            """
        )
    )
    # Root without capabilities, so that every file can still be read.
    command = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    done = subprocess.run(
        [*command, sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert "CAP_BPF" in done.stdout, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 1
