"""What every test relies on: JAX on the CPU, strict rank promotion, a compilation cache, data.

Everything is set through the environment, before jax is imported, so that the processes that tests
start inherit it.
"""

import os
import platform
import tempfile
import zlib
from pathlib import Path

import pytest
from recorded.tables import unpack


def _machine() -> str:
    """Names the processor's abilities: a program compiled for more of them must not run here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = [platform.processor()]
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])
    return f"{platform.machine()}-{zlib.crc32(flags.encode()):08x}"


def _compilation_cache() -> str:
    """A folder that outlives the test run, in the temporary folder where HOME is unusable."""
    name = Path("electra_jax-tests", _machine())
    for root in (os.environ.get("XDG_CACHE_HOME"), "~/.cache", tempfile.gettempdir()):
        if not root:
            continue
        try:
            folder = Path(root).expanduser() / name
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except (OSError, RuntimeError):
            continue
        return str(folder)
    return tempfile.mkdtemp(prefix="electra_jax-tests-")


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compilation_cache()
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Says which tests a process must run together (`--dist=loadgroup`)."""
    if config.getoption("loadgroup", False):
        for item in items:
            item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    """A case of a parametrized module fixture is a group, the rest of a file is one, and a test
    marked `apart` that uses no module fixture is alone.
    """
    file = Path(item.nodeid.partition("::")[0])
    group = f"{file.parent.name}/{file.stem}"
    fixtures = item._fixtureinfo.name2fixturedefs
    shared = [name for name in item.fixturenames if _has_module_scope(fixtures.get(name))]
    spec = getattr(item, "callspec", None)
    cases = [f"{name}{spec.indices[name]}" for name in shared if spec and name in spec.indices]
    if cases:
        return ":".join([group, *cases])
    if shared or not item.get_closest_marker("apart"):
        return group
    return f"{group}:{zlib.crc32(item.nodeid.encode()):08x}"


def _has_module_scope(definitions) -> bool:
    return bool(definitions) and definitions[-1].scope == "module"


def _folder_from_environment(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    folder = Path(value)
    if not folder.is_dir():
        pytest.skip(f"{variable} names no folder: {value}")
    return folder


@pytest.fixture(scope="session")
def oracles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of numbers recorded from the reference code; where it is absent, the committed
    tables of it, which skip a test that needs what they leave out.
    """
    if not os.environ.get("ELECTRA_JAX_ORACLES"):
        return unpack(tmp_path_factory.mktemp("oracles"))
    return _folder_from_environment("ELECTRA_JAX_ORACLES")


@pytest.fixture(scope="session")
def all_oracles() -> Path:
    """The whole folder of recorded numbers; skips where it is absent."""
    return _folder_from_environment("ELECTRA_JAX_ORACLES")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; skips where it is absent."""
    return _folder_from_environment("ELECTRA_JAX_DATA")
