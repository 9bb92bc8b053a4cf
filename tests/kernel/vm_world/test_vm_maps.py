"""Maps of the machine against maps of the kernel through the classes that users have: the same answers, the same
exceptions."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pyebpf.layout import U32, U64
from pyebpf.object import MapSpec
from pyebpf.runtime.cpus import possible_cpus
from pyebpf.runtime.errors import BpfError, PermissionDenied
from pyebpf.runtime.map_create import create_map
from pyebpf.runtime.map_kinds import Queue, Stack
from pyebpf.runtime.maps import LpmTrie, Map, MappingMap
from pyebpf.runtime.vm.environment import Environment
from pyebpf.runtime.vm.maps import make_map, user_view
from pyebpf.runtime.vm.memory import Memory
from pyebpf.uapi.constants import MapCreateFlag, MapType

CPUS = possible_cpus()
ROUNDS = 25
SPECS = (
    MapSpec("array", MapType.ARRAY, 4, 8, 4, key=U32, value=U64),
    MapSpec("hash", MapType.HASH, 4, 8, 4, key=U32, value=U64),
    MapSpec("lean", MapType.HASH, 4, 8, 4, flags=MapCreateFlag.NO_PREALLOC, key=U32, value=U64),
    MapSpec("cpu_array", MapType.PERCPU_ARRAY, 4, 8, 4, key=U32, value=U64),
    MapSpec("cpu_hash", MapType.PERCPU_HASH, 4, 8, 4, key=U32, value=U64),
    MapSpec("lru", MapType.LRU_HASH, 4, 8, 2000, key=U32, value=U64),
    MapSpec("trie", MapType.LPM_TRIE, 8, 8, 4, flags=MapCreateFlag.NO_PREALLOC, value=U64),
    MapSpec("queue", MapType.QUEUE, 0, 8, 3, value=U64),
    MapSpec("stack", MapType.STACK, 0, 8, 3, value=U64),
    MapSpec("frozen", MapType.HASH, 4, 8, 4, flags=MapCreateFlag.RDONLY, key=U32, value=U64),
    MapSpec("hidden", MapType.ARRAY, 4, 8, 4, flags=MapCreateFlag.WRONLY, key=U32, value=U64),
)

Answer = tuple[str, object]
Operation = Callable[[Any], object]


def answer(operation: Operation, map_: Map) -> Answer:
    """What came out, or which exception with which errno."""
    try:
        return "result", operation(map_)
    except PermissionDenied as error:
        # At which step it is noticed depends on whether a batch was tried before.
        return type(error).__name__, error.errno
    except BpfError as error:
        return type(error).__name__, (error.errno, error.phase)
    except (KeyError, IndexError, TypeError) as error:
        return type(error).__name__, error.args


def in_order(map_: Map, pairs: Sequence[tuple[Any, Any]]) -> object:
    """Elements, in their order where the kernel's is certain."""
    ordered = isinstance(map_, LpmTrie) or map_.type in (MapType.ARRAY, MapType.PERCPU_ARRAY)
    return list(pairs) if ordered else sorted(pairs)


def sequence_operation(chance: random.Random) -> Operation:
    """Something that one may do with a queue."""
    value, flags = chance.getrandbits(64), chance.choice([0, 0, 0, 1, 2, 2, 3, 4])
    choices: list[Operation] = [
        lambda m: m.push(value, flags),
        lambda m: m.push(value, flags),
        lambda m: m.pop(),
        lambda m: m.peek(),
        lambda m: m.elements.delete(b""),
        lambda m: m.elements.next_key(None),
    ]
    return chance.choice([*choices * 3, lambda m: list(m.drain())])


