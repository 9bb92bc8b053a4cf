"""What `attach` is given beside the target that a decorator names: it may say the same, never something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyebpf as bpf


class Loaded(Exception):
    """The target was accepted, and the program would be loaded."""


@pytest.fixture(autouse=True)
def stop_before_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: object) -> None:
        raise Loaded

    monkeypatch.setattr("pyebpf.program.Program.load", load)


def program(decorator: Callable[..., Any], *target: str) -> Any:
    def body(ctx: Any) -> None: ...

    return decorator(*target)(body)


PROBE = (bpf.kprobe, "vfs_read")
MULTI = (bpf.kprobe_multi, "vfs_*")
USER = (bpf.uprobe, "/usr/bin/bash", "readline")
USERS = (bpf.uprobe_multi, "/usr/bin/bash", "read*")
EVENT = (bpf.tracepoint, "sched", "sched_switch")


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        (PROBE, {"function": "vfs_write"}),
        (PROBE, {"function": 0xFFFFFFFF81000000}),
        (MULTI, {"functions": "tcp_*"}),
        (MULTI, {"functions": ["vfs_*", "tcp_*"]}),
        (MULTI, {"functions": {"vfs_read": 1}}),
        (USER, {"symbol": "main"}),
        (USER, {"binary": "/usr/bin/env"}),
        (USER, {"binary": "/usr/bin/bash", "symbol": "main"}),
        (USERS, {"symbols": "main"}),
        (USERS, {"symbols": ["main", "read*"]}),
        (USERS, {"binary": Path("/usr/bin/env")}),
        (EVENT, {"name": "sched_waking"}),
        (EVENT, {"category": "irq"}),
        (EVENT, {"category": "irq", "name": "sched_switch"}),
    ],
)
def test_another_target_than_the_decorators_is_refused(
    declared: tuple[Any, ...], given: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=r"body is for '.*': it cannot be attached to"):
        program(*declared).attach(**given)


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        (PROBE, {"function": "vfs_read", "offset": 4}),
        (MULTI, {"functions": ["vfs_*"]}),
        (MULTI, {"functions": {"vfs_*": 7}}),
        (USER, {"binary": Path("/usr/bin/bash"), "symbol": "readline"}),
        (USERS, {"symbols": {"read*": 3}}),
        (EVENT, {"name": "sched_switch"}),
        (EVENT, {"category": "sched:sched_switch"}),
        ((bpf.kprobe_multi,), {"functions": ["vfs_read", "vfs_write"]}),
        ((bpf.kprobe,), {"function": 0xFFFFFFFF81000000}),
        ((bpf.uprobe,), {"binary": "libc", "offset": 4096}),
        ((bpf.uprobe_multi,), {"binary": "libc", "symbols": ["abs", "getenv"]}),
    ],
)
def test_the_same_target_and_one_for_no_other_are_accepted(
    declared: tuple[Any, ...], given: dict[str, Any]
) -> None:
    made = program(*declared) if len(declared) > 1 else program(lambda: declared[0])
    with pytest.raises(Loaded):
        made.attach(**given)


@pytest.mark.parametrize(
    ("decorator", "given", "words"),
    [
        (bpf.kprobe_multi, {}, "say to which functions"),
        (bpf.uprobe, {"symbol": "main"}, "say to which file and function"),
        (bpf.uprobe_multi, {"symbols": "main"}, "say to which file and function"),
        (bpf.uprobe_multi, {"binary": "libc"}, "say to which functions"),
        (bpf.tracepoint, {"name": "sched_switch"}, "which category of tracepoints 'sched_switch' is in"),
    ],
)
def test_half_a_target_is_not_enough(decorator: Any, given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        program(lambda: decorator).attach(**given)
