"""Take the screenshot of a report for the documents, `docs/images/report.png`.

Run `make picture` after the page has changed. It needs MNIST, Chromium (`apt install chromium`),
Playwright and Pillow.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import gpunn
from gpunn import layers

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1000, 1030


def trained(path: Path) -> None:
    """Train a network on MNIST, and write its report to ``path``."""
    gpunn.utils.set_random_seed(0)
    (x, y), test = gpunn.datasets.mnist.load_data()
    model = gpunn.Sequential([
        gpunn.Input((28, 28)), layers.Rescaling(1 / 255), layers.Flatten(),
        layers.Dense(128, activation="relu"), layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ], name="mnist")  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    report = gpunn.callbacks.Report(path)
    model.fit(x, y, epochs=8, validation_data=test, verbose=0, callbacks=[report])


def main() -> int:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("chromium not found: apt install chromium", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        trained(file)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(file.as_uri())
        page.screenshot(path=PICTURE)
        browser.close()
    with Image.open(PICTURE) as image:
        image.convert("RGB").quantize(256).save(PICTURE, optimize=True)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
