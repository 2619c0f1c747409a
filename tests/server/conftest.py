"""Where files arrive, and where the server keeps them."""

import pytest


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "server"
