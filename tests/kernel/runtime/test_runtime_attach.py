"""Attaching on real hooks: sockets, XDP, tc and sockmaps, each way that kernels offer, and what stays
behind."""

from __future__ import annotations

import errno
import gc
import json
import os
import socket
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pyebpf.backend.insn import Insn, ldx
from pyebpf.object import MapSpec, ProgramSpec
from pyebpf.runtime.attach.link import BpfLink, Link, OtherLink
from pyebpf.runtime.attach.netlink import RTM_SETLINK, Netlink, attribute, attributes, interface_index
from pyebpf.runtime.attach.socket import attach_socket
from pyebpf.runtime.attach.sockmap import attach_sockmap
from pyebpf.runtime.attach.tc import TcMethod, attach_tc
from pyebpf.runtime.attach.xdp import XdpMethod, XdpMode, attach_xdp
from pyebpf.runtime.errors import BpfError, NotSupported, Phase
from pyebpf.runtime.load import load
from pyebpf.runtime.map_kinds import SockMap
from pyebpf.runtime.maps import ArrayMap
from pyebpf.runtime.pinned import open_pinned
from pyebpf.runtime.program import LoadedProgram
from pyebpf.uapi.constants import AttachType, LinkType, MapType, ProgType, SkAction, TcAction, XdpAction
from tests.kernel.runtime.objects import an_object, exit_, load_one, program, returns
from tests.kernel.runtime.places import Veth, open_fds, pin_directory, veth_pair

ROOT = Path(__file__).parents[3]


def ip_link(net: Veth) -> dict[str, object]:
    """What ``ip`` says about veth0."""
    shown = subprocess.run(
        ["ip", "-n", net.near, "-j", "-d", "link", "show", "dev", "veth0"], capture_output=True, check=True
    )
    found: dict[str, object] = json.loads(shown.stdout)[0]
    return found


def tc_shows(net: Veth, *words: str) -> str:
    """The output of ``tc`` in the near namespace."""
    return subprocess.run(["tc", "-n", net.near, *words], capture_output=True, check=True, text=True).stdout


MODES = [
    (XdpMode.AUTO, XdpMethod.LINK, "xdp"),
    (XdpMode.NATIVE, None, "xdp"),
    (XdpMode.GENERIC, None, "xdpgeneric"),
    (XdpMode.AUTO, XdpMethod.NETLINK, "xdp"),
    (XdpMode.NATIVE, XdpMethod.NETLINK, "xdp"),
    (XdpMode.GENERIC, XdpMethod.NETLINK, "xdpgeneric"),
]


@pytest.mark.parametrize(("mode", "method", "shown"), MODES)
def test_xdp_drops_what_arrives(mode: XdpMode, method: XdpMethod | None, shown: str) -> None:
    with veth_pair() as net, load_one(returns(XdpAction.DROP, ProgType.XDP)) as loaded:
        program = loaded.programs["prog"]
        assert net.gets_through()
        before = open_fds()
        with net.in_near(lambda: attach_xdp(program, "veth0", mode=mode, method=method)) as link:
            assert not net.gets_through()
            assert isinstance(link, OtherLink if method is XdpMethod.NETLINK else BpfLink)
            xdp = ip_link(net)["xdp"]
            assert isinstance(xdp, dict)
            assert {1: "xdp", 2: "xdpgeneric"}[xdp["mode"]] == shown
            with pytest.raises(BpfError) as caught:
                net.in_near(lambda: attach_xdp(program, "veth0", mode=mode, method=method))
            assert caught.value.errno == errno.EBUSY
        assert net.gets_through()
        assert open_fds() == before


