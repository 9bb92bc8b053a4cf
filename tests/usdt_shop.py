"""A library with USDT probes, compiled when a test wants it.

The notes are written by hand in assembler, in the form that <sys/sdt.h> gives them.
"""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

SOURCE = r"""
    #define PROBE(provider, name, semaphore, text, ...)                      \
        __asm__ __volatile__(                                                \
            "990: nop\n"                                                     \
            ".pushsection .note.stapsdt,\"\",\"note\"\n"                     \
            ".balign 4\n"                                                    \
            ".4byte 992f-991f, 994f-993f, 3\n"                               \
            "991: .asciz \"stapsdt\"\n"                                      \
            "992: .balign 4\n"                                               \
            "993: .8byte 990b\n"                                             \
            ".8byte _.stapsdt.base\n"                                        \
            ".8byte " #semaphore "\n"                                        \
            ".asciz \"" provider "\"\n"                                      \
            ".asciz \"" name "\"\n"                                          \
            ".asciz \"" text "\"\n"                                          \
            "994: .balign 4\n"                                               \
            ".popsection\n"                                                  \
            ".ifndef _.stapsdt.base\n"                                       \
            ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
            ".weak _.stapsdt.base\n.hidden _.stapsdt.base\n"                 \
            "_.stapsdt.base: .space 1\n.size _.stapsdt.base, 1\n"            \
            ".popsection\n"                                                  \
            ".endif\n" :: __VA_ARGS__)

    unsigned short counter __attribute__((section(".probes"), visibility("hidden")));

    __attribute__((noinline)) void work(int small, long large)
    {
        PROBE("shop", "sale", counter, "-4@%0 8@%1 -1@$-7", "r"(small), "r"(large));
        if (large > 1000)
            PROBE("shop", "sale", counter, "-4@%0 8@%1 -1@$-7", "r"(small), "m"(large));
    }

    __attribute__((noinline)) void idle(void) { PROBE("shop", "idle", 0, "", "r"(0)); }

    int enabled(void) { return *(volatile unsigned short *)&counter; }

    /* Arguments of all sizes in all places: in a register, in memory behind one, behind two, a constant. */
    __attribute__((noinline)) void stock(long where, const int *prices, long item)
    {
        PROBE("shop", "stock", 0, "-1@%b0 1@%b0 -2@%w0 2@%w0 -4@%k0 4@%k0 8@%0 -4@(%1) 4@-4(%1,%2,4) -8@$-3",
              "q"(where), "r"(prices), "r"(item));
    }

    __attribute__((noinline)) void vector(void) { PROBE("shop", "vector", 0, "4@%%edi 8@%%xmm0", "r"(0)); }
"""


def build(directory: Path) -> Path:
    """The library: ``work(int, long)``, ``idle()``, ``enabled()``, ``stock(long, int *, long)``. Skips where no compiler
    is."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    (directory / "shop.c").write_text(textwrap.dedent(SOURCE))
    library = directory / "libshop.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(directory / "shop.c")]
    subprocess.run(command, check=True)
    return library
