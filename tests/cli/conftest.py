"""One rows folder for all tests of this room."""

import pytest
from tiny_run import make_rows


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    """A rows folder of 16-token rows; no test changes it."""
    return make_rows(tmp_path_factory.mktemp("rows"))