def test_an_xdp_link_is_updated_pinned_and_described() -> None:
    drop = returns(XdpAction.DROP, ProgType.XDP, "drop")
    allow = returns(XdpAction.PASS, ProgType.XDP, "allow")
    wrong = returns(0, ProgType.SOCKET_FILTER, "wrong")
    with veth_pair() as net, load(an_object(drop, allow, wrong)) as loaded, pin_directory() as directory:
        programs = loaded.programs
        link = net.in_near(lambda: attach_xdp(programs["drop"], "veth0"))
        index = net.in_near(lambda: interface_index("veth0"))
        facts = link.info()
        assert (facts.type, facts.program_id, facts.target) == (
            LinkType.XDP,
            programs["drop"].info().id,
            index,
        )
        assert not net.gets_through()
        link.update(programs["allow"])
        assert net.gets_through()
        assert link.info().program_id == programs["allow"].info().id
        with pytest.raises(BpfError) as caught:
            link.update(programs["wrong"])
        assert caught.value.phase is Phase.UPDATE_LINK
        link.update(programs["drop"])
        link.pin(directory / "link")
        link.close()
        assert not net.gets_through()
        found = open_pinned(directory / "link")
        assert isinstance(found, BpfLink)
        found.detach()
        found.detach()
        assert net.gets_through()


def test_netlink_xdp_leaves_other_programs_alone() -> None:
    with veth_pair() as net, load_one(returns(XdpAction.PASS, ProgType.XDP)) as loaded:
        program = loaded.programs["prog"]
        link = net.in_near(lambda: attach_xdp(program, "veth0", method=XdpMethod.NETLINK))
        for operation in (lambda: link.pin("/sys/fs/bpf/x"), lambda: link.update(program), link.info):
            with pytest.raises(NotSupported, match="not a bpf_link"):
                operation()
        with load_one(returns(XdpAction.DROP, ProgType.XDP)) as other:
            subprocess.run(["ip", "-n", net.near, "link", "set", "veth0", "xdp", "off"], check=True)
            theirs = net.in_near(
                lambda: attach_xdp(other.programs["prog"], "veth0", method=XdpMethod.NETLINK)
            )
            link.close()
            assert not net.gets_through()
            theirs.close()
        assert net.gets_through()


def test_the_kernels_words_are_in_netlink_errors() -> None:
    with load_one(returns(XdpAction.PASS, ProgType.XDP)) as loaded:
        with pytest.raises(BpfError, match="to interface 'nowhere'") as caught:
            attach_xdp(loaded.programs["prog"], "nowhere")
        assert caught.value.errno == errno.ENODEV
        # An index that does not exist: the link says EINVAL, so netlink is asked, which knows the reason.
        with pytest.raises(BpfError) as caught:
            attach_xdp(loaded.programs["prog"], 987654)
        assert caught.value.errno == errno.ENODEV
    with veth_pair() as net, load_one(returns(1, ProgType.SOCKET_FILTER)) as wrong:
        with pytest.raises(BpfError) as caught:
            net.in_near(lambda: attach_xdp(wrong.programs["prog"], "veth0", method=XdpMethod.NETLINK))
        assert caught.value.errno == errno.EINVAL
        subprocess.run(["ip", "-n", net.far, "link", "set", "veth1", "mtu", "9000"], check=True)
        with load_one(returns(XdpAction.PASS, ProgType.XDP)) as loaded, pytest.raises(BpfError) as caught:
            net.in_near(lambda: attach_xdp(loaded.programs["prog"], "veth0", method=XdpMethod.NETLINK))
        assert caught.value.phase is Phase.NETLINK
        assert caught.value.errno == errno.ERANGE
        assert "MTU is too large" in str(caught.value)


@pytest.mark.parametrize("egress", [False, True])
@pytest.mark.parametrize("method", [None, TcMethod.TCX, TcMethod.CLSACT])
def test_tc_drops_either_way(egress: bool, method: TcMethod | None) -> None:
    with veth_pair() as net, load_one(returns(TcAction.SHOT, ProgType.SCHED_CLS)) as loaded:
        program = loaded.programs["prog"]
        before = open_fds()
        link = net.in_near(lambda: attach_tc(program, "veth0", egress=egress, method=method))
        with link:
            assert isinstance(link, OtherLink if method is TcMethod.CLSACT else BpfLink)
            assert net.leaves() == (not egress)
            # The address is known to both sides, so only this direction is affected.
            assert net.gets_through() == egress
            if method is TcMethod.CLSACT:
                assert "clsact" in tc_shows(net, "qdisc", "show", "dev", "veth0")
                side = "egress" if egress else "ingress"
                assert "direct-action" in tc_shows(net, "filter", "show", "dev", "veth0", side)
            else:
                assert link.info().type is LinkType.TCX
        assert net.leaves() and net.gets_through()
        assert "clsact" not in tc_shows(net, "qdisc", "show", "dev", "veth0")
        assert open_fds() == before


