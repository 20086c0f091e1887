"""How fast networks learn on a page, without anything drawn.

    python -m benchmarks.pages.steps             # in Chromium, driven by Playwright
    python -m benchmarks.pages.steps --in node
    python -m benchmarks.pages.steps --publish   # writes results/pages.json too

- `playground`: epochs a second of 2-8-8-8-8-8-8-1 on 250 points, batch 10;
- `w2`: milliseconds of a step of 784-128-dropout 0.2-10, Adam, batch 32, on made-up data.

Of nine rounds the median counts, and the best one is beside it. Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import gpunn.apps.web
from benchmarks import RESULTS
from benchmarks.common import machine
from gpunn.apps.web.modules import inlined
from gpunn.apps.web.parts import parts

MODULE = Path(gpunn.apps.web.__file__).parent / "gpunn.wasm"
SCRIPT = Path(__file__).with_suffix(".js")
IN_NODE = """
const { readFileSync } = await import("node:fs");
const { wasm, parts } = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(await measure(Buffer.from(wasm, "base64"), parts)));
"""
IN_BROWSER = """({ wasm, parts }) =>
    globalThis.measure(Uint8Array.from(atob(wasm), (c) => c.charCodeAt(0)), parts)"""


def given() -> dict[str, Any]:
    return {"wasm": base64.b64encode(MODULE.read_bytes()).decode(), "parts": parts()}


def in_node() -> tuple[str, dict[str, list[float]]]:
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", inlined(SCRIPT) + IN_NODE],
        input=json.dumps(given()), capture_output=True, text=True, check=True,
    )  # fmt: skip
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return f"node {version.stdout.strip()}", json.loads(done.stdout)


def in_chromium() -> tuple[str, dict[str, list[float]]]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("There is no chromium: apt install chromium, or --in node.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        text = inlined(SCRIPT) + "\nglobalThis.measure = measure;"
        page.add_script_tag(content=text, type="module")
        page.wait_for_function("() => Boolean(globalThis.measure)")
        found = page.evaluate(IN_BROWSER, given())
        version = f"Chromium {browser.version}"
        browser.close()
    return version, found


def table(where: str, found: dict[str, Sequence[float]]) -> dict[str, Any]:
    """What the rounds' milliseconds come to."""
    epochs = sorted(1e6 / ms for ms in found["playground"])  # of a thousand each
    steps = sorted(ms / 200 for ms in found["w2"])
    return {
        "in": where,
        "machine": machine.describe(),
        "epochs a second": {"median": round(median(epochs)), "best": round(epochs[-1])},
        "ms of a step of W2": {"median": round(median(steps), 3), "best": round(steps[0], 3)},
        "bytes of gpunn.wasm": MODULE.stat().st_size,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--in", dest="where", choices=("chromium", "node"), default="chromium")
    parser.add_argument("--publish", action="store_true", help="write results/pages.json")
    asked = parser.parse_args(arguments)
    before = machine.load()
    found = table(*(in_node() if asked.where == "node" else in_chromium()))
    found["complaint"] = machine.complaint(before, None)
    text = json.dumps(found, indent=1) + "\n"
    print(text, end="")
    if asked.publish:
        (RESULTS / "pages.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
