"""The notebooks run from top to bottom, on tiny settings."""

from pathlib import Path

import nbformat
import pytest
from finetuning import tiny_task
from nbclient import NotebookClient
from tiny_run import environment

pytestmark = pytest.mark.apart

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_pretrain(tmp_path, monkeypatch):
    for name, value in {
        **environment(),
        "ELECTRA_JAX_NOTEBOOK_FOLDER": str(tmp_path / "demo"),
        "ELECTRA_JAX_NOTEBOOK_CHARACTERS": "1000000",
        "ELECTRA_JAX_NOTEBOOK_STEPS": "10",
        "MPLBACKEND": "agg",
    }.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOKS / "pretrain.ipynb", as_version=4)
    assert not any(c.get("outputs") for c in notebook.cells), "commit it without outputs"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        output.data.get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    assert any("text-decoration:underline" in html for html in shown)
    assert (tmp_path / "demo" / "run" / "report.html").is_file()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_finetune(tmp_path, monkeypatch):
    data = tiny_task.write_task(tmp_path / "data", tiny_task.classification, train=100, dev=24)
    for name, value in {
        **environment(),
        "ELECTRA_JAX_NOTEBOOK_FOLDER": str(tmp_path / "runs"),
        "ELECTRA_JAX_NOTEBOOK_MODEL": str(tiny_task.make_model(tmp_path)),
        "ELECTRA_JAX_NOTEBOOK_TASK": "classification",
        "ELECTRA_JAX_NOTEBOOK_DATA": str(data),
        "ELECTRA_JAX_NOTEBOOK_EXAMPLES": "96",
        "ELECTRA_JAX_NOTEBOOK_STEPS": "12",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # pictures among the outputs
    }.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOKS / "finetune.ipynb", as_version=4)
    assert not any(c.get("outputs") for c in notebook.cells), "commit it without outputs"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "runs/full/model/model.safetensors").is_file()
    assert (tmp_path / "runs/lora/model/adapter.safetensors").is_file()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2
