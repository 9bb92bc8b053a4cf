"""Helpers on maps and ring buffers, loops, locks. Source: kernel/bpf/helpers.c, kernel/bpf/ringbuf.c,
kernel/bpf/bpf_iter.c."""

from __future__ import annotations

import errno
import sys

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.vm.errors import BadArgument
from pyebpf.runtime.vm.maps import MachineMap
from pyebpf.runtime.vm.maps_perf import PerfMap
from pyebpf.runtime.vm.maps_ring import RingMap
from pyebpf.runtime.vm.memory import PAGE_BITS, PAGE_MASK
from pyebpf.runtime.vm.run import HelperImplementation, Run
from pyebpf.uapi.constants import BPF_F_CTXLEN_MASK

if TYPE_CHECKING:
    from typing import Final


M32: Final = 0xFFFF_FFFF
_MOST_LOOPS: Final = 8 * 1024 * 1024
_RECORDS: Final = "ring buffer records"


def map_at(run: Run, address: int) -> MachineMap:
    """The map that an argument names."""
    found = run.maps.get(address)
    if found is None:
        raise BadArgument(f"{address:#x} is no map")
    return found


def _bytes_at(run: Run, address: int, size: int) -> bytes:
    """As ``Memory.read``, with a short way for what lies in one page."""
    page = run.memory.pages.get(address >> PAGE_BITS)
    if page is not None:
        offset = address & PAGE_MASK
        data = bytes(page[offset : offset + size])
        if len(data) == size:
            return data
    return run.memory.read(address, size)


def map_lookup_elem(run: Run, map_: int, key: int, r3: int, r4: int, r5: int) -> int:
    """The address of the value, or 0."""
    found = map_at(run, map_)
    address = found.lookup(_bytes_at(run, key, found.spec.key_size))
    if found.HOLDS_MAPS and address:
        inner = found.inner(address)
        assert inner is not None
        run.maps[address] = inner
    return address


def map_update_elem(run: Run, map_: int, key: int, value: int, flags: int, r5: int) -> int:
    """0 or -errno."""
    found = map_at(run, map_)
    spec = found.spec
    return found.update(_bytes_at(run, key, spec.key_size), _bytes_at(run, value, spec.value_size), flags)


def map_delete_elem(run: Run, map_: int, key: int, r3: int, r4: int, r5: int) -> int:
    """0 or -errno."""
    found = map_at(run, map_)
    return found.delete(_bytes_at(run, key, found.spec.key_size))


def map_lookup_percpu_elem(run: Run, map_: int, key: int, cpu: int, r4: int, r5: int) -> int:
    """The address of the value of a CPU, or 0."""
    found = map_at(run, map_)
    return found.lookup_on(_bytes_at(run, key, found.spec.key_size), cpu & M32)


def map_push_elem(run: Run, map_: int, value: int, flags: int, r4: int, r5: int) -> int:
    """0 or -errno."""
    found = map_at(run, map_)
    return found.push(_bytes_at(run, value, found.spec.value_size), flags)


def _give(run: Run, found: MachineMap, value: bytes | None, to: int) -> int:
    """What was not there is zeros for the program."""
    run.memory.write(to, bytes(found.spec.value_size) if value is None else value)
    return -errno.ENOENT if value is None else 0


def map_pop_elem(run: Run, map_: int, value: int, r3: int, r4: int, r5: int) -> int:
    """0, or -ENOENT and zeros."""
    found = map_at(run, map_)
    run.memory.view(value, found.spec.value_size, write=True)
    return _give(run, found, found.pop(), value)


def map_peek_elem(run: Run, map_: int, value: int, r3: int, r4: int, r5: int) -> int:
    """0, or -ENOENT and zeros."""
    found = map_at(run, map_)
    return _give(run, found, found.peek(), value)


