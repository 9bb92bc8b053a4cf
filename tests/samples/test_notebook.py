"""The notebook of the samples, executed as its readers do: as root on the kernel, and as nobody in particular in the
machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.samples.expected import SAMPLES
from tests.samples.unprivileged import run

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="attaching, and giving up capabilities, needs root"),
    pytest.mark.alone("xdp on lo"),
]

NOTEBOOK = SAMPLES / "experiments.ipynb"
EXECUTE = """
import json, sys
import nbclient, nbformat
notebook = nbformat.read(sys.argv[1] + "/experiments.ipynb", 4)
resources = {"metadata": {"path": sys.argv[1]}}
nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()
print(json.dumps([cell["outputs"] for cell in notebook.cells if cell.cell_type == "code"]))
"""


def _flat(outputs: list[dict[str, Any]]) -> str:
    """All texts of a cell's outputs, HTML included."""
    texts: list[str] = []
    for output in outputs:
        texts.append(output.get("text", ""))
        texts += output.get("traceback", [])
        texts += [str(text) for text in output.get("data", {}).values()]
    return "\n".join(texts)


def _outputs(printed: str) -> list[str]:
    return [_flat(outputs) for outputs in json.loads(printed.splitlines()[-1])]


@pytest.fixture(scope="module")
def as_root() -> list[str]:
    """The outputs of each code cell as root."""
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(SAMPLES)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SAMPLES.parent)},
    )
    assert done.returncode == 0, done.stderr
    return _outputs(done.stdout)


@pytest.fixture(scope="module")
def as_nobody() -> list[str]:
    """The outputs of each code cell without any capability."""
    done = run(["-c", EXECUTE, "{repo}/samples"])
    assert done.returncode == 0, done.stderr
    return _outputs(done.stdout)


def _has(outputs: list[str], pattern: str) -> bool:
    return any(re.search(pattern, text) for text in outputs)


def _both(outputs: list[str]) -> None:
    assert _has(outputs, r"xdp program account: \d+ instructions, not loaded")
    assert _has(outputs, r"<td[^>]*>    source = ctx\.read\(be32, 26\)</td><td[^>]*> +\d+: r\d = ")
    assert _has(outputs, r"^True$|\nTrue$")
    assert _has(outputs, r"HashMap\[be32, Traffic\] sources of 1024, in the (kernel|built-in machine)")
    assert _has(outputs, r"<th[^>]*>packets</th><th[^>]*>octets</th>")
    assert _has(outputs, r"'10\.0\.0\.1': 1")
    assert _has(outputs, r"'10\.0\.0\.7': 1")
    assert _has(outputs, r"still attached: False")
    assert outputs[-1].strip() == "1"
    refused = next(text for text in outputs if "error[E0311]" in re.sub(r"\x1b\[[\d;]*m", "", text))
    plain = re.sub(r"\x1b\[[\d;]*m", "", refused)
    assert re.search(r"--> Cell In\[\d+\]:4:16\n", plain)
    assert "^^^^ Traffic | None" in plain
    assert "Traceback" not in plain


def test_on_the_kernel(as_root: list[str]) -> None:
    _both(as_root)
    assert _has(as_root, r"<td[^>]*>the kernel</td>")
    assert _has(as_root, r"attached: True\n")
    assert not _has(as_root, "MachineWarning")


def test_without_capabilities(as_nobody: list[str]) -> None:
    _both(as_nobody)
    assert _has(as_nobody, r"<td[^>]*>the built-in machine</td>")
    assert _has(as_nobody, r"cannot load the program 'account': .* lacks CAP_BPF and CAP_NET_ADMIN")
    assert sum(text.count("MachineWarning: ") for text in as_nobody) == 1


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    assert all(not cell.get("outputs") for cell in notebook["cells"])
    assert all(cell.get("execution_count") is None for cell in notebook["cells"])
