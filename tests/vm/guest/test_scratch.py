"""Scratch memory where Linux is older: the tests of ``tests/kernel/test_scratch.py`` themselves."""

from __future__ import annotations

from tests.kernel.test_scratch import *  # noqa: F403
