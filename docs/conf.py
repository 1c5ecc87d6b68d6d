"""Sphinx: `make docs` writes the pages of this folder to docs/build/html.

Pages are Markdown (MyST). The configuration, command-line and Python references are written into
docs/generated/ from the package itself when the build begins (reference.py), so they cannot be out
of date.
"""

import re
import sys
from pathlib import Path

from docutils import nodes

import electra_jax

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))  # docs/reference.py


def _repository() -> str:
    """The repository's address: the one constant of setup.py."""
    found = re.search(
        r'^REPOSITORY = "([^"]+)"', (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    if found is None:
        raise RuntimeError('setup.py has no line `REPOSITORY = "…"`')
    return found.group(1)


REPOSITORY = _repository()

project = "electra_jax"
author = "the electra_jax authors"
copyright = author
version = release = electra_jax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.extlinks",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
myst_enable_extensions = ["attrs_inline", "deflist"]
myst_heading_anchors = 3
extlinks = {"repo": (f"{REPOSITORY}/blob/main/%s", "%s")}
exclude_patterns = ["build", "README.md"]
default_role = "code"  # `name` in a docstring

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 60
python_use_unqualified_type_names = True
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"electra_jax {version}"
html_baseurl = ""
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
}
html_show_sphinx = False


def keep_short_code_whole(app, document) -> None:
    """`--config.init` is not broken after its dashes (pages.css); longer code may be."""
    for literal in document.findall(nodes.literal):
        if len(literal.astext()) <= 30:
            literal["classes"].append("short")


def setup(app) -> None:
    import reference

    app.connect("doctree-read", keep_short_code_whole)
    app.connect("builder-inited", lambda app: reference.write(HERE / "generated"))
    # Before napoleon (priority 500), which reads the sections.
    app.connect("autodoc-process-docstring", reference.process_docstring, priority=400)
