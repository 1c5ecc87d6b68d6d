"""The notebooks run from top to bottom, on tiny settings, and are committed with their outputs."""

import getpass
import json
import re
import socket

import nbformat
import pytest
from finetuning import tiny_task
from notebooks.execute import NOTEBOOKS, ROOT, cell_tagged, execute, without_moment
from tiny_run import environment

pytestmark = pytest.mark.apart

PRETRAIN, FINETUNE = NOTEBOOKS


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def pictures(notebook):
    return [o for o in outputs(notebook) if "image/png" in o.get("data", {})]


def printed(notebook, stream="stdout"):
    return "".join(o.text for o in outputs(notebook) if o.get("name") == stream)


@pytest.fixture
def kernel(monkeypatch):
    """The environment of the kernels: this checkout, pictures among the outputs."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_pretrain(tmp_path, kernel):
    notebook = execute(
        PRETRAIN, tmp_path, "characters, vocabulary_size, steps = 1_000_000, 600, 10"
    )
    shown = [output.data.get("text/html", "") for output in outputs(notebook) if "data" in output]
    assert any("text-decoration:underline" in html for html in shown)
    assert len(pictures(notebook)) == 3
    assert (tmp_path / "electra-demo/run/report.html").is_file()
    assert "step 10/10" in printed(notebook)
    assert not printed(notebook, "stderr")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_finetune(tmp_path, kernel):
    tiny_task.write_task(tmp_path / "packages", tiny_task.classification, train=96, dev=24)
    model = tiny_task.make_model(tmp_path)
    notebook = execute(FINETUNE, tmp_path, f"model, steps, restarts = {str(model)!r}, 12, 0")
    assert (tmp_path / "electra-finetune/full/model/model.safetensors").is_file()
    assert (tmp_path / "electra-finetune/lora/model/adapter.safetensors").is_file()
    assert len(pictures(notebook)) == 2
    assert "LoRA: accuracy" in printed(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_committed_with_outputs_of_no_machine(path):
    notebook = nbformat.read(path, as_version=4)
    numbers = [c.execution_count for c in notebook.cells if c.cell_type == "code"]
    assert numbers == list(range(1, len(numbers) + 1)), "run tests/notebooks/execute.py"
    assert pictures(notebook)
    assert not [
        o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"
    ]
    text = [o.get("text", "") for o in outputs(notebook)]
    text += [v for o in outputs(notebook) for k, v in o.get("data", {}).items() if "text" in k]
    for pattern in (
        r"(?<![\w.<])/(\w+/)+\w+",
        socket.gethostname(),
        r"\bETA\b",
        r"tokens/s",
        "this process",
    ):
        assert not re.search(pattern, "\n".join(text)), pattern
    assert "file://" not in json.dumps(notebook) and f"/{getpass.getuser()}/" not in "".join(text)
    assert path.stat().st_size < 600_000


def test_test_settings_are_not_in_sight():
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        assert not [c for c in notebook.cells if "environ" in c.source]
        assert cell_tagged(notebook, "parameters")[0] < 5


def test_speeds_are_left_out_of_saved_outputs():
    lines = (
        "step 5/10 (50%)  loss 9.3  8.41k tokens/s  ETA 1m 05s\nstep 10/10  8 tokens/s  loss 9\n"
    )
    streams = [nbformat.v4.new_output("stream", text=line) for line in lines.splitlines(True)]
    cell = nbformat.v4.new_code_cell(outputs=streams)
    cleaned = without_moment(nbformat.v4.new_notebook(cells=[cell]))
    assert len(outputs(cleaned)) == 1
    assert printed(cleaned) == "step 5/10 (50%)  loss 9.3\nstep 10/10  loss 9\n"


@pytest.fixture(scope="module")
def install():
    """The names that the first code cell defines; it does nothing here."""
    sources = {cell_tagged(nbformat.read(path, as_version=4), "install")[1] for path in NOTEBOOKS}
    [source] = sources  # one for both
    names = {}
    exec(source, names)
    return names


REQUIREMENTS = [
    "jax>=0.10",
    'tensorflow-cpu>=2.20; sys_platform == "linux" or sys_platform != "linux"',
    'tensorflow>=2.20; sys_platform == "nowhere"',
    "ml-collections>=1.0",
    "etils[epath]",
    'huggingface_hub>=0.30; extra == "hub"',
    'wandb; extra == "wandb"',
]


@pytest.mark.parametrize(
    ("installed", "lacking"),
    [
        # Colab: builds of its own, whatever their version.
        (
            ["jax", "jaxlib", "tensorflow", "etils", "huggingface-hub"],
            ["ml-collections>=1.0"],
        ),
        (["JAX", "tensorflow_cpu", "ml_collections", "etils", "huggingface_hub"], []),
        (
            [],
            [
                "jax>=0.10",
                "tensorflow-cpu>=2.20",
                "ml-collections>=1.0",
                "etils[epath]",
                "huggingface_hub>=0.30",
            ],
        ),
    ],
)
def test_the_first_cell_installs_what_is_missing_alone(install, installed, lacking):
    assert install["missing"](REQUIREMENTS, "hub", installed) == lacking


def test_the_first_cell_knows_the_repository(install):
    assert f'REPOSITORY = "{install["REPOSITORY"]}"' in (ROOT / "setup.py").read_text("utf-8")