def test_a_foreign_clsact_and_its_filters_stay() -> None:
    with veth_pair() as net, load_one(returns(TcAction.SHOT, ProgType.SCHED_CLS)) as loaded:
        program = loaded.programs["prog"]
        tc_shows(net, "qdisc", "add", "dev", "veth0", "clsact")
        net.in_near(lambda: attach_tc(program, "veth0", method=TcMethod.CLSACT)).close()
        assert "clsact" in tc_shows(net, "qdisc", "show", "dev", "veth0")
        tc_shows(net, "qdisc", "del", "dev", "veth0", "clsact")

        # Ours, but somebody else has put a filter into it meanwhile.
        link = net.in_near(lambda: attach_tc(program, "veth0", method=TcMethod.CLSACT))
        theirs = net.in_near(lambda: attach_tc(program, "veth0", egress=True, method=TcMethod.CLSACT))
        link.close()
        assert net.gets_through() and not net.leaves()
        assert "bpf" not in tc_shows(net, "filter", "show", "dev", "veth0", "ingress")
        theirs.close()
        assert net.leaves()
        tc_shows(net, "qdisc", "del", "dev", "veth0", "clsact")

        # Gone before we detach: nothing to complain about.
        link = net.in_near(lambda: attach_tc(program, "veth0", method=TcMethod.CLSACT))
        tc_shows(net, "qdisc", "del", "dev", "veth0", "clsact")
        link.close()


def chain(name: str, verdict: int) -> ProgramSpec:
    """A tc program that returns ``verdict``."""
    return returns(verdict, ProgType.SCHED_CLS, name)


@pytest.mark.parametrize("method", list(TcMethod))
def test_tc_programs_run_in_order(method: TcMethod) -> None:
    with (
        veth_pair() as net,
        load(an_object(chain("ok", TcAction.OK), chain("shot", TcAction.SHOT))) as loaded,
    ):

        def attach(name: str, first: bool = False) -> Link:
            program = loaded.programs[name]
            return net.in_near(lambda: attach_tc(program, "veth0", first=first, method=method))

        with attach("ok"), attach("shot"):
            assert net.gets_through()
        with attach("ok"), attach("shot", first=True):
            assert not net.gets_through()
        with attach("shot"):
            assert not net.gets_through()
            with attach("ok", first=True):
                assert net.gets_through()


VERDICTS = [
    (ProgType.SK_SKB, AttachType.SK_SKB_VERDICT, None),
    (ProgType.SK_SKB, AttachType.SK_SKB_VERDICT, False),
    (ProgType.SK_SKB, AttachType.SK_SKB_VERDICT, True),
]


@pytest.mark.parametrize(("prog_type", "attach_type", "link"), VERDICTS)
def test_a_verdict_on_a_sockmap(prog_type: ProgType, attach_type: AttachType, link: bool | None) -> None:
    sockets = MapSpec("sockets", MapType.SOCKMAP, 4, 8, 2)
    spec = an_object(
        returns(SkAction.DROP, prog_type, "drop"), returns(SkAction.PASS, prog_type, "keep"), maps=[sockets]
    )
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    right.settimeout(0.2)
    with left, right, load(spec) as loaded:
        found = loaded.maps["sockets"]
        assert isinstance(found, SockMap)
        before = open_fds()
        with attach_sockmap(loaded.programs["drop"], found, attach_type=attach_type, link=link) as made:
            assert isinstance(made, OtherLink if link is False else BpfLink)
            found[0] = right
            left.send(b"gone")
            with pytest.raises(TimeoutError):
                right.recv(10)
            del found[0]
        assert open_fds() == before
        with attach_sockmap(loaded.programs["keep"], found, link=link):
            found[0] = right
            left.send(b"kept")
            assert right.recv(10) == b"kept"


