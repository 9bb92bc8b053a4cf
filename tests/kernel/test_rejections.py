"""What the running kernel says about the refused programs is understood, whatever its release says it in."""

from __future__ import annotations

import os

import pytest

import pyebpf as bpf
from pyebpf.runtime.load import load
from pyebpf.runtime.prepare import prepare, without_sources
from tests.golden.rejected import Case, cases, object_of, provoke, read_log

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")

PROVOKED = [case for case in cases() if case.source is not None]


@pytest.mark.parametrize("case", PROVOKED, ids=lambda case: case.name)
def test_the_running_kernel_refuses_it_for_the_same_reason(case: Case) -> None:
    assert case.source is not None
    error = provoke(case.source)
    assert isinstance(error, bpf.VerifierError)
    code, line = case.expected
    assert error.diagnostic.code.name == code, error.log
    assert error.diagnostic.span.line == line or error.diagnostic.span.column == 0


@pytest.mark.parametrize(
    "case", [case for case in PROVOKED if not case.name.startswith("too_many")], ids=lambda case: case.name
)
def test_a_log_of_everything_leads_to_the_same(case: Case) -> None:
    """Level 2 tells all ways; that to the refusal is found among them."""
    assert case.source is not None
    found, recorded = provoke(case.source, log_level=2).diagnostic, read_log(case.path).diagnostic
    assert (found.code, found.span.line, found.message) == (
        recorded.code,
        recorded.span.line,
        recorded.message,
    )
    assert [(label.span.line, label.text) for label in found.labels] == [
        (label.span.line, label.text) for label in recorded.labels
    ]


def test_an_object_from_the_cache_is_as_telling() -> None:
    """What the cache keeps has lost its functions and lines; the records for the kernel are enough."""
    (case,) = [case for case in PROVOKED if case.name == "element_unchecked"]
    assert case.source is not None
    spec, _ = object_of(case.source)
    with pytest.raises(bpf.VerifierError) as refused:
        load(without_sources(prepare(spec)))
    assert str(refused.value) == str(read_log(case.path))