def operation(chance: random.Random, spec: MapSpec) -> Operation:
    """Something that one may do with a map."""
    if spec.type in (MapType.QUEUE, MapType.STACK):
        return sequence_operation(chance)

    def key() -> Any:
        if spec.type is not MapType.LPM_TRIE:
            return chance.choice([0, 1, 2, 3, 4, 5, 77])
        length = chance.choice([0, 1, 8, 9, 16, 24, 32, 33])
        return struct.pack("=I", length) + bytes([10, chance.choice([0, 1, 128]), chance.choice([0, 255]), 3])

    def value() -> Any:
        per_cpu = spec.type in (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH)
        return tuple(chance.getrandbits(64) for _ in range(CPUS)) if per_cpu else chance.getrandbits(64)

    one, new, flags = key(), value(), chance.choice([0, 0, 0, 1, 2, 3, 4, 5, 8])
    raw = bytes(one) if isinstance(one, bytes) else struct.pack("=I", one)
    pairs = [(key(), value()) for _ in range(3)]
    choices: list[Operation] = [
        lambda m: m[one],
        lambda m: m.update(one, new, flags),
        lambda m: m.update(one, new, flags),
        lambda m: m.__setitem__(one, new),
        lambda m: m.__delitem__(one),
        lambda m: one in m,
        lambda m: m.get(one, "none"),
        len,
        lambda m: in_order(m, list(m.items())),
        lambda m: in_order(m, list(m.keys())),
        lambda m: m.update_many(pairs, flags) if m.type is not MapType.LRU_HASH else None,
        lambda m: m.delete_many([one, one]),
        lambda m: m.pop(one, "none"),
        lambda m: m.elements.lookup(raw),
        lambda m: m.elements.next_key(raw) if spec.type is MapType.ARRAY else None,
        lambda m: m.frozen,
    ]
    rare: list[Operation] = [lambda m: m.freeze()]
    if (
        spec.type is not MapType.LPM_TRIE
    ):  # whether an empty frozen trie refuses depends on what was tried before
        rare += [lambda m: m.clear(), lambda m: in_order(m, list(m.drain()))]
    return chance.choice([*choices * 4, *rare])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_user_space_gets_the_same_answers(spec: MapSpec) -> None:
    kinds: set[str] = set()
    for seed in range(ROUNDS):
        chance = random.Random(f"{spec.name} {seed}")
        machine = user_view(make_map(spec, Memory(), Environment(cpus=CPUS)))
        with create_map(spec) as kernel:
            assert type(kernel) is type(machine)
            for step in range(40):
                do = operation(chance, spec)
                here, there = answer(do, kernel), answer(do, machine)
                kinds.add(here[0])
                assert here == there, f"seed {seed}, step {step}: the kernel {here}, the machine {there}"
    assert "result" in kinds
    assert len(kinds) > 1 or spec.type is MapType.LRU_HASH


BAD = (
    MapSpec("no_entries", MapType.ARRAY, 4, 8, 0),
    MapSpec("no_value", MapType.ARRAY, 4, 0, 4),
    MapSpec("long_key", MapType.ARRAY, 8, 8, 4),
    MapSpec("no_key", MapType.HASH, 0, 8, 4),
    MapSpec("no_elements", MapType.HASH, 4, 8, 0),
    MapSpec("preallocated", MapType.LPM_TRIE, 8, 8, 4),
    MapSpec("no_prefix", MapType.LPM_TRIE, 4, 8, 4, flags=MapCreateFlag.NO_PREALLOC),
    MapSpec("long_prefix", MapType.LPM_TRIE, 261, 8, 4, flags=MapCreateFlag.NO_PREALLOC),
    MapSpec("key_of_queue", MapType.QUEUE, 4, 8, 4),
    MapSpec("no_room", MapType.STACK, 0, 8, 0),
    MapSpec("value_of_ring", MapType.RINGBUF, 0, 8, 4096),
)


@pytest.mark.parametrize("spec", BAD, ids=lambda spec: spec.name)
def test_maps_that_cannot_be_are_refused_alike(spec: MapSpec) -> None:
    with pytest.raises(BpfError) as here:
        create_map(spec)
    with pytest.raises(BpfError) as there:
        make_map(spec, Memory(), Environment())
    assert (here.value.errno, here.value.phase) == (there.value.errno, there.value.phase)


def test_the_classes_say_the_same_of_themselves() -> None:
    for spec in SPECS:
        machine = user_view(make_map(spec, Memory(), Environment(cpus=CPUS)))
        with create_map(spec) as kernel:
            assert repr(kernel) == repr(machine)
            assert kernel.flags == machine.flags
            assert isinstance(machine, MappingMap | Queue | Stack)