def test_what_does_not_attach_to_a_sockmap() -> None:
    spec = an_object(returns(0), maps=[MapSpec("sockets", MapType.SOCKMAP, 4, 8, 2)])
    with load(spec) as loaded:
        found = loaded.maps["sockets"]
        assert isinstance(found, SockMap)
        with pytest.raises(TypeError, match="does not attach to a sockmap"):
            attach_sockmap(loaded.programs["prog"], found)
        with pytest.raises(BpfError) as caught:
            attach_sockmap(loaded.programs["prog"], found, attach_type=AttachType.SK_SKB_VERDICT)
        assert caught.value.errno == errno.EINVAL


def test_attaching_the_wrong_thing_to_a_socket() -> None:
    left, right = socket.socketpair()
    with left, right, load_one(returns(0, ProgType.XDP)) as loaded:
        with pytest.raises(BpfError) as caught:
            attach_socket(loaded.programs["prog"], left)
        assert (caught.value.errno, caught.value.phase) == (errno.EINVAL, Phase.ATTACH)
        with pytest.raises(BpfError) as caught, open("/dev/null") as file:
            attach_socket(loaded.programs["prog"], file)
        assert caught.value.errno == errno.ENOTSOCK


def test_dropped_links_detach() -> None:
    with veth_pair() as net, load_one(returns(TcAction.SHOT, ProgType.SCHED_CLS)) as loaded:
        program = loaded.programs["prog"]
        for method in TcMethod:
            link = net.in_near(lambda m=method: attach_tc(program, "veth0", method=m))  # type: ignore[misc]
            assert not net.gets_through()
            del link
            gc.collect()
            assert net.gets_through()


LEAVER = """
    import os, sys
    from pyebpf.object import *
    from pyebpf.runtime.attach.tc import TcMethod, attach_tc
    from pyebpf.runtime.attach.xdp import XdpMethod, attach_xdp
    from pyebpf.runtime.load import load
    from pyebpf.uapi.constants import *
    from tests.kernel.runtime.objects import an_object, array_of_u64, counts_in, returns
    from tests.kernel.runtime.places import _setns
    what, namespace, directory = sys.argv[1:]
    _setns("/run/netns/" + namespace)
    if what == "pin":
        spec = an_object(counts_in("counts", prog_type=ProgType.SCHED_CLS), maps=[array_of_u64()])
        loaded = load(spec)
        link = attach_tc(loaded.programs["prog"], "veth0")
        link.pin(directory + "/link")
        loaded.programs["prog"].pin(directory + "/prog")
        loaded.maps["counts"].pin(directory + "/counts")
    else:
        loaded = load(an_object(returns(TcAction.SHOT, ProgType.SCHED_CLS)))
        link = attach_tc(loaded.programs["prog"], "veth0", method=TcMethod(what))
    print("attached")
"""


