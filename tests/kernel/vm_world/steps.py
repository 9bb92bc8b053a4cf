"""Random steps for scripts: helper calls with arguments of which some are right and many are just wrong."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from typing import Final

from pyebpf.object import MapSpec
from pyebpf.uapi.constants import MapCreateFlag, MapType, ProgType
from pyebpf.uapi.contexts import SK_BUFF, FieldKind
from tests.kernel.vm_world.scripts import Buffer, Call, Constant, Ctx, Field, MapName, Script, Step

CTX: Final = Ctx()
MAPS: Final = (
    MapSpec("array", MapType.ARRAY, 4, 8, 8),
    MapSpec("hash", MapType.HASH, 4, 16, 4),
    MapSpec("lean", MapType.HASH, 4, 8, 4, flags=MapCreateFlag.NO_PREALLOC),
    MapSpec("cpu_array", MapType.PERCPU_ARRAY, 4, 12, 4),
    MapSpec("cpu_hash", MapType.PERCPU_HASH, 4, 8, 4),
    MapSpec("lru", MapType.LRU_HASH, 4, 8, 2000),
    MapSpec("cpu_lru", MapType.LRU_PERCPU_HASH, 4, 8, 2000),
    MapSpec("trie", MapType.LPM_TRIE, 8, 8, 6, flags=MapCreateFlag.NO_PREALLOC),
    MapSpec("queue", MapType.QUEUE, 0, 8, 3),
    MapSpec("stack", MapType.STACK, 0, 8, 3),
    MapSpec("ring", MapType.RINGBUF, 0, 0, 4096),
)
_BY_NAME: Final = {spec.name: spec for spec in MAPS}
_ROOM_FLAGS: Final = 10
_INTEGERS: Final = (
    b"%d %u %x %X %i %lld %llu %llx %ld %lu %5d %-5d| %05d %+d %020llx %c %3c %-08lld| %+05i %px %hd %o % %5% %0+d "
    b"%lllx %s %pi4 %pI4 %pI6 %8s %-8s| % d"
).split(b" ")


@dataclass
class Steps:
    """Makes steps from a source of chance."""

    chance: random.Random

    def noise(self, size: int) -> bytes:
        """Random bytes."""
        return self.chance.randbytes(size)

    def memory(self, size: int) -> Buffer:
        """A buffer of random bytes."""
        return Buffer(self.noise(size))

    def number(self) -> int:
        """A 64-bit number, often a special one."""
        c = self.chance
        return c.choice([0, 1, 0xFFFF, 0xFFFF_FFFF, c.getrandbits(16), c.getrandbits(32), c.getrandbits(64)])

    def offset(self) -> int:
        """An offset into a packet, sometimes far outside."""
        edges = [0, 1, 2, 12, 14, 20, 24, 40, 64, 100, 0xFFFF, 0x10000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]
        return self.chance.choice([*edges, self.chance.randrange(130), self.chance.randrange(130)])

    def size(self) -> int:
        """How many bytes to copy."""
        return self.chance.choice([1, 2, 4, 14, 20, 40])

    def frame(self) -> bytes:
        """An Ethernet frame of IPv4, IPv6, VLAN or something else, with random contents."""
        c = self.chance
        kinds = [b"\x08\x00"] * 3 + [b"\x86\xdd"] * 3 + [b"\x81\x00", b"\x88\xa8", b"\x00\x10", bytes(2)]
        kind = c.choice(kinds)
        to = c.choice([bytes(6), b"\xff" * 6, b"\x01" + bytes(5), b"\x02" + bytes(5)])
        frame = bytearray(to + bytes(6) + kind + self.noise(c.choice([40, 46, 50, 60, 86, 114])))
        if kind == b"\x81\x00":
            frame[16:18] = c.choice([b"\x08\x00", b"\x81\x00", b"\x86\xdd"])
        return bytes(frame)

    def reading(self) -> Step:
        """What socket filters may do with a packet."""
        c, size = self.chance, self.size()
        if c.random() < 0.5:
            return Call("skb_load_bytes", (CTX, self.offset(), self.memory(size), size))
        header = c.choice([0, 1, 1, 2])
        return Call("skb_load_bytes_relative", (CTX, self.offset(), self.memory(size), size, header))

    def skb(self) -> Step:
        """What tc programs may do with a packet."""
        c, size = self.chance, self.size()
        flag = c.choice([0, 0, 0, 1])
        l4 = c.choice([0, 2, 4, 1]) | c.choice([0, 0x10, 0x20, 0x40, 0x60, 0x80, 0x100])
        choices: list[Step] = [
            self.reading(),
            Call("skb_store_bytes", (CTX, self.offset(), self.memory(size), size, c.choice([0, 1, 2, 3, 4]))),
            Call("skb_pull_data", (CTX, c.choice([0, 10, 64, 100, 200]))),
            Call(
                "l3_csum_replace",
                (CTX, self.offset(), c.choice([0, self.number()]), self.number(), c.choice([0, 2, 4, 1, 16])),
            ),
            Call("l4_csum_replace", (CTX, self.offset(), c.choice([0, self.number()]), self.number(), l4)),
            self.difference(),
            Call("csum_update", (CTX, self.number())),
            Call("csum_level", (CTX, c.randrange(5))),
            Call("set_hash", (CTX, self.number())),
            Call("set_hash_invalid", (CTX,)),
            Call("skb_change_type", (CTX, c.randrange(8))),
            Call("skb_set_tstamp", (CTX, self.number(), c.randrange(4))),
            Call("skb_ecn_set_ce", (CTX,)),
            Call("skb_vlan_push", (CTX, c.choice([0x81, 0xA888, 0, 5]), self.number())),
            Call("skb_vlan_pop", (CTX,)),
            Call("skb_change_proto", (CTX, c.choice([0x08, 0xDD86, 0x81]), flag)),
            Call("skb_adjust_room", (CTX, self.delta(), c.choice([0, 1, 1, 2]), c.choice([0, self.room()]))),
            Call(
                "skb_change_tail", (CTX, c.choice([0, 14, 33, 34, 64, 1000, 4000, 16065, self.tail()]), flag)
            ),
            Call("skb_change_head", (CTX, c.choice([0, 1, 14, 64, 100, 20000, 0xFFFF_FFFF]), flag)),
            Call(c.choice(["get_route_realm", "skb_cgroup_classid", "get_socket_uid"]), (CTX,)),
            Call(c.choice(["redirect", "redirect_peer"]), (1, c.choice([0, 1, 2, 8, 1 << 40]))),
            Call("redirect_neigh", (1, 0, 0, flag)),
            Field(c.choice(skb_fields(ProgType.SCHED_CLS))),
        ]
        return c.choice(choices)

    def difference(self) -> Call:
        """csum_diff of two pieces of memory, each of which may be missing."""
        one, other = (self.chance.choice([0, 4, 8, 20, 64, 3]) for _ in range(2))
        return Call(
            "csum_diff",
            (
                self.memory(one) if one else 0,
                one,
                self.memory(other) if other else 0,
                other,
                self.number(),
            ),
        )

    def delta(self) -> int:
        """A change of length."""
        return self.chance.choice([0, 4, 8, 20, 40, -4, -8, -20, -40, -64, 0x1000, 0xFFF, 100])

    def tail(self) -> int:
        """A length."""
        return self.chance.randrange(200)

    def room(self) -> int:
        """Flags of adjust_room."""
        flags = sum(1 << bit for bit in range(_ROOM_FLAGS) if self.chance.random() < 0.15)
        return flags | (self.chance.choice([14, 4, 50]) << 56 if self.chance.random() < 0.3 else 0)

    def xdp(self) -> Step:
        """What XDP programs may do with a frame."""
        c, size = self.chance, self.size()
        edges = [0, 1, 4, -4, 8, -8, 14, -14, -200, -216, -217, -220, -252, -256, -300, 40, 60, 3000, 3500]
        choices: list[Step] = [
            Call("xdp_adjust_head", (CTX, c.choice([*edges, c.randrange(-60, 60)]))),
            Call("xdp_adjust_tail", (CTX, c.choice([*edges, c.randrange(-60, 60)]))),
            Call("xdp_adjust_meta", (CTX, c.choice([0, -4, -8, 4, 8, -32, -36, -252, -256, -2, 1]))),
            Call("xdp_get_buff_len", (CTX,)),
            Call("xdp_load_bytes", (CTX, self.offset(), self.memory(size), size)),
            Call("xdp_store_bytes", (CTX, self.offset(), self.memory(size), size)),
            Call("redirect", (1, c.choice([0, 1, 2, 8, 1 << 40]))),
        ]
        return c.choice(choices)

    def key(self, spec: MapSpec) -> Buffer:
        """A key of few that there are, so that they are met again."""
        c = self.chance
        if spec.type is not MapType.LPM_TRIE:
            return Buffer(struct.pack("=I", c.choice([0, 1, 2, 3, 4, 5, 7, 8, 9, 1000])))
        address = bytes([10, c.choice([0, 1, 128]), c.choice([0, 1, 255]), c.choice([0, 1, 128])])
        return Buffer(struct.pack("=I", c.choice([0, 1, 7, 8, 9, 15, 16, 24, 31, 32, 33])) + address)

    def map(self) -> Step:
        """An operation on one of the maps."""
        c = self.chance
        spec = c.choice(MAPS)
        name, value = MapName(spec.name), self.memory(spec.value_size)
        flags = c.choice([0, 0, 0, 1, 2, 3, 4, 5, 8, 1 << 40])
        if spec.type in (MapType.QUEUE, MapType.STACK):
            push = Call("map_push_elem", (name, value, flags))
            return c.choice(
                [push, push, Call("map_pop_elem", (name, value)), Call("map_peek_elem", (name, value))]
            )
        if spec.type is MapType.RINGBUF:
            size = c.choice([1, 7, 8, 9, 100, 1000, 1500])
            output = Call("ringbuf_output", (name, self.memory(size), size, c.choice([0, 0, 1, 2, 3, 4])))
            return c.choice([output, output, Call("ringbuf_query", (name, c.randrange(6)))])
        key = self.key(spec)
        update = Call("map_update_elem", (name, key, value, flags))
        lookup = Call("map_lookup_elem", (name, key), peek=8)
        return c.choice([update, update, lookup, Call("map_delete_elem", (name, key))])

    def digits(self) -> bytes:
        """Text that may be a number."""
        c = self.chance
        edge = 1 << c.choice([63, 64, 10])
        if c.random() < 0.3:
            text = str(c.choice([edge, -edge, edge - 1, -edge - 1, c.getrandbits(64), 0])).encode()
        elif c.random() < 0.5:
            number = format(c.getrandbits(c.choice([4, 16, 40])), c.choice("xod")).encode()
            text = c.choice([b"", b" ", b"-", b"  -"]) + c.choice([b"0x", b"0X", b"0", b""]) + number
        else:
            text = bytes(c.choice(b"0123456789abcdefxX- +gz\t\n") for _ in range(c.randrange(1, 12)))
        ending = c.choice([b"", b"", b"", b"\0001", b"0" * 70])
        return c.choice([b"", b"", b"", b" " + b"0" * 70]) + text + ending

    def text(self) -> Step:
        """Parsing, comparing, formatting."""
        c = self.chance
        if c.random() < 0.5:
            text, base = self.digits(), c.choice([0, 0, 8, 10, 16, 16, 10, 2, 32, 1 << 40])
            return Call(c.choice(["strtol", "strtoul"]), (Buffer(text), len(text), base, self.memory(8)))
        if c.random() < 0.3:
            one, other = (bytes(c.choice(b"ab\0\xff") for _ in range(6)) for _ in range(2))
            return Call("strncmp", (Buffer(one), 6, Constant(other.split(b"\0")[0] + b"\0")))
        return self.format()

    def format(self) -> Call:
        """snprintf, of numbers and of addresses where nothing is."""
        c = self.chance
        special = [0, 1, 1 << 31, (1 << 32) - 1, (1 << 64) - 1, 65]
        values = [c.choice([*special, c.getrandbits(64)]) for _ in range(c.randrange(5))]
        count = len(values) if c.random() < 0.8 else c.randrange(5)
        parts = [c.choice([b"a", b" ", b":", b"%%"]) + c.choice(_INTEGERS) for _ in range(count)]
        text, size = b"".join(parts), c.choice([0, 1, 5, 20, 200])
        if b"%p" in text and size < 200:
            # What the kernel prints after an address that was cut off is what its buffer happens to hold.
            text = b"%d"
        data = struct.pack(f"={len(values)}Q", *values)
        target, numbers = self.memory(size) if size else 0, Buffer(data) if data else 0
        return Call("snprintf", (target, size, Constant(text + b"\0"), numbers, len(data)))

    def skb_ctx(self, frame: bytes) -> bytes:
        """A context for a test run, mostly with fields that may be set."""
        c = self.chance
        ctx = bytearray(SK_BUFF.size)
        length = len(frame)
        wild: dict[str, list[int]] = {
            "mark": [self.number()],
            "priority": [self.number()],
            "ingress_ifindex": [1, 5],
            "ifindex": [0, 1, 1, 1, 77],
            "cb": [self.number()],
            "tstamp": [self.number()],
            "wire_len": [0, 14, length, length - 1, length - 15, 65536, 65537],
            "gso_segs": [0, 14, 65535, 65536],
            "gso_size": [0, 14, 65535, 70000],
            "hwtstamp": [self.number()],
        }
        for name, values in wild.items():
            field = SK_BUFF.field(name)
            assert field is not None
            if c.random() < 0.4:
                struct.pack_into(
                    "=Q" if field.size == 8 else "=I",
                    ctx,
                    field.offset,
                    c.choice(values) & ((1 << 8 * field.size) - 1),
                )
        if c.random() < 0.1:
            ctx[c.randrange(SK_BUFF.size)] = 1
        return bytes(ctx) + c.choice([b"", b"", b"", b"", bytes(3), b"\1"])

    def xdp_ctx(self, size: int) -> bytes | None:
        """A context for a test run of an XDP program, or none."""
        c = self.chance
        if c.random() < 0.5:
            return None
        meta, end = (
            c.choice([0, 0, 4, 8, 32, 36, 252, 256, 2]),
            c.choice([size] * 3 + [size - 1, 10, 14, 20, 40]),
        )
        return struct.pack(
            "=6I", meta, end, 0, c.choice([0, 0, 1, 1, 77]), c.choice([0, 0, 1]), c.choice([0, 0, 0, 1])
        )


def skb_fields(prog_type: ProgType) -> list[str]:
    """The fields of ``__sk_buff`` that are numbers and that programs of the type may read."""
    return [
        field.name
        for field in SK_BUFF.fields
        if field.kind is FieldKind.SCALAR and field.readable(prog_type) and field.length is None
    ]


def seen(prog_type: ProgType) -> list[Step]:
    """Steps that show the context at the end."""
    return [Field(name) for name in skb_fields(prog_type)]


def tc_script(steps: Steps) -> Script:
    """A few changes of a packet by a tc program."""
    after: list[Step] = [
        Call("skb_load_bytes_relative", (CTX, 0, Buffer(b"\0"), 1, 0)),
        Call("skb_load_bytes_relative", (CTX, 0, Buffer(b"\0"), 1, 1)),
        Call("csum_level", (CTX, 0)),
    ]
    made = [steps.skb() for _ in range(steps.chance.randrange(1, 9))]
    return Script(ProgType.SCHED_CLS, [*made, *seen(ProgType.SCHED_CLS), *after], steps.frame())
