"""uretprobe: what is typed into every bash of the machine."""

from __future__ import annotations

from tool import seconds, until

import pyebpf as bpf
from pyebpf import u32

bpf.license("GPL")


@bpf.struct
class Typed:
    """A line of a shell."""

    pid: u32
    line: bytes = bpf.chars(80)


typed = bpf.RingBuf[Typed](1 << 16)


@bpf.uretprobe("/bin/bash", "readline")
def readline(retval: bpf.User[bytes] | None) -> None:
    """Report the line that the function returns; none at the end of the input."""
    if retval is None:
        return
    with typed.reserve(Typed) as event:
        if event is not None:
            event.pid = u32(bpf.get_current_pid_tgid() >> 32)
            event.line = bpf.str_from_user(retval, 80)


def main() -> None:
    """Print a line for each line."""
    with readline.attach():
        for event in until(seconds(__doc__ or ""), typed):
            print(f"{event.pid} {event.line.decode(errors='replace')}", flush=True)


if __name__ == "__main__":
    main()
