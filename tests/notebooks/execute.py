"""Runs the notebooks; as a program, saves them with their outputs:

    python tests/notebooks/execute.py [FOLDER]

in FOLDER (default: a temporary one), at the sizes that they have, one after the other, since the
second uses what the first one pretrained. What depends on the machine or the moment is left out of
the outputs.
"""

import copy
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = tuple(ROOT / "notebooks" / f"{name}.ipynb" for name in ("pretrain", "finetune"))

# Speeds in progress lines, and the memory that a process and its machine have.
_MOMENT = re.compile(
    r"  (ETA [\dhmsd ]+|[\d.]+[kMG]? tokens/s)(?=  |$)|; this process: .*$", re.MULTILINE
)


def cell_tagged(notebook, tag):
    """(number, source) of the one cell with this tag."""
    cells = enumerate(notebook.cells)
    [found] = [(i, c.source) for i, c in cells if tag in c.metadata.get("tags", ())]
    return found


def execute(path, folder, parameters=None):
    """The notebook after a run in `folder`; `parameters` is the source of a cell that is run after
    the one tagged so."""
    notebook = copy.deepcopy(nbformat.read(path, as_version=4))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if parameters is not None:
        number, _ = cell_tagged(notebook, "parameters")
        notebook.cells.insert(number + 1, new_code_cell(parameters))
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=3600, resources=resources, record_timing=False).execute()
    return notebook


def without_moment(notebook):
    """The notebook without speeds, times left and free memory, with what a cell printed as one
    output, and with the language's name alone of what the kernel says about itself."""
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                output.text = _MOMENT.sub("", output.text)
                if kept and kept[-1].get("name") == output.name:
                    kept[-1].text += output.text
                    continue
            kept.append(output)
        if kept:
            cell.outputs = kept
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def main():
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for path in NOTEBOOKS:
            nbformat.write(without_moment(execute(path, folder)), path)
            print(path.relative_to(ROOT), flush=True)


if __name__ == "__main__":
    main()
