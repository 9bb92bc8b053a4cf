"""Debian's kernels for the guests: which there are, where they are kept, and how they come there.

``python -m tests.vm.kernels`` downloads those that are missing (``.ci/setup`` does it). They are kept outside of the
checkout, in ``~/.cache/pyebpf-test-kernels`` or where ``PYEBPF_TEST_KERNELS`` says; removing a folder there gets a newer
one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("PYEBPF_TEST_KERNELS", "~/.cache/pyebpf-test-kernels")).expanduser()
TRIES = 3
PAUSE = 5.0
"""Seconds before the second try; the third waits twice as long."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A series of Debian's kernels. ``names``: the packages that may name its image, of several releases of Debian.

    ``arguments``: what its command line gets.
    """

    series: str
    names: tuple[str, ...]
    arguments: str = ""

    @property
    def folder(self) -> Path:
        """Where its package is unpacked."""
        return CACHE / self.series

    @property
    def image(self) -> Path | None:
        """The compressed kernel, if it is there."""
        return next(iter(sorted(self.folder.glob("boot/vmlinuz-*"))), None)


KERNELS = (
    # Tasks preempt each other inside of programs there: what test_preempted.py needs, and harder on all the others.
    Kernel("6.1", ("linux-image-amd64",), "preempt=full"),
    Kernel("6.12", ("linux-image-6.12-amd64", "linux-image-amd64")),
)


def kernel_of(series: str) -> Kernel:
    """The kernel of a series. Raises ``KeyError``."""
    return {kernel.series: kernel for kernel in KERNELS}[series]


class Unavailable(Exception):
    """A kernel cannot be had, and why."""


def persistently(what: str, action: Callable[[], None]) -> None:
    """Do it again when it fails: mirrors have bad moments. Raises ``Unavailable`` with the last failure."""
    for attempt in range(1, TRIES + 1):
        try:
            return action()
        except subprocess.CalledProcessError as error:
            words = ((error.stderr or "") + (error.stdout or "")).strip()
            if attempt == TRIES:
                raise Unavailable(f"{what}: {words or error}") from error
            print(f"{what} failed, trying again: {words.splitlines()[-1:]}", file=sys.stderr)
            time.sleep(PAUSE * attempt)
    return None


def _run(*command: str, cwd: Path | None = None) -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    done = subprocess.run(
        command,
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, "LC_ALL": "C"},
    )
    return done.stdout


def package_of(kernel: Kernel) -> str | None:
    """The package with the newest image that apt's lists know of, or ``None``."""
    for name in kernel.names:
        try:
            told = _run("apt-cache", "depends", name)
        except subprocess.CalledProcessError:
            continue  # no such package, or no lists
        found = re.search(rf"Depends: (linux-image-{re.escape(kernel.series)}\.\S+)", told)
        if found:
            return found[1]
    return None


def fetch(kernel: Kernel) -> None:
    """Download and unpack its package. Raises ``Unavailable``."""
    for command in ("apt-get", "dpkg", "depmod"):
        if shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            raise Unavailable(f"{command} is missing: these are Debian's packages")
    if package_of(kernel) is None:
        persistently("apt-get update", lambda: void(_run("apt-get", "update", "-qq")))
    package = package_of(kernel)
    if package is None:
        raise Unavailable(
            f"none of {', '.join(kernel.names)} is Linux {kernel.series} in this release of Debian"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        work = Path(temporary)
        work.chmod(0o755)  # apt gives up its privileges and writes there nevertheless
        _download(package, work)
        (archive,) = work.glob("*.deb")
        tree = work / "tree"
        _run("dpkg", "-x", str(archive), str(tree))
        (release,) = (path.name for path in (tree / "lib" / "modules").iterdir())
        _run("depmod", "-b", str(tree), release)
        shutil.rmtree(tree / "usr", ignore_errors=True)  # its documentation
        shutil.rmtree(kernel.folder, ignore_errors=True)
        tree.replace(kernel.folder)


def _download(package: str, into: Path) -> None:
    """Lists may be older than what the mirror has: a second try brings them up to date."""

    def download() -> None:
        try:
            _run("apt-get", "download", "-q", package, cwd=into)
        except subprocess.CalledProcessError:
            for partial in into.glob("*.deb"):
                partial.unlink()
            _run("apt-get", "update", "-qq")
            _run("apt-get", "download", "-q", package, cwd=into)

    persistently(f"apt-get download {package}", download)


def void(value: object) -> None:
    """Nothing, of anything."""
    del value


def main() -> int:
    """The command."""
    problems = 0
    for kernel in KERNELS:
        if kernel.image is None:
            try:
                fetch(kernel)
            except Unavailable as error:
                print(
                    f"no kernel {kernel.series} for the tests in virtual machines: {error}", file=sys.stderr
                )
                problems += 1
                continue
        print(f"{kernel.series}: {kernel.image}")
    return min(problems, 1)


if __name__ == "__main__":
    sys.exit(main())
