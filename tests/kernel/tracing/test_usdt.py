"""Programs on the probes of a library: arguments wherever they are, cookies, other people's loader and objects."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyebpf as bpf
from pyebpf import i32, i64, u8, u16, u32, u64
from pyebpf.records import replace
from pyebpf.runtime.attach.uprobe import attach_uprobe
from pyebpf.runtime.attach.usdt import attach_usdt
from pyebpf.runtime.errors import BpfError, NotSupported, Problem, TargetError
from pyebpf.runtime.load import load_object
from pyebpf.runtime.maps import MappingMap
from pyebpf.runtime.program import LoadedProgram
from pyebpf.runtime.usdt_notes import UnknownArg, parse_arguments, usdt_probes
from pyebpf.runtime.usdt_records import Records, record, records_of
from pyebpf.uapi.usdt import LONG, MAX_RECORDS, RECORD, SHORT
from tests import usdt_shop
from tests.kernel.attach.test_attach_perf import nothing_left
from tests.kernel.runtime.places import open_fds, pin_directory
from tests.unit.elf.clang import compile_c
from tests.vm.libbpf import LibbpfObject

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="tracing needs root")

bpf.license("GPL")
seen = bpf.ArrayMap[u32, i64](max_entries=16)
calls = bpf.ArrayMap[u32, u64](max_entries=1)


@bpf.usdt
def sold(small: i32, large: i64, constant: int, ctx: bpf.PtRegs) -> None:
    calls[0] += 1
    seen[0] = small
    seen[1] = large
    seen[2] = constant
    seen[3] = i64(bpf.get_attach_cookie(ctx))


@bpf.usdt
def stocked(  # type: ignore[no-untyped-def]  # what is not annotated is an i64
    a, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int, j: int
) -> None:
    seen[0] = a
    seen[1] = b
    seen[2] = c + min(d, 0)
    seen[3] = d
    seen[4] = e
    seen[5] = f
    seen[6] = g
    seen[7] = h
    seen[8] = i
    seen[9] = j


@bpf.usdt
def narrowed(a: u8, b: u16, c: bool) -> None:
    seen[0] = a
    seen[1] = b
    seen[2] = c


@bpf.usdt
def idle() -> None:
    calls[0] += 1


@bpf.usdt(sleepable=True)
def sleeping(small: i32) -> None:
    seen[0] = small


@bpf.usdt
def first_of_vector(a: i32) -> None:
    seen[0] = a


@bpf.usdt
def both_of_vector(a: i32, b: i64) -> None:
    seen[0] = b


PROGRAMS = (sold, stocked, narrowed, idle, sleeping, first_of_vector, both_of_vector)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return usdt_shop.build(tmp_path_factory.mktemp("usdt"))


@pytest.fixture
def bpffs() -> Iterator[Path]:
    with pin_directory() as folder:
        yield folder


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    for key in range(16):
        seen[key] = -1
    calls[0] = 0
    yield
    for program in PROGRAMS:
        program.close()


def work(shop: Path, small: int, large: int) -> None:
    ctypes.CDLL(str(shop)).work(ctypes.c_int(small), ctypes.c_long(large))


def test_arguments_differ_from_place_to_place(shop: Path) -> None:
    sold.load()
    with nothing_left(), sold.attach(shop, "shop", "sale", cookie=(1 << 63) + 5):
        work(shop, -5, 33)
        assert calls[0] == 1
        assert [seen[n] for n in range(4)] == [-5, 33, -7, 5 - (1 << 63)]
        work(shop, 6, 1 << 40)  # the second place has `large` in memory
        assert calls[0] == 3
        assert [seen[n] for n in range(3)] == [6, 1 << 40, -7]
    work(shop, 1, 2)
    assert calls[0] == 3


def test_arguments_of_all_sizes_in_all_places(shop: Path) -> None:
    """The last ones are prices before an unreadable page: no more than the argument is read."""
    size = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * size)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + size), ctypes.c_size_t(size), 0) == 0
    memory[size - 8 : size] = (-70).to_bytes(4, "little", signed=True) + (80).to_bytes(4, "little")
    library, value = ctypes.CDLL(str(shop)), 0x8877_6655_C4C3_F2F1
    with stocked.attach(shop, "shop", "stock"):
        library.stock(ctypes.c_ulong(value), ctypes.c_void_p(start + size - 4), ctypes.c_long(0))
        of_first = [seen[n] for n in range(10)]
        library.stock(ctypes.c_ulong(value), ctypes.c_void_p(start + size - 4), ctypes.c_long(1))
        of_second = seen[8]
        library.stock(ctypes.c_ulong(value), ctypes.c_void_p(start + size), ctypes.c_long(0))
        outside = seen[7]
    expected = [-0x0F, 0xF1, -0x0D0F, 0xF2F1, 0xC4C3_F2F1 - (1 << 32), 0xC4C3_F2F1]
    assert of_first == [*expected, value - (1 << 64), 80, (1 << 32) - 70, -3]
    assert (of_second, outside) == (80, 0)


def test_an_annotation_keeps_the_low_bits(shop: Path) -> None:
    library = ctypes.CDLL(str(shop))
    prices = (ctypes.c_int * 2)()
    with narrowed.attach(shop, "shop", "stock"):
        library.stock(ctypes.c_long(-1), prices, ctypes.c_long(1))
        assert [seen[n] for n in range(3)] == [255, 255, 1]
        library.stock(ctypes.c_long(0x12_0100), prices, ctypes.c_long(1))
        assert [seen[n] for n in range(3)] == [0, 0, 1]  # the third argument has 16 bits
        library.stock(ctypes.c_long(0x12_0000), prices, ctypes.c_long(1))
        assert [seen[n] for n in range(3)] == [0, 0, 0]


def test_a_probe_without_arguments_in_this_process_only(shop: Path) -> None:
    library = ctypes.CDLL(str(shop))
    with idle.attach("libshop", "shop", "idle", pid=0):
        library.idle()
    assert calls[0] == 1


def test_a_program_that_may_sleep(shop: Path) -> None:
    with sleeping.attach(shop, "shop", "sale"):
        work(shop, -12, 1)
    assert seen[0] == -12


def test_the_counter_is_raised_while_a_program_is_there(shop: Path) -> None:
    library = ctypes.CDLL(str(shop))
    link = sold.attach(shop, "shop", "sale")
    assert library.enabled() > 0
    link.detach()
    assert not link.attached
    assert library.enabled() == 0


def test_arguments_are_checked_when_it_is_attached(shop: Path) -> None:
    with first_of_vector.attach(shop, "shop", "vector"):
        ctypes.CDLL(str(shop)).vector()
    assert seen[0] != -1
    with pytest.raises(
        TargetError, match=r"argument 2 of the probe is where programs cannot read it: '.*xmm0'"
    ) as caught:
        both_of_vector.attach(shop, "shop", "vector")
    assert caught.value.problem is Problem.ARGUMENTS
    with pytest.raises(TargetError, match="the program reads argument 3, the probe has 0"):
        sold.attach(shop, "shop", "idle")
    with pytest.raises(TargetError, match=r"no such probe; did you mean shop:sale"):
        sold.attach(shop, "shop", "sail")


def test_a_probe_is_looked_for_before_the_program_is_loaded(shop: Path) -> None:
    with pytest.raises(TargetError, match="no such probe"):
        idle.attach(shop, "shop", "idel")
    assert not idle.loaded


def test_where_a_program_is_for_is_said_once(shop: Path) -> None:
    @bpf.usdt("libshop", "shop", "sale")
    def placed(small: i32) -> None:
        seen[0] = small

    assert placed.__bpf__.kind.section == "usdt/libshop:shop:sale"
    with pytest.raises(TypeError, match="cannot be attached to 'idle'"):
        placed.attach(name="idle")
    with pytest.raises(TypeError, match="say to which file, provider and probe"):
        sold.attach(shop)
    with pytest.raises(ValueError, match="takes a file and a probe in it, as provider and name"):
        bpf.usdt("libshop", "shop")
    placed.close()


@bpf.usdt
def oddly_named(ctx: i32, large: i64) -> None:
    seen[0] = ctx
    seen[1] = large


@bpf.usdt
def second_only(skipped: int, b: i64) -> None:
    seen[0] = b


def test_a_parameter_is_the_context_by_what_it_is(shop: Path) -> None:
    with oddly_named.attach(shop, "shop", "sale"):
        work(shop, -5, 33)
    assert (seen[0], seen[1]) == (-5, 33)

    import pyebpf as another_name

    @bpf.usdt
    def local(small: i32, large: i64, constant: int, regs: another_name.PtRegs) -> None:
        seen[0] = i64(regs.ip != 0) + another_name.XDP_ABORTED

    with local.attach(shop, "shop", "sale"):
        work(shop, -5, 33)
    assert seen[0] == 1


def test_arguments_that_are_not_read_do_not_matter(shop: Path) -> None:
    spec = next(s for s in usdt_probes(shop) if s.name == "vector")
    turned = replace(spec, arguments=spec.arguments[::-1])
    assert record(turned, SHORT, 0, (1,), "to it")[16:32] == record(spec, SHORT, 0, (0,), "to it")[:16]
    second_only.load()
    assert second_only.load().arguments == (1,)


@pytest.mark.parametrize(
    "argument", ["8@abc(%rax)", "8@010(%rsp)x", "8@$99999999999999999999", "4@0xfg(%rax)"]
)
def test_odd_arguments_are_unknown_ones(argument: str) -> None:
    (found,) = parse_arguments(argument, "EM_X86_64")
    assert isinstance(found.place, UnknownArg)


# ---------------------------------------------------------------- records


def records(program: LoadedProgram) -> Records:
    found = records_of(program)
    assert found is not None
    return found[1]


def test_places_that_are_alike_share_a_record_which_is_free_again_behind_the_last(shop: Path) -> None:
    table = records(sold.load())
    assert not table.used()
    one = sold.attach(shop, "shop", "sale")
    two = sold.attach(shop, "shop", "sale")
    assert table.used() == {0: 2, 1: 2}
    three = sold.attach(shop, "shop", "sale", cookie=1)
    assert table.used() == {0: 2, 1: 2, 2: 1, 3: 1}
    one.close()
    one.close()
    two.detach()
    assert table.used() == {2: 1, 3: 1}
    del three
    assert table.used() == {2: 1, 3: 1}  # the program keeps its links
    sold.close()
    assert table.used() == {}


def test_there_is_room_for_so_many_places(shop: Path) -> None:
    found = records_of(sold.load())
    assert found is not None
    table, taken = found
    spec = usdt_probes(shop)[0]
    contents = [record(spec, SHORT, n, (0, 1, 2), "to it") for n in range(MAX_RECORDS + 1)]
    numbers = taken.take(table, contents[:-1], "to it")
    assert numbers == list(range(MAX_RECORDS))
    with pytest.raises(TargetError, match="programs know of 256 different places at most"):
        taken.take(table, contents, "to it")
    taken.give_back(numbers)
    assert taken.used() == {}


def test_a_link_that_ends_while_another_is_made_waits_for_nothing(shop: Path) -> None:
    """A finalizer or the handler of a signal may run at any place of the same thread."""
    found = records_of(sold.load())
    assert found is not None
    table, taken = found
    link = sold.attach(shop, "shop", "sale")
    spec = usdt_probes(shop)[0]

    def ending() -> Iterator[bytes]:
        yield record(spec, SHORT, 5, (0,), "to it")
        link.close()
        with pytest.raises(BpfError, match="a signal handler cannot attach"):
            sold.attach(shop, "shop", "sale")
        yield record(spec, SHORT, 6, (0,), "to it")

    assert len(taken.take(table, ending(), "to it")) == 2
    assert len(taken.used()) == 2


def test_nothing_is_left_of_programs(shop: Path) -> None:
    sold.load()
    sold.close()
    gc.collect()
    before = open_fds()
    for _ in range(3):
        with sold.attach(shop, "shop", "sale"):
            pass
        sold.close()
    gc.collect()
    assert open_fds() == before


def test_a_pinned_link_keeps_its_number_until_it_is_detached(shop: Path, bpffs: Path) -> None:
    table = records(stocked.load())
    for _ in range(2):
        link = stocked.attach(shop, "shop", "stock")
        assert link.info().program_id == stocked.load().info().id
        link.pin(bpffs / "link")
        assert table.used() == {0: 1}
        link.detach()
        assert table.used() == {}
    link = stocked.attach(shop, "shop", "stock")
    link.pin(bpffs / "link")
    link.close()
    assert table.used() == {0: 1}
    (bpffs / "link").unlink()
    with pytest.raises(NotSupported, match="2 places"), sold.attach(shop, "shop", "sale") as several:
        several.pin(bpffs / "link")


def test_a_fork_cannot_take_numbers(shop: Path) -> None:
    with sold.attach(shop, "shop", "sale") as link:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                link.close()
                sold.attach(shop, "shop", "sale", cookie=3)
            except BpfError as refused:
                status = 0 if "before this process was forked" in str(refused) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        work(shop, -5, 33)
    assert [seen[n] for n in range(3)] == [-5, 33, -7]


def test_a_program_that_another_process_has_loaded(shop: Path, bpffs: Path) -> None:
    with sold.attach(shop, "shop", "sale", cookie=1):
        sold.pin(bpffs / "sold")
        with bpf.open_pinned(bpffs / "sold") as again:
            assert isinstance(again, LoadedProgram)
            with attach_usdt(again, shop, "shop", "sale", cookie=2):
                work(shop, -5, 33)
                assert calls[0] == 2
                assert [seen[n] for n in range(3)] == [-5, 33, -7]
        (bpffs / "sold").unlink()


def test_without_a_record_there_is_no_argument(shop: Path) -> None:
    """Whoever attaches the program otherwise, its arguments are not zeros."""
    with attach_uprobe(sold.load(), shop, "work"):
        work(shop, -5, 33)
    assert (calls[0], seen[0]) == (0, -1)


def test_records_of_both_formats(shop: Path) -> None:
    assert SHORT.size == RECORD.size == 208
    assert LONG.size == 304
    stock = next(s for s in usdt_probes(shop) if s.name == "stock")
    short, long = (record(stock, form, 9, None, "to it") for form in (SHORT, LONG))
    for number in range(len(stock.arguments)):
        one, other = (data[number * form.argument :] for data, form in ((short, SHORT), (long, LONG)))
        assert one[:12] == other[:12]
        for field in ("register", "signed", "shift"):
            assert one[getattr(SHORT, field)] == other[getattr(LONG, field)]
    assert short[192:202] == long[288:298] == bytes([9, 0, 0, 0, 0, 0, 0, 0, 10, 0])


# ---------------------------------------------------------------- other loaders, other objects


def test_libbpf_attaches_our_object(shop: Path, tmp_path: Path) -> None:
    @bpf.usdt(str(shop), "shop", "sale")
    def placed(small: i32, large: i64, constant: int) -> None:
        seen[0] = small
        seen[1] = large
        seen[2] = constant

    (tmp_path / "placed.o").write_bytes(placed.elf())
    with LibbpfObject(tmp_path / "placed.o") as loaded:
        with loaded.attached("placed"):
            work(shop, -5, 1 << 40)
        values = [loaded.number("seen", n) for n in range(3)]
    assert values == [-5, 1 << 40, -7]


def test_an_object_made_for_libbpf_is_attached(shop: Path) -> None:
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    data = compile_c("shop", include, "-D__TARGET_ARCH_x86", folder=Path(__file__).parent)
    with load_object(data) as loaded, attach_usdt(loaded.programs["sold"], shop, "shop", "sale", cookie=4):
        work(shop, -5, 33)
        table = loaded.maps["seen"]
        assert isinstance(table, MappingMap)
        assert [table[n] for n in range(4)] == [-5, 33, -7, 4]
