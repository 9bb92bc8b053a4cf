"""Tracing programs: what their decorators make of a function, each with the ``attach`` of its kind.

The target that a decorator names may be left out there and given to ``attach`` instead. Every ``attach`` gives a link,
which detaches at the end of a ``with``, by ``detach()``, and when the process ends.
"""

from __future__ import annotations

import functools
import os

from pyebpf.collecting import paused
from pyebpf.hints import TYPE_CHECKING, Any, TypeVar, cast
from pyebpf.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pyebpf.runtime.attach.iterator import IterLink, IterOver
    from pyebpf.runtime.attach.link import Link
    from pyebpf.runtime.attach.perf_event import PerfEvent

    Path = str | os.PathLike[str]

S = TypeVar("S", bound="str | Sequence[str] | Mapping[str, int]")


F = TypeVar("F", bound="Callable[..., Any]")


def _attaching(method: F) -> F:
    """What all ``attach`` have in common: what is wrong with a target is told only where the program could be loaded."""

    @functools.wraps(method)
    @paused(lasting=True)
    def attach(self: TracingProgram, *args: Any, **keywords: Any) -> Any:
        from pyebpf.session import check_loading

        check_loading(self.__bpf__)
        return method(self, *args, **keywords)

    return cast("F", attach)


class TracingProgram(Program):
    """What all of them have in common."""

    def _target(self, given: str | None, what: str) -> str:
        """The target: the one given, which must not contradict the decorator's. Raises ``TypeError``."""
        own = self.__bpf__.target
        if given is None and not own:
            raise TypeError(f"{self.name}.attach: say to {what}, here or in the decorator")
        self._agree(given, own)
        return given if given is not None else own

    def _agree(self, given: int | Path | Iterable[str] | None, own: str) -> None:
        """Raise ``TypeError`` if ``given`` is another target, or more of them, than ``own``, which the decorator names."""
        if given is None or not own:
            return
        if isinstance(given, os.PathLike):
            given = os.fspath(given)
        if given != own and (isinstance(given, str | int) or list(given) != [own]):
            raise TypeError(f"{self.name} is for {self.__bpf__.target!r}: it cannot be attached to {given!r}")

    def _offset(self, text: str) -> int:
        try:
            return int(text, 0)
        except ValueError:
            raise ValueError(f"{self.name}.attach: {text!r} is no offset such as 0x10") from None

    def _keep(self, link: Link) -> Link:
        from pyebpf.session import keep_link

        keep_link(self.__bpf__, link)
        return link

    @property
    def _returns(self) -> bool:
        return self.__bpf__.kind.name.startswith(("kret", "uret"))


class KprobeProgram(TracingProgram):
    """A program that runs when a function of the kernel is entered (``kprobe``) or returns (``kretprobe``)."""

    @_attaching
    def attach(self, function: str | int | None = None, *, offset: int = 0, cookie: int = 0) -> Link:
        """Attach to a function of the kernel: its name (``module:name`` for one in a module) or its address.

        ``offset``: bytes from there to the instruction. ``cookie``: what ``bpf.get_attach_cookie(ctx)`` gives. Raises
        ``TargetError`` with near names for what cannot be probed, ``BpfError``.
        """
        from pyebpf.runtime.attach.kprobe import attach_kprobe, check_place

        if isinstance(function, int):
            self._agree(function, self.__bpf__.target)
            where: str | int = function
        else:
            where, plus, more = self._target(function, "which function").partition("+")
            offset += self._offset(more) if plus else 0
        check_place(where, offset, returns=self._returns)
        link = attach_kprobe(self.load(), where, offset=offset, returns=self._returns, cookie=cookie)
        return self._keep(link)


class KsyscallProgram(TracingProgram):
    """A program that runs when a system call is entered (``ksyscall``) or returns (``kretsyscall``)."""

    @_attaching
    def attach(self, syscall: str | None = None, *, cookie: int = 0) -> Link:
        """Attach to the kernel's entry function of a system call, which is named without prefix: ``"write"``."""
        from pyebpf.runtime.attach.kprobe import attach_kprobe
        from pyebpf.runtime.attach.targets import check_syscall
        from pyebpf.runtime.syscall_wrapper import syscall_function

        name = self._target(syscall, "which system call")
        check_syscall(name)
        function = syscall_function(name)
        return self._keep(attach_kprobe(self.load(), function, returns=self._returns, cookie=cookie))


