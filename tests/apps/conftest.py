"""Fixtures for the tests of the command line and of pages."""

import shutil

import pytest
from browser import missing
from command_line import SMALL, run

from gpunn import backends
from gpunn.apps.tables.search import Budget

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture
def numpy_is_asked_for(monkeypatch, no_backend_yet):
    monkeypatch.setenv("GPUNN_BACKEND", "numpy")


@pytest.fixture
def little_search(monkeypatch):
    """What is trained on a table searches as little as it can: among the first candidates."""
    monkeypatch.setattr(Budget, "for_minutes", lambda minutes: Budget(0.0))


@pytest.fixture(scope="session")
def trained(tmp_path_factory, mnist):
    """The folder and the output of a short run."""
    folder = tmp_path_factory.mktemp("trained")
    with backends.choice_put_back():
        status, printed, complained = run("train", "mnist", *SMALL, "--out", folder)
    assert (status, complained) == (0, "")
    return folder, printed


@pytest.fixture(scope="session")
def chromium():
    """Chromium, started once."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        missing("There is no chromium: apt install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("There is no playwright: pip install playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()
