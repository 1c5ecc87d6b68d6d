"""What `pip install .` installs, from setup.py's own account of it."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def given():
    """The arguments that setup.py gives to `setup`."""
    pytest.importorskip("setuptools")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setuptools.setup", lambda **arguments: found.update(arguments))
        patch.chdir(ROOT)
        runpy.run_path("setup.py")
    return found


def test_every_package_is_installed_and_the_configurations_within_it(given):
    folders = {p.parent for p in (ROOT / "electra_jax").rglob("__init__.py")}
    names = {".".join(p.relative_to(ROOT).parts) for p in folders}
    assert set(given["packages"]) == names | {"electra_jax.configs"}
    assert given["package_dir"] == {"electra_jax.configs": "configs"}


def test_the_mark_of_a_typed_package_and_all_other_data_are_installed(given):
    listed = {f"{p}/{name}" for p, names in given["package_data"].items() for name in names}
    other = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "electra_jax").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert listed == other == {"electra_jax/py.typed"}


def test_the_version_and_the_description_are_the_package_s(given):
    import electra_jax

    assert given["version"] == electra_jax.__version__
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = given["long_description"]
    # The same, with links that work on a page elsewhere.
    relative = re.compile(r"\]\((?!https?:|#)|src=\"(?!https?:)")
    assert relative.search(readme) and not relative.search(shown)
    assert len(shown.splitlines()) == len(readme.splitlines())
    assert shown.splitlines()[0] == readme.splitlines()[0]