def leave_behind(what: str, net: Veth, directory: Path | None = None) -> None:
    """Let another process attach, and exit."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LEAVER), what, net.near, str(directory or "")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "attached\n", "")


def test_pins_keep_working_after_the_loader_exits() -> None:
    with veth_pair() as net, pin_directory() as directory:
        leave_behind("pin", net, directory)
        assert net.gets_through()
        counts, program, link = (open_pinned(directory / name) for name in ("counts", "prog", "link"))
        assert isinstance(counts, ArrayMap)
        assert isinstance(program, LoadedProgram)
        assert isinstance(link, BpfLink)
        now = int.from_bytes(counts[0], sys.byteorder)
        assert now > 0
        assert net.gets_through()
        assert int.from_bytes(counts[0], sys.byteorder) > now
        assert program.type is ProgType.SCHED_CLS
        assert link.info().program_id == program.info().id
        with pytest.raises(ValueError, match="layouts of keys and values are for maps"):
            open_pinned(directory / "prog", key=None, value=__import__("pyebpf.layout").layout.U64)
        for one in (counts, program, link):
            one.close()


@pytest.mark.parametrize("method", ["tcx", "clsact"])
def test_attachments_end_with_their_process(method: str) -> None:
    with veth_pair() as net:
        leave_behind(method, net)
        assert net.gets_through()


def test_nothing_stays_open_over_attach_cycles() -> None:
    sockets = MapSpec("sockets", MapType.SOCKMAP, 4, 8, 2)
    spec = an_object(
        returns(XdpAction.PASS, ProgType.XDP, "xdp"),
        returns(TcAction.OK, ProgType.SCHED_CLS, "tc"),
        returns(SkAction.PASS, ProgType.SK_SKB, "skb"),
        maps=[sockets],
    )
    with veth_pair() as net:
        before = open_fds()

        def cycles() -> None:
            for round_ in range(60):
                with load(spec) as loaded:
                    programs, found = loaded.programs, loaded.maps["sockets"]
                    assert isinstance(found, SockMap)
                    tc = list(TcMethod)[round_ % 2]
                    xdp = list(XdpMethod)[round_ % 2]
                    with (
                        attach_xdp(programs["xdp"], "veth0", method=xdp),
                        attach_tc(programs["tc"], "veth0", method=tc),
                        attach_sockmap(programs["skb"], found, link=bool(round_ % 2)),
                    ):
                        pass

        net.in_near(cycles)
        assert open_fds() == before


def test_attributes_round_trip() -> None:
    data = attribute(1, b"abc") + attribute(2 | 0x8000, attribute(5, b"")) + attribute(3, b"1234")
    assert len(data) % 4 == 0
    assert list(attributes(data)) == [(1, b"abc"), (2, attribute(5, b"")), (3, b"1234")]


def test_a_request_that_makes_no_sense_is_refused() -> None:
    with Netlink() as netlink, pytest.raises(BpfError, match="nothing: ENODEV") as caught:
        netlink.request(RTM_SETLINK, 0, struct.pack("=BxHiII", 0, 0, 987654, 0, 0), "nothing")
    assert caught.value.phase is Phase.NETLINK


def test_parser_and_verdict_of_streams() -> None:
    sockets = MapSpec("sockets", MapType.SOCKMAP, 4, 8, 2)
    parser = program(
        [Insn(ldx(4), 0, 1), exit_], ProgType.SK_SKB, name="parser"
    )  # the whole message: skb->len
    verdict = returns(SkAction.DROP, ProgType.SK_SKB, "verdict")
    for link in (True, False):
        with (
            load(an_object(parser, verdict, maps=[sockets])) as loaded,
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as client,
        ):
            found = loaded.maps["sockets"]
            accepted = server.accept()[0]
            accepted.settimeout(0.2)
            with (
                accepted,
                attach_sockmap(
                    loaded.programs["parser"], found, attach_type=AttachType.SK_SKB_STREAM_PARSER, link=link
                ),
                attach_sockmap(
                    loaded.programs["verdict"], found, attach_type=AttachType.SK_SKB_STREAM_VERDICT, link=link
                ),
            ):
                assert isinstance(found, SockMap)
                found[0] = accepted
                client.send(b"dropped")
                with pytest.raises(TimeoutError):
                    accepted.recv(10)


FORKED = """
    import os, socket, sys
    from pyebpf.runtime.attach.socket import attach_socket
    from tests.kernel.runtime.objects import load_one, returns
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    loaded = load_one(returns(4))
    link = attach_socket(loaded.programs["prog"], receiver)
    child = os.fork()
    if child == 0:
        sys.exit(0)
    os.waitpid(child, 0)
    sender.send(b"Hello")
    print(receiver.recv(10).decode())
"""


def test_a_forked_process_that_exits_detaches_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORKED)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("Hell\n", "")
