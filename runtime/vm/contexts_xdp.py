"""``struct xdp_md``: a frame in a page, with room before and after it, as net/bpf/test_run.c sets it up."""

from __future__ import annotations

import errno
import sys

from pyebpf.hints import TYPE_CHECKING
from pyebpf.runtime.errors import BpfError
from pyebpf.runtime.vm.contexts import ETHERNET, PAGE, SHARED_INFO, Fields, check_room, refused, whole_context
from pyebpf.runtime.vm.memory import Memory, Region
from pyebpf.uapi.constants import AttachType
from pyebpf.uapi.contexts import XDP_MD

if TYPE_CHECKING:
    from typing import Final


_HEADROOM: Final = 256
_FRAME_INFO: Final = 40
"""Bytes of ``struct xdp_frame``, which the kernel keeps at the start of the page."""
_MOST_METADATA: Final = 252
_MOST_FRAGMENTS: Final = 17
_LOOPBACK: Final = 1


def bad_metadata(size: int) -> bool:
    """Whether metadata may not have this size: it is cut into 32-bit words and its length fits a byte."""
    return bool(size & 3) or size > _MOST_METADATA


class XdpContext:
    """One frame and its ``xdp_md``. ``meta``, ``data`` and ``end`` are offsets in the page. What does not fit it lies in
    ``fragments``, which programs reach by helpers only."""

    def __init__(
        self, memory: Memory, attach_type: AttachType | None, data: bytes, ctx: bytes | None
    ) -> None:
        if attach_type in (AttachType.XDP_DEVMAP, AttachType.XDP_CPUMAP):
            raise refused("the kernel has no test run for XDP programs in maps")
        self.memory = memory
        self.fields = Fields(memory, XDP_MD)
        self.address = self.fields.region.address
        self._given = ctx
        self._frame: Region | None = None
        try:
            self._begin(data, ctx)
        except BpfError:
            self.close()
            raise

    def _begin(self, data: bytes, ctx: bytes | None) -> None:
        """Take the frame and the user's context in, or refuse them as the kernel does."""
        metadata, linear = 0, len(data)
        if ctx is not None:
            metadata, linear = self._check(whole_context(ctx, XDP_MD.size), len(data))
            check_room(ctx, XDP_MD.size)
        if len(data) - metadata < ETHERNET:
            raise refused(f"a test run takes frames of at least {ETHERNET} bytes, not {len(data) - metadata}")
        linear = min(linear, PAGE - _HEADROOM + metadata - SHARED_INFO)
        rest, data = data[linear:], data[:linear]
        self.fragments = [bytearray(rest[at : at + PAGE]) for at in range(0, len(rest), PAGE)]
        if len(self.fragments) > _MOST_FRAGMENTS:
            raise refused(f"a frame has at most {_MOST_FRAGMENTS} pages more", errno.ENOMEM)
        self.page = bytearray(PAGE)
        self.data = _HEADROOM
        self.meta = _HEADROOM - metadata
        self.end = self.meta + len(data)
        self.page[self.meta : self.end] = data
        self.fields.set("ingress_ifindex", _LOOPBACK)
        self._place()

    def _check(self, ctx: bytes, size: int) -> tuple[int, int]:
        """How much metadata the user's context says that there is, and how many bytes lie in one piece with it."""
        given = {
            name: int.from_bytes(ctx[start:end], sys.byteorder)
            for name, (start, end) in self.fields.places.items()
        }
        if given["data_meta"] or not given["data"] <= given["data_end"] <= size:
            raise refused("data_meta must be 0, data_end at most the size, data between them")
        if bad_metadata(given["data"]) or given["data"] > _HEADROOM - _FRAME_INFO:
            raise refused(f"there cannot be {given['data']} bytes of metadata")
        if given["egress_ifindex"] or (given["rx_queue_index"] and not given["ingress_ifindex"]):
            raise refused("egress_ifindex must not be set, rx_queue_index only with ingress_ifindex")
        if size - given["data"] >= ETHERNET and given["ingress_ifindex"] > _LOOPBACK:
            raise refused(f"there is no interface {given['ingress_ifindex']} here", errno.ENODEV)
        if given["rx_queue_index"]:
            raise refused("the loopback interface has one queue")
        return given["data"], given["data_end"]

    def _place(self) -> None:
        self._frame = self.memory.map(self.page[self.meta : self.end], "the packet", low=True)
        start = self._frame.address
        self.fields.set("data_meta", start)
        self.fields.set("data", start + self.data - self.meta)
        self.fields.set("data_end", start + self.end - self.meta)

    def _collect(self) -> None:
        """Take the program's writes over into the page, and the frame away."""
        if self._frame is not None:
            self.page[self.meta : self.end] = self._frame.data
            self.memory.unmap(self._frame)
            self._frame = None

    def adjust_head(self, delta: int) -> int:
        """bpf_xdp_adjust_head; metadata moves along."""
        metadata = self.data - self.meta
        data = self.data + delta
        self._collect()
        result = -errno.EINVAL
        if _FRAME_INFO + metadata <= data <= self.end - ETHERNET:
            moved = self.page[self.meta : self.data]
            self.data, self.meta = data, data - metadata
            self.page[self.meta : self.data] = moved
            result = 0
        self._place()
        return result

    def adjust_tail(self, delta: int) -> int:
        """bpf_xdp_adjust_tail; what is added is zero."""
        if self.fragments:
            return self._shrink_fragments(-delta) if delta < 0 else self._grow_fragment(delta)
        end = self.end + delta
        self._collect()
        result = -errno.EINVAL
        if self.data + ETHERNET <= end <= PAGE - SHARED_INFO:
            self.page[self.end : max(end, self.end)] = bytes(max(0, delta))
            self.end = end
            result = 0
        self._place()
        return result

    def adjust_meta(self, delta: int) -> int:
        """bpf_xdp_adjust_meta."""
        meta = self.meta + delta
        self._collect()
        if not _FRAME_INFO <= meta <= self.data:
            result = -errno.EINVAL
        elif bad_metadata(self.data - meta):
            result = -errno.EACCES
        else:
            self.meta = meta
            result = 0
        self._place()
        return result

    def _grow_fragment(self, size: int) -> int:
        if size > PAGE - len(self.fragments[-1]):
            return -errno.EINVAL
        self.fragments[-1] += bytes(size)
        return 0

    def _shrink_fragments(self, size: int) -> int:
        if size > self.size - ETHERNET:
            return -errno.EINVAL
        while self.fragments and size:
            taken = min(size, len(self.fragments[-1]))
            del self.fragments[-1][len(self.fragments[-1]) - taken :]
            size -= taken
            if not self.fragments[-1]:
                self.fragments.pop()
        if size:
            self._collect()
            self.end -= size
            self._place()
        return 0

    @property
    def size(self) -> int:
        """Bytes of the packet, without metadata, with fragments."""
        return self.end - self.data + sum(map(len, self.fragments))

    def _refusal(self, offset: int, size: int) -> int:
        if offset > 0xFFFF or size > 0xFFFF:
            return -errno.EFAULT
        return -errno.EINVAL if offset + size > self.size else 0

    def _pieces(self) -> list[memoryview]:
        assert self._frame is not None
        first = memoryview(self._frame.data)[self.data - self.meta :]
        return [first, *(memoryview(fragment) for fragment in self.fragments)]

    def read(self, offset: int, size: int) -> bytes | int:
        """``size`` bytes of the packet; ``-errno`` as bpf_xdp_load_bytes answers outside."""
        refusal = self._refusal(offset, size)
        return refusal if refusal else b"".join(self._pieces())[offset : offset + size]

    def write(self, offset: int, data: bytes) -> int:
        """Store bytes into the packet; ``-errno`` as bpf_xdp_store_bytes answers outside."""
        refusal = self._refusal(offset, len(data))
        for piece in () if refusal else self._pieces():
            here = data[: max(0, len(piece) - offset)]
            piece[offset : offset + len(here)] = here
            data, offset = data[len(here) :], max(0, offset - len(piece))
        return refusal

    def load(self, offset: int, size: int) -> int | None:
        """``ld_abs`` is not for XDP programs: ``None``."""
        return None

    def results(self) -> tuple[bytes, bytes]:
        """Metadata and packet; the context with ``data`` and ``data_end`` counted from the metadata."""
        assert self._frame is not None
        packet = bytes(self._frame.data) + b"".join(self.fragments)
        after = bytearray(self._given or b"")
        if after:
            start, end = self.fields.places["data"]
            after[start:end] = (self.data - self.meta).to_bytes(4, sys.byteorder)
            start, end = self.fields.places["data_end"]
            after[start:end] = (self.end - self.meta).to_bytes(4, sys.byteorder)
        return packet, bytes(after)

    def close(self) -> None:
        """Take frame and context away."""
        if self._frame is not None:
            self.memory.unmap(self._frame)
            self._frame = None
        self.memory.unmap(self.fields.region)
