"""Chromium: a page for each contestant, and the running playground."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gpunn.apps.web.modules import inlined
from gpunn.apps.web.playground import playground_page

from .contestants import Contestant

ORIGIN = "http://localhost"  # no server listens there: Playwright serves the files instead
TYPES = {".js": "text/javascript", ".wasm": "application/wasm"}
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
SIZE = {"width": 1280, "height": 720}
# Frames in each of that many seconds, while the page draws.
FRAMES = """(seconds) => new Promise((resolve) => {
    const [found, begin] = [[0], performance.now()];
    const frame = (now) => {
        const second = Math.floor((now - begin) / 1000);
        if (second >= seconds) return resolve(found);
        while (found.length <= second) found.push(0);
        if (second >= 0) found[second] += 1;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
})"""
EPOCH = "() => Number(document.querySelector('#figures dd').textContent.replaceAll(',', ''))"


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("chromium not found: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Any, contestant: Contestant) -> Any:
    """Open a page with only the contestant, ready to run."""
    script = inlined(Path(__file__).parent / contestant.script)
    markup = "".join(f'<script src="{path}"></script>' for path in contestant.before)
    markup = f"<!DOCTYPE html>{markup}<script type=module>{script}</script>"
    headers = ISOLATED if contestant.isolated else {}

    def answer(route: Any) -> None:
        path = urlsplit(route.request.url).path
        if path == "/":
            route.fulfill(body=markup, content_type="text/html; charset=utf-8", headers=headers)
        elif file := contestant.files.get(path):
            body, kind = file.read_bytes(), TYPES[file.suffix]
            route.fulfill(body=body, content_type=kind, headers=headers)
        else:
            route.abort()

    page = browser.new_context().new_page()
    page.route("**/*", answer)
    page.goto(f"{ORIGIN}/")
    page.wait_for_function("() => Boolean(globalThis.prepare)")
    page.evaluate("(given) => prepare(given)", contestant.given)
    return page


def frames(browser: Any, seconds: int) -> dict[str, Any]:
    """Measure frames in each second and epochs per second of the playground's initial state."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "playground.html"
        path.write_text(playground_page(), encoding="utf-8")
        page = browser.new_context(offline=True, viewport=SIZE).new_page()
        page.goto(path.as_uri())
        page.wait_for_selector("#figures dd")
        page.click("#run")
        page.evaluate(FRAMES, 2)  # the kernels are compiled during this time
        before = page.evaluate(EPOCH)
        found = page.evaluate(FRAMES, seconds)
        epochs = page.evaluate(EPOCH) - before
        page.context.close()
    return {"samples": found, "epochs a second": epochs / seconds, "size": [*SIZE.values()]}
