"""Browsers for tests of pages, without a network.

Playwright drives Debian's Chromium; Puppeteer drives its Firefox, which Playwright cannot.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from browser import missing

from gpunn.apps.web.playground import playground_page

PUPPETEER = "puppeteer-core@24.43.1"


@pytest.fixture(scope="session")
def firefox(tmp_path_factory):
    """Open an address in Firefox, and return what a script of this folder finds there."""
    tools = {name: shutil.which(name) for name in ("firefox-esr", "node", "npm")}
    absent = [name for name, path in tools.items() if path is None]
    if absent:
        missing(f"There is no {' and no '.join(absent)}: apt install firefox-esr npm")
    folder, here = tmp_path_factory.mktemp("puppeteer"), Path(__file__).parent
    install = [tools["npm"], "install", "--silent", "--no-audit", "--no-fund", PUPPETEER]
    subprocess.run(install, cwd=folder, check=True)
    module = folder / "node_modules" / "puppeteer-core"

    def found(script, address, *given):
        command = [tools["node"], here / "firefox.cjs", module, tools["firefox-esr"], here / script]
        done = subprocess.run(
            [*map(str, [*command, address, *given])], capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return found


class Opened:
    """The pages that were opened, their requests, and their errors."""

    def __init__(self, browser):
        self._browser, self._contexts = browser, []
        self.asked, self.errors = [], []

    def __call__(self, address, ready="html", **options):
        context = self._browser.new_context(offline=True, accept_downloads=True, **options)
        self._contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)
        page.goto(address)
        page.wait_for_selector(ready, state="attached", timeout=30_000)
        return page

    def _note(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def close(self):
        for context in self._contexts:
            context.close()


@pytest.fixture
def opened(chromium):
    """Open a page from disk; at the end of the test, check for errors and requests."""
    pages = Opened(chromium)
    yield pages
    pages.close()
    assert pages.errors == []
    own = ("file:", "data:", "blob:")
    assert [url for url in pages.asked if not url.startswith(own)] == []


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """The playground's file."""
    file = tmp_path_factory.mktemp("playground") / "page.html"
    file.write_text(playground_page(), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def playground(opened, address):
    """Open the playground with settings in the form of its address."""

    def open_it(settings="", **options):
        return opened(f"{address}#{settings}", "html[data-ready]", **options)

    return open_it