class KprobeMultiProgram(TracingProgram):
    """A program on many functions of the kernel at once, by one link (Linux 5.18; sessions 6.10)."""

    @_attaching
    def attach(self, functions: str | Sequence[str] | Mapping[str, int] | None = None) -> Link:
        """Attach to all functions that a pattern matches (``"tcp_*"``), or to those named; in a mapping with a cookie for
        each. Raises ``NotSupported`` for kernels without it."""
        from pyebpf.runtime.attach.multi import attach_functions, expand_functions

        if functions is None:
            functions = self._target(None, "which functions")
        self._agree(functions, self.__bpf__.target)
        chosen = expand_functions(functions)
        return self._keep(attach_functions(self.load(), chosen, returns=self._returns))


class UprobeProgram(TracingProgram):
    """A program that runs when a function of a user program or library is entered (``uprobe``) or returns."""

    @_attaching
    def attach(
        self,
        binary: Path | None = None,
        symbol: str | None = None,
        *,
        offset: int = 0,
        pid: int | None = None,
        cookie: int = 0,
    ) -> Link:
        """Attach to a function of a file: a path, or the name of a library or command (``"libc"``, ``"bash"``).

        ``symbol``: the function; without one ``offset`` counts from the start of the file. ``pid``: only in this process, 0
        is the own one. Raises ``TargetError`` with near names, ``BpfError``.
        """
        from pyebpf.runtime.attach.uprobe import attach_at, locate

        path, name = self._place(binary, symbol)
        place = locate(path, name, offset, pid, returns=self._returns)
        return self._keep(attach_at(self.load(), place, pid=pid, returns=self._returns, cookie=cookie))

    def _place(self, binary: Path | None, symbols: S | None) -> tuple[Path, S | str | None]:
        """File and functions: what is given, which must not contradict the decorator's. Raises ``TypeError``."""
        path, _, name = self.__bpf__.target.rpartition(":")
        if binary is None and not path:
            raise TypeError(f"{self.name}.attach: say to which file and function, here or in the decorator")
        self._agree(binary, path)
        self._agree(symbols, name)
        return binary if binary is not None else path, symbols if symbols is not None else name or None


class UprobeMultiProgram(UprobeProgram):
    """A program on many functions of a file at once, by one link (Linux 6.6)."""

    @_attaching
    def attach(  # type: ignore[override]  # of many functions there is no one offset
        self,
        binary: Path | None = None,
        symbols: str | Sequence[str] | Mapping[str, int] | None = None,
        *,
        pid: int | None = None,
    ) -> Link:
        """Attach to all functions of a file that a pattern matches, or to those named; in a mapping with a cookie each."""
        from pyebpf.runtime.attach.multi import attach_places, expand_symbols
        from pyebpf.runtime.binaries import find_binary

        where, wanted = self._place(binary, symbols)
        if wanted is None:
            raise TypeError(f"{self.name}.attach: say to which functions")
        path = find_binary(where, pid)
        places, cookies = expand_symbols(path, wanted, pid)
        return self._keep(attach_places(self.load(), path, places, cookies, pid=pid, returns=self._returns))


class UsdtProgram(TracingProgram):
    """A program that runs at the places that a user program or library has marked itself (USDT)."""

    @_attaching
    def attach(
        self,
        binary: Path | None = None,
        provider: str | None = None,
        name: str | None = None,
        *,
        pid: int | None = None,
        cookie: int = 0,
    ) -> Link:
        """Attach to every place of a probe: ``attach("python3", "python", "gc__start")``.

        ``binary``: a path, or the name of a library or command. ``pid``: only in this process, 0 is the own one. ``cookie``:
        what ``bpf.get_attach_cookie(ctx)`` gives. Raises ``TargetError`` with near names, or if the program reads
        arguments that the probe does not have, or has where programs cannot read them; ``BpfError``.
        """
        from pyebpf.runtime.attach.usdt import attach_found, find_usdt

        own = self.__bpf__.target.rsplit(":", 2) if self.__bpf__.target else ["", "", ""]
        for given, declared in zip((binary, provider, name), own, strict=True):
            if given is None and not declared:
                raise TypeError(
                    f"{self.name}.attach: say to which file, provider and probe, here or in the decorator"
                )
            self._agree(given, declared)
        path = binary if binary is not None else own[0]
        probe = find_usdt(path, provider or own[1], name or own[2], pid=pid)
        return self._keep(attach_found(self.load(), probe, pid=pid, cookie=cookie))


