"""Pieces that read and write packets: what a program begins with, and walks over headers."""

from __future__ import annotations

from tests.valid.pieces import note, notes, piece
from tests.valid.writer import Writer


def headers(w: Writer) -> None:
    """What programs begin with: the network header and the ports, in one of several styles."""
    w.rng.choice((_offsets, _structs, _any_version, _just_bytes))(w)


def _leave_unless(w: Writer, condition: str) -> None:
    """Other packets are let through."""
    with w.block(f"if {condition}:"):
        w.emit(f"return {w.verdict()}")


def _offsets(w: Writer) -> None:
    """By numbers."""
    if w.base:
        _leave_unless(w, f"{w.read('be16', 12)} != {w.pick('bpf.ETH_P_IP', '0x800')}")
    w.assign("protocol", w.read("u8", w.base + 9), 255)
    w.assign("source", w.read("be32", w.base + 12), 2**32 - 1)
    w.assign("start", f"{w.base} + ({w.read('u8', w.base)} & 15) * 4", w.base + 60)
    if w.chance(70):
        wanted = w.pick("protocol not in (6, 17)", "protocol != socket.IPPROTO_UDP and protocol != 6")
        _leave_unless(w, wanted)
        w.assign("port", w.read("be16", "start + 2"), 65535)


def _structs(w: Writer) -> None:
    """By structs, which are views where the program may look into the packet, else copies."""
    w.struct("Ipv4")
    w.struct("Ports")
    if w.base and w.kind.views:
        w.struct("Ethernet")
        w.emit(f"ethernet = {w.ctx}.read(Ethernet, 0)")
        _leave_unless(w, "ethernet.kind != bpf.ETH_P_IP")
    elif w.base:
        _leave_unless(w, f"{w.read('be16', 12)} != bpf.ETH_P_IP")
    w.emit(f"ip = {w.read('Ipv4', w.base)}")
    _leave_unless(
        w, w.pick("ip.version_words & 15 < 5", "ip.version_words >> 4 != 4", "ip.fragment & 0x1FFF")
    )
    w.assign("protocol", "ip.protocol", 255)
    w.assign("source", "ip.source", 2**32 - 1)
    if w.chance(60):
        w.emit(f"ports = {w.read('Ports', f'{w.base} + (ip.version_words & 15) * 4')}")
        w.assign(
            "port",
            w.pick("ports.target", "min(ports.source, ports.target)", "max(ports.source, ports.target)"),
            65535,
        )


def _any_version(w: Writer) -> None:
    """Both versions of IP."""
    w.emit(f"version = {w.read('u8', w.base)} >> 4")
    w.ints["version"] = 15
    if w.chance(50):
        with w.block("match version:"):
            with w.block("case 4:"):
                w.emit(f"protocol = {w.read('u8', w.base + 9)}", f"start = {w.base + 20}")
            with w.block("case 6:"):
                w.emit(f"protocol = {w.read('u8', w.base + 6)}", f"start = {w.base + 40}")
            with w.block("case _:"):
                w.emit(f"return {w.verdict()}")
    else:
        with w.block("if version == 4:"):
            w.emit(f"protocol = {w.read('u8', w.base + 9)}", f"start = {w.base + 20}")
        with w.block("elif version == 6:"):
            w.emit(f"protocol = {w.read('u8', w.base + 6)}", f"start = {w.base + 40}")
        with w.block("else:"):
            note(w)
            w.emit(f"return {w.verdict()}")
    w.ints |= {"protocol": 255, "start": w.base + 40}
    if w.chance(60):
        w.assign("port", w.read("be16", w.pick("start", "start + 2")), 65535)


def _just_bytes(w: Writer) -> None:
    """Whatever it is."""
    w.assign("length", f"len({w.ctx})", 0xFFFF)
    w.assign("first", w.read("u8", w.rng.randrange(4)), 255)
    if w.chance(50):
        w.assign("word", w.read(w.pick("be32", "u32", "le32"), w.rng.randrange(10)), 2**32 - 1)


@piece
def vlan_tags(w: Writer) -> None:
    """Tags before the network header."""
    name, tags = w.fresh("kind"), w.fresh("tags", "depth")
    at = w.fresh("at", "offset")
    w.emit(f"{at} = 12", f"{tags} = 0")
    w.emit(f"{name} = {w.read('be16', at)}")
    head = w.pick(f"for _ in range({w.rng.choice((2, 4, 8))}):", f"while {tags} < {w.rng.choice((3, 6))}:")
    with w.block(head):
        with w.block(f"if {name} not in (0x8100, 0x88A8):"):
            w.emit("break")
        w.emit(f"{at} += 4", f"{tags} += 1", f"{name} = {w.read('be16', at)}")
    w.ints |= {name: 65535, tags: 8, at: 44}


