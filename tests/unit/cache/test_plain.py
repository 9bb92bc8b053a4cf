"""Objects as plain data: what comes back is equal, also for the samples; what was not made here is refused."""

from __future__ import annotations

import marshal
from pathlib import Path

import pytest

from pyebpf import btf
from pyebpf.backend.elf import write_object
from pyebpf.cli import import_file, programs_of
from pyebpf.driver import compile_programs
from pyebpf.fingerprint import fingerprint
from pyebpf.layout import U32, struct_type
from pyebpf.object import MapSpec, ObjectSpec
from pyebpf.plain import NotPlain, decode, encode
from pyebpf.target import Target
from pyebpf.uapi.constants import MapType

SAMPLES = sorted(
    path
    for path in (Path(__file__).resolve().parents[3] / "samples").glob("*.py")
    if "-> int:" in path.read_text() and path.stem not in ("lab", "frames")
)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_samples_come_back(path: Path) -> None:
    for decl in programs_of(import_file(path)):
        target = Target()
        key = fingerprint(decl, target)
        spec = compile_programs([decl], target).object
        found = decode(marshal.loads(marshal.dumps(encode(spec, key.structs))), key.structs, ObjectSpec)
        assert repr(found) == repr(spec)
        assert write_object(found) == write_object(spec)
        for name, one in spec.maps.items():
            assert found.maps[name].value == one.value  # structs of the user are themselves


def test_cycles_and_sharing_come_back() -> None:
    node = btf.Struct("node", 8)
    node.members = (btf.Member("next", btf.Ptr(node), 0),)
    spec = ObjectSpec(maps={"m": MapSpec("m", MapType.HASH, 4, 8, 1, key_type=node, value_type=node)})
    found = decode(encode(spec, []), [], ObjectSpec).maps["m"].value_type
    assert isinstance(found, btf.Struct) and found is not node
    pointed = found.members[0].type
    assert isinstance(pointed, btf.Ptr) and pointed.target is found


def test_structs_of_users_have_to_be_known() -> None:
    struct = struct_type("Record", [("a", U32)], python_class=lambda: None)
    spec = ObjectSpec(maps={"m": MapSpec("m", MapType.HASH, 4, 4, 1, value=struct)})
    with pytest.raises(NotPlain):
        encode(spec, [])
    assert decode(encode(spec, [struct]), [struct], ObjectSpec).maps["m"].value is struct


@pytest.mark.parametrize(
    "data",
    [
        None,
        (),
        ((),),
        (("os", "system", "true"),),
        (("pyebpf.object", "no_such"),),
        (("pyebpf.object", "ObjectSpec"),),
        (("pyebpf.object", "btf", 1),),
        (("pyebpf.object", "map_spec", 1),),
        (("pyebpf.layout", "IntType", 8, False, ("record", 7)),),
        (("pyebpf.layout", "IntType", 8, False, ("strange", 7)),),
    ],
)
def test_what_was_not_made_here_is_refused(data: object) -> None:
    with pytest.raises((NotPlain, AssertionError)):
        decode(data, [], ObjectSpec)  # type: ignore[arg-type]  # that is the test