def for_each_map_elem(run: Run, map_: int, callback: int, state: int, flags: int, r5: int) -> int:
    """How many elements the callback saw; it ends the loop with 1."""
    found = map_at(run, map_)
    if flags:
        return -errno.EINVAL
    count = 0
    for key, value in found.visit():
        count += 1
        region = run.memory.map(bytearray(key), f"a key of the map {found.spec.name!r}", writable=False)
        try:
            if run.call(callback, map_, region.address, value, state, 0):
                break
        finally:
            run.memory.unmap(region)
    return count


def loop(run: Run, count: int, callback: int, state: int, flags: int, r5: int) -> int:
    """How often the callback ran; it ends the loop with 1."""
    count &= M32
    if flags:
        return -errno.EINVAL
    if count > _MOST_LOOPS:
        return -errno.E2BIG
    call = run.call
    for index in range(count):
        if call(callback, index, state, 0, 0, 0):
            return index + 1
    return count


def _ring(run: Run, address: int) -> RingMap:
    found = map_at(run, address)
    if not isinstance(found, RingMap):
        raise BadArgument(f"the map {found.spec.name!r} is no ring buffer")
    return found


def ringbuf_output(run: Run, map_: int, data: int, size: int, flags: int, r5: int) -> int:
    """0 or -errno."""
    return _ring(run, map_).output(run.memory.read(data, size), flags)


def ringbuf_reserve(run: Run, map_: int, size: int, flags: int, r4: int, r5: int) -> int:
    """The address of the record, or 0."""
    ring = _ring(run, map_)
    address = ring.reserve(size, flags)
    if address:
        run.extra.setdefault(_RECORDS, {})[address] = ring
    return address


def _commit(run: Run, record: int, *, discard: bool) -> int:
    ring = run.extra.get(_RECORDS, {}).pop(record, None)
    if ring is None:
        raise BadArgument(f"{record:#x} is no reserved record of a ring buffer")
    ring.commit(record, discard=discard)
    return 0


def ringbuf_submit(run: Run, record: int, flags: int, r3: int, r4: int, r5: int) -> int:
    """Give the record to user space."""
    return _commit(run, record, discard=False)


def ringbuf_discard(run: Run, record: int, flags: int, r3: int, r4: int, r5: int) -> int:
    """Give the record up."""
    return _commit(run, record, discard=True)


def ringbuf_query(run: Run, map_: int, what: int, r3: int, r4: int, r5: int) -> int:
    """A size or a position."""
    return _ring(run, map_).query(what)


def perf_event_output(run: Run, ctx: int, map_: int, flags: int, data: int, size: int) -> int:
    """0 or -errno. Raises ``BadArgument`` where part of the packet is to follow the data."""
    found = map_at(run, map_)
    if not isinstance(found, PerfMap):
        raise BadArgument(f"the map {found.spec.name!r} is no perf event array")
    if flags & BPF_F_CTXLEN_MASK:
        raise BadArgument("the machine does not append the packet to events: the flags ask for bytes of it")
    return found.output(run.memory.read(data, size), flags)


def spin_lock(run: Run, lock: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Taken at once: nobody else runs. Raises ``BadArgument`` where the program itself holds it."""
    view = run.memory.view(lock, 4, write=True)
    if any(view):
        raise BadArgument("the spin lock is held already: the program would wait for itself")
    view[:] = (1).to_bytes(4, sys.byteorder)
    return 0


def spin_unlock(run: Run, lock: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Raises ``BadArgument`` where it is not held."""
    view = run.memory.view(lock, 4, write=True)
    if not any(view):
        raise BadArgument("the spin lock is not held")
    view[:] = bytes(4)
    return 0


TABLE: Final[dict[str, HelperImplementation]] = {
    function.__name__: function
    for function in (
        map_lookup_elem,
        map_update_elem,
        map_delete_elem,
        map_lookup_percpu_elem,
        map_push_elem,
        map_pop_elem,
        map_peek_elem,
        for_each_map_elem,
        loop,
        ringbuf_output,
        ringbuf_reserve,
        ringbuf_submit,
        ringbuf_discard,
        ringbuf_query,
        perf_event_output,
        spin_lock,
        spin_unlock,
    )
}
