"""Take the screenshot of the playground for the documents, `docs/images/playground.png`.

Run `make picture` after the page has changed. It needs Chromium (`apt install chromium`),
Playwright and Pillow, like the tests of pages.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from gpunn.apps.web.playground import playground_page

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "playground.png"
SETTINGS = "data=rings&classes=3&net=8:tanh,6:tanh&held=0.25"
WIDTH, HEIGHT = 1280, 800
EPOCHS = 60


def main() -> int:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        print("chromium not found: apt install chromium", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        file.write_text(playground_page(), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{file.as_uri()}#{SETTINGS}")
        page.wait_for_selector("html[data-ready]", state="attached")
        for _ in range(EPOCHS):
            page.click("#epoch")
        page.evaluate("scrollTo(0, 0); playground.select(1, 2, null)")
        page.screenshot(path=PICTURE)
        browser.close()
    with Image.open(PICTURE) as image:  # 128 colours take a third of the bytes
        image.convert("RGB").quantize(128).save(PICTURE, optimize=True)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
