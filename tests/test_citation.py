"""CITATION.cff and CHANGELOG.md say what the package says of itself."""

from pathlib import Path

import yaml

from electra_jax import __version__

ROOT = Path(__file__).parents[1]


def test_the_citation_is_of_this_version_and_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(
        citation
    )  # the format requires them
    assert citation["version"] == __version__
    assert citation["license"] == "Apache-2.0"
    assert 'license="Apache-2.0"' in (ROOT / "setup.py").read_text()
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Clark", "Luong", "Le", "Manning"
    ]  # fmt: skip
    assert paper["identifiers"][0]["value"] == "arXiv:2003.10555"


def test_the_changelog_begins_with_what_is_not_released():
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    versions = [line for line in lines if line.startswith("## ")]
    assert versions[0] == "## [Unreleased]"
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {line[4:] for line in lines if line.startswith("### ")} <= kinds