@piece
def options(w: Writer) -> None:
    """Options with a length of their own."""
    at, kind, count = w.fresh("at", "position"), w.fresh("kind"), w.fresh("count", "options")
    end = w.fresh("end")
    length, greatest = w.fresh("size", "length"), w.fresh("largest")
    start = w.rng.choice((14, 34, 54))
    w.emit(f"{at} = {start}", f"{end} = {start} + {w.index(64)}", f"{count} = 0", f"{greatest} = 0")
    trips = w.trips(64)
    with w.block(f"for _ in range({trips}):", rounds=trips):
        with w.block(f"if {at} >= {end}:"):
            w.emit("break")
        w.emit(f"{kind} = {w.read('u8', at)}")
        with w.block(f"if {kind} == 0:"):
            w.emit("break")
        if w.chance(70):
            with w.block(f"if {kind} == 1:"):
                w.emit(f"{at} += 1", "continue")
        w.emit(f"{length} = {w.read('u8', f'{at} + 1')}")
        w.ints |= {kind: 255, length: 255}
        with w.block(f"if {length} < 2:"):
            w.emit(w.pick("break", "raise ValueError", f"return {w.verdict()}"))
        if w.chance(60):
            with w.block(f"if {length} > {greatest}:"):
                w.emit(f"{greatest} = {length}")
        if w.chance(40):
            notes(w, 1)
        w.emit(f"{at} += {length}", f"{count} += 1")
        if w.chance(30):
            with w.block(f"if {at} > {w.rng.choice((100, 1400))}:"):
                w.emit("break")
    w.ints |= {count: trips, greatest: 255}


@piece
def extension_headers(w: Writer) -> None:
    """The chain of an IPv6 packet."""
    following, at = w.fresh("following", "next_header"), w.fresh("offset")
    w.emit(f"{following} = {w.read('u8', w.base + 6)}", f"{at} = {w.base + 40}")
    with w.block(f"for _ in range({w.rng.choice((3, 6, 8))}):"):
        with w.block(f"if {following} in (0, 43, 60):"):
            w.emit(f"{following} = {w.read('u8', at)}", f"{at} += ({w.read('u8', f'{at} + 1')} + 1) * 8")
        with w.block(f"elif {following} == 44:"):
            w.emit(f"{following} = {w.read('u8', at)}", f"{at} += 8")
        with w.block("else:"):
            w.emit("break")
    w.ints[following] = 255


@piece
def labels(w: Writer) -> None:
    """The name in a DNS query."""
    at, count, hashed = w.fresh("at"), w.fresh("labels"), w.fresh("hashed")
    w.emit(f"{at} = {w.base + 40}", f"{count} = 0", f"{hashed}: u32 = 5381")
    with w.block(f"for _ in range({w.rng.choice((4, 8, 16))}):", rounds=16):
        w.emit(f"size = {w.read('u8', at)}")
        with w.block("if size == 0 or size > 63:"):
            w.emit("break")
        inner = w.rng.choice((4, 8, 16))
        with w.block(f"for i in range({inner}):", rounds=inner):
            with w.block("if i >= size:"):
                w.emit("break")
            w.emit(f"{hashed} = {hashed} * 33 + {w.read('u8', f'{at} + 1 + i')}")
        w.emit(f"{at} += size + 1", f"{count} += 1")
    with w.block(f"if {count} > 2:"):
        note(w)
    w.ints |= {count: 16, hashed: 2**32 - 1}


@piece
def rewrite(w: Writer) -> None:
    """Change the packet: in place, or by copying into it."""
    text, _ = w.number()
    if w.kind.writes and w.chance(60):
        of = w.pick("u8", "u16", "be16", "be32")
        w.emit(f"{w.ctx}.store({w.rng.randrange(6, 30)}, {'u8' if of == 'u8' else 'u16'}({text}), {of})")
    elif w.kind.views:
        view = w.fresh("view", "ends")
        w.struct("Ports")
        w.emit(f"{view} = {w.ctx}.read(Ports, {w.rng.randrange(0, 24)})")
        w.emit(
            w.pick(
                f"{view}.source, {view}.target = {view}.target, {view}.source",
                f"{view}.target = u16({text})",
                f"{view}.source ^= {w.rng.randrange(65536)}",
            )
        )


@piece
def payload_text(w: Writer) -> None:
    """Bytes of the payload as a string."""
    if not w.kind.copies or not w.take(8):
        return
    text, size = w.fresh("text", "start_of"), w.rng.choice((4, 6, 8))
    w.emit(f"{text} = {w.ctx}.load_bytes({w.rng.randrange(14, 40)}, {size})")
    condition = w.pick(
        f"{text}.startswith(b'GE')", f"{text} == b'abcd'", f"len({text}) > 2", f"{text}[1] in (97, 101, 105)"
    )
    with w.block(f"if {condition}:"):
        notes(w)
    if w.chance(50):
        vowels = w.fresh("vowels", "zeros")
        w.emit(f"{vowels} = 0")
        with w.block(f"for byte in {text}:", rounds=size):
            w.emit(
                f"{vowels} += byte in (97, 101, 105)"
                if w.chance(50)
                else f"{vowels} += 1 if byte == 0 else 0"
            )
        w.ints[vowels] = size
