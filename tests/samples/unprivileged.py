"""Run Python as another user with chosen capabilities, wherever the interpreter and the project lie.

Root's home is closed to others, and the interpreter may be in it: a mount namespace of the child's own shows
interpreter, packages and project under a directory that everybody may enter. Nothing on disk changes its mode.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
UID: Final = 1337

LOADER: Final = ("bpf", "net_admin", "perfmon")
"""What a process needs to load every type of program that pyebpf has."""


def _packages() -> list[str]:
    return list(dict.fromkeys([sysconfig.get_path("purelib"), *site.getsitepackages()]))


def command(place: Path, arguments: Sequence[str], capabilities: Sequence[str], uid: int = UID) -> list[str]:
    """The command that runs ``python ARGUMENTS`` as ``uid`` with exactly these capabilities; ``{repo}`` in an argument
    is the project as the child sees it. ``place``: a directory that everybody may enter."""
    binds = {place / "python": sys.base_prefix, place / "repo": str(ROOT)}
    packages = [place / f"packages{number}" for number in range(len(_packages()))]
    binds |= dict(zip(packages, _packages(), strict=True))
    steps = []
    for to, source in binds.items():
        to.mkdir(exist_ok=True)
        steps.append(f"mount --bind {shlex.quote(source)} {shlex.quote(str(to))}")
    path = ":".join(map(str, [place / "repo", place / "repo" / "samples", *packages]))
    given = ",".join(f"+{name}" for name in capabilities)
    privileges = [
        *("--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--no-new-privs"),
        *("--bounding-set", f"-all,{given}".rstrip(",")),
        *("--inh-caps", f"-all,{given}".rstrip(",")),
        *("--ambient-caps", f"-all,{given}".rstrip(",")),
    ]
    executable = place / "python" / "bin" / Path(os.path.realpath(sys.executable)).name
    library = f"LD_LIBRARY_PATH={place / 'python' / 'lib'}"
    environment = ["env", f"PYTHONPATH={path}", library, f"HOME={place}", "PYTHONDONTWRITEBYTECODE=1"]
    words = [str(executable), *(a.replace("{repo}", str(place / "repo")) for a in arguments)]
    child = shlex.join(["setpriv", *privileges, *environment, *words])
    return ["unshare", "--mount", "sh", "-c", " && ".join([*steps, f"exec {child}"])]


@contextlib.contextmanager
def running(
    arguments: Sequence[str],
    capabilities: Sequence[str] = (),
    *,
    inside: str = "",
    give: Sequence[int] = (),
    uid: int = UID,
) -> Iterator[subprocess.Popen[str]]:
    """Start it with pipes. ``inside``: a network namespace by name; ``give``: descriptors that the child inherits."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o777)
        enter = ["nsenter", f"--net=/run/netns/{inside}"] if inside else []
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [*enter, *command(place, arguments, capabilities, uid)],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            cwd=place,
            pass_fds=tuple(give),
        ) as child:
            try:
                yield child
            finally:
                child.kill()


def run(
    arguments: Sequence[str], capabilities: Sequence[str] = (), *, give: Sequence[int] = (), uid: int = UID
) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    with running(arguments, capabilities, give=give, uid=uid) as child:
        output, errors = child.communicate(timeout=120)
        return subprocess.CompletedProcess(child.args, child.returncode, output, errors)
