"""The garbage collector held back for a moment."""

from __future__ import annotations

import gc

import pytest

from pyebpf.collecting import paused


def test_the_collector_is_as_it_was() -> None:
    assert gc.isenabled()
    with paused():
        assert not gc.isenabled()
        with paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_exception_right_after_switching_off_leaves_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    off = gc.disable

    def interrupted() -> None:
        off()
        raise InterruptedError

    monkeypatch.setattr(gc, "disable", interrupted)
    with pytest.raises(InterruptedError), paused():
        pass
    assert gc.isenabled()
