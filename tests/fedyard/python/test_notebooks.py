"""Both notebooks of docs/ run from their first cell to their last, as Jupyter runs them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import psutil
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from tests.ops.program import ROOT, environment

FOLDER = ROOT / "docs" / "notebooks"
FIRST, ANALYSIS = FOLDER / "first-federation.ipynb", FOLDER / "analysis-of-a-run.ipynb"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.ipynb")), ids=lambda file: file.stem)
def test_it_is_kept_without_outputs(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} == {None}


def test_a_first_federation_and_the_analysis_of_its_run(tmp_path: Path) -> None:
    first, analysis = nbformat.read(FIRST, as_version=4), nbformat.read(ANALYSIS, as_version=4)
    with ended(tmp_path), kernel_of(first, tmp_path) as run:
        *cells, last = first.cells
        run(cells)
        with kernel_of(analysis, tmp_path) as look:
            look(analysis.cells)
        run([last])
        assert not programs_in(tmp_path)
    shown = texts(first)
    assert "It succeeded" in shown
    assert "opening version 6 of the model needs the folder of a site" in shown
    looked = texts(analysis)
    assert "train.learning_rate" in looked
    assert "It succeeded" in looked
    pictures = [output for book in (first, analysis) for cell in book.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in pictures) == 2


@contextmanager
def kernel_of(notebook: nbformat.NotebookNode, folder: Path) -> Iterator:
    """A function that executes cells of the notebook, one after the other, in a kernel of this Python."""
    said = environment(PYTHONPATH=str(ROOT), MPLCONFIGDIR=str(folder), IPYTHONDIR=str(folder / "ipython"))

    def execute(cells: list[nbformat.NotebookNode]) -> None:
        for cell in cells:
            client.execute_cell(cell, notebook.cells.index(cell))

    with TemporaryDirectory() as sockets:  # whose names may not be long
        manager = KernelManager(kernel_name="python3", transport="ipc", connection_file=f"{sockets}/kernel.json")
        client = NotebookClient(notebook, km=manager, timeout=120, resources={"metadata": {"path": str(folder)}})
        with client.setup_kernel(env=said, cleanup_kc=True):
            yield execute
        assert not manager.is_alive()


@contextmanager
def ended(folder: Path) -> Iterator[None]:
    """Whatever a cell has started ends with the test, also where it failed."""
    try:
        yield
    finally:
        for one in programs_in(folder):
            with suppress(psutil.Error):
                os.kill(one.pid, signal.SIGKILL)


def programs_in(folder: Path) -> list[psutil.Process]:
    """Those whose arguments name the folder, but for kernels."""
    place = str(folder / "first-federation")
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if any(place in part for part in one.cmdline()):
                found.append(one)
    return found


def texts(notebook: nbformat.NotebookNode) -> str:
    """All that its cells show."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(
        "".join(output.get("text", "")) + "".join(output.get("data", {}).get("text/html", "")) for output in outputs
    )
