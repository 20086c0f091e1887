"""Fixtures for the tests of the command line."""

import pytest
from command_line import SMALL, run

from gpunn import backends


@pytest.fixture
def numpy_is_asked_for(monkeypatch, no_backend_yet):
    monkeypatch.setenv("GPUNN_BACKEND", "numpy")


@pytest.fixture(scope="session")
def trained(tmp_path_factory, mnist):
    """The folder and the output of a short run."""
    folder = tmp_path_factory.mktemp("trained")
    with backends.choice_put_back():
        status, printed, complained = run("train", "mnist", *SMALL, "--out", folder)
    assert (status, complained) == (0, "")
    return folder, printed
