"""Make the figures of docs/tutorials by the code of its pages: `python tools/tutorial_pictures.py`.

A page first-network.md that shows ../images/first-network-mistakes.png saves mistakes.png in
its blocks. They run in an empty folder, and the file is written to docs/images with a colour
palette. Arguments are the names of pages, all by default. It needs matplotlib and Pillow.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path

from pages import DOCS, run_page
from PIL import Image


def main() -> None:
    pages = [DOCS / "tutorials" / f"{Path(name).stem}.md" for name in sys.argv[1:]]
    for page in pages or sorted(DOCS.glob("tutorials/*.md")):
        text = page.read_text(encoding="utf-8")
        shown = re.findall(rf"\(\.\./images/{page.stem}-(\S+\.png)\)", text)
        if not shown:
            continue
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            run_page(f"tutorials/{page.stem}")
            for name in shown:
                made = DOCS / "images" / f"{page.stem}-{name}"
                picture = Image.open(name).convert("RGB")
                picture = picture.quantize(64, dither=Image.Dither.NONE)
                picture.save(made, optimize=True)
                print(f"{os.path.relpath(made, DOCS.parent)}: {made.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
