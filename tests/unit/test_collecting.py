"""The garbage collector held back for a moment."""

from __future__ import annotations

import gc
import sys
import types
import weakref

import pytest

from pyebpf.collecting import paused


def import_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a module were imported."""
    monkeypatch.setitem(sys.modules, f"made{len(sys.modules)}", types.ModuleType("made"))


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


def test_an_exception_right_after_freezing_leaves_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    freeze, before = gc.freeze, gc.get_freeze_count()

    def interrupted() -> None:
        freeze()
        raise InterruptedError

    monkeypatch.setattr(gc, "freeze", interrupted)
    with pytest.raises(InterruptedError), paused(lasting=True):
        import_one(monkeypatch)
    assert gc.isenabled()
    assert gc.get_freeze_count() <= before


def test_what_lasts_is_old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    with paused(lasting=True):
        made = [[number] for number in range(2_000)]
        import_one(monkeypatch)
    young = gc.get_objects(generation=0)
    assert any(one is made[-1] for one in gc.get_objects(generation=2))
    assert not any(one is made[-1] for one in young)
    assert gc.isenabled()


def test_what_was_frozen_stays_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    gc.freeze()
    try:
        before = gc.get_freeze_count()
        with paused(lasting=True):
            import_one(monkeypatch)
        assert gc.get_freeze_count() == before > 1000
    finally:
        gc.unfreeze()


def test_garbage_that_was_taken_for_lasting_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cycle:
        """An object that refers to itself."""

        def __init__(self) -> None:
            self.itself = self

    with paused(lasting=True):
        dropped = weakref.ref(Cycle())
        import_one(monkeypatch)
    gc.collect()
    assert dropped() is None
