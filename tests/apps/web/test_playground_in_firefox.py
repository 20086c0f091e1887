"""The playground in Firefox, which Playwright does not drive as Debian has it: Puppeteer does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from browser.pages import executed

PUPPETEER = "puppeteer-core@24.43.1"
DRIVER = Path(__file__).parent / "firefox.cjs"


@pytest.fixture(scope="module")
def found(address, tmp_path_factory):
    tools = {name: shutil.which(name) for name in ("firefox-esr", "node", "npm")}
    absent = [name for name, path in tools.items() if path is None]
    if absent:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"There is no {' and no '.join(absent)}: apt install firefox-esr npm"
        )
    folder = tmp_path_factory.mktemp("puppeteer")
    install = [tools["npm"], "install", "--silent", "--no-audit", "--no-fund", PUPPETEER]
    subprocess.run(install, cwd=folder, check=True)
    module = folder / "node_modules" / "puppeteer-core"
    settings = f"{address}#data=moons&net=8:tanh,8:tanh"
    command = [tools["node"], str(DRIVER), str(module), tools["firefox-esr"], settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.more
def test_it_learns_and_is_worked_with(found):
    assert found["errors"] == []
    assert found["right"] > 0.98
    assert found["point"] is not None and found["after"] != found["point"]


@pytest.mark.more
def test_what_it_says_is_what_its_script_says(found):
    names, _ = executed(found["script"])
    there = names["model"].predict(names["x"]).ravel()
    # After thousands of epochs what is rounded otherwise has grown.
    np.testing.assert_allclose(there > 0.5, np.array(found["answers"]) > 0.5)
