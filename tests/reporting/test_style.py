"""The style sheet and the script."""

import re
import shutil
import subprocess

import pytest
from reporting.pages import make_run, report

from electra_jax.files import write_json_atomic
from electra_jax.reporting.style import CSS, SCRIPT

# Marks of elements that need no rule of their own.
UNSTYLED: set[str] = set()


def test_the_page_fetches_nothing(tmp_path):
    page = report(tmp_path, make_run(tmp_path / "a"), make_run(tmp_path / "b", 1))
    for name, value in page.attributes:
        assert name not in ("src", "href", "srcset", "data", "action"), (name, value)
        assert "//" not in value
    assert "@import" not in page.text and "url(" not in page.text
    assert not re.search(r"https?:", page.text)
    assert "default-src 'none'" in page.text


def test_every_class_of_the_pages_has_a_rule_and_every_colour_a_value(tmp_path):
    run = make_run(tmp_path / "a")
    sentence = [{"text": "x", "probability": 0.9, "replaced": True, "original": "y"}]
    blocks = [
        {"title": "t", "tokens": [sentence]},
        {"title": "m", "matrix": {"labels": ["a"], "counts": [[1]]}},
        {"title": "r", "reference": {"rtd_skill": 0.2}},
    ]
    write_json_atomic(run / "report.json", blocks)
    pages = report(tmp_path, run), report(tmp_path, run, make_run(tmp_path / "b", 1))
    used = {
        name
        for page in pages
        for key, value in page.attributes
        if key == "class"
        for name in value.split()
    }
    ruled = set(re.findall(r"\.([a-z][\w-]*)", CSS))
    assert {"token", "matrix", "held", "reference"} <= used
    assert used - ruled <= UNSTYLED
    assert {f"c{n}" for n in range(8)} <= ruled
    named, set_ = re.findall(r"var\((--\w+)", CSS), re.findall(r"(--\w+):", CSS)
    assert set(named) - {"--p"} <= set(set_)


def test_light_and_dark_set_the_same_colours():
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    assert set(re.findall(r"(--\w+):", light)) == set(re.findall(r"(--\w+):", dark))


def test_the_script_is_one_that_a_browser_can_parse():
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    done = subprocess.run([node, "--check", "-"], input=SCRIPT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_braces_and_brackets_close():
    for text in (CSS, SCRIPT):
        for a, b in ("{}", "()", "[]"):
            assert text.count(a) == text.count(b) > 0 or (text is CSS and a == "[")