class TracepointProgram(TracingProgram):
    """A program that runs at an event of the kernel."""

    @_attaching
    def attach(self, category: str | None = None, name: str | None = None, *, cookie: int = 0) -> Link:
        """Attach to an event: ``attach("sched", "sched_switch")``. Raises ``TargetError`` with near names."""
        from pyebpf.runtime.attach.tracepoint import attach_tracepoint

        if category is None and name is not None:
            category = self._target(None, f"which category of tracepoints {name!r} is in").partition("/")[0]
        given = None if category is None else f"{category}/{name}" if name else category.replace(":", "/")
        where, _, event = self._target(given, "which tracepoint").partition("/")
        return self._keep(attach_tracepoint(self.load(), where, event, cookie=cookie))


class RawTracepointProgram(TracingProgram):
    """A program that runs at a tracepoint of the kernel with what that was called with."""

    @_attaching
    def attach(self, name: str | None = None, *, cookie: int = 0) -> Link:
        """Attach to a tracepoint by its name alone: ``"sched_switch"``. Raises ``TargetError`` with near names."""
        from pyebpf.runtime.attach.tracepoint import attach_raw_tracepoint, check_raw_tracepoint

        where = self._target(name, "which tracepoint")
        check_raw_tracepoint(where)
        return self._keep(attach_raw_tracepoint(self.load(), where, cookie=cookie))


class BtfProgram(TracingProgram):
    """A program for the one place that its decorator names: ``fentry``, ``fexit``, ``fmod_ret``, ``tp_btf``, ``lsm``."""

    @_attaching
    def attach(self, *, cookie: int = 0) -> Link:
        """Attach to that place. ``cookie``: what ``bpf.get_attach_cookie(ctx)`` gives. Raises ``BpfError``."""
        from pyebpf.runtime.attach.tracing import attach_tracing

        return self._keep(attach_tracing(self.load(), cookie=cookie))


class IterProgram(TracingProgram):
    """A program that the kernel calls for each of its tasks, sockets, map elements, …, to write text about it."""

    @_attaching
    def attach(self, over: IterOver | None = None) -> IterLink:
        """A link whose ``open_text()`` is a file with what the program writes, made anew each time. ``over``: which
        objects (``pyebpf.runtime.attach.iterator``)."""
        from pyebpf.runtime.attach.iterator import attach_iter

        link = attach_iter(self.load(), over)
        self._keep(link)
        return link

    def read(self, over: IterOver | None = None) -> str:
        """What the program writes about all of them now."""
        with self.attach(over) as link:
            return link.read().decode("utf-8", "replace")


class PerfEventProgram(TracingProgram):
    """A program that runs when a counter of the processor or the kernel overflows: a sample."""

    @_attaching
    def attach(
        self,
        event: PerfEvent | None = None,
        *,
        frequency: int | None = None,
        period: int | None = None,
        cpu: int | None = None,
        pid: int | None = None,
        cookie: int = 0,
    ) -> Link:
        """Sample ``event`` (the CPU's clock if none is given) ``frequency`` times a second, or once in ``period``.

        ``cpu``: on this one; all without. ``pid``: only this process. Raises ``BpfError``.
        """
        from pyebpf.runtime.attach.perf_event import SoftwareEvent, attach_perf_event

        link = attach_perf_event(
            self.load(),
            SoftwareEvent.CPU_CLOCK if event is None else event,
            frequency=frequency,
            period=period,
            cpu=cpu,
            pid=pid,
            cookie=cookie,
        )
        return self._keep(link)
