"""Make the figures of docs/tutorials by the code of its pages: `python tools/tutorial_pictures.py`.

A page first-network.md that shows ../images/first-network-mistakes.png saves mistakes.png in
its blocks. They run in an empty folder, and the file is written to docs/images with a colour
palette. Arguments are the names of pages, all by default. It needs matplotlib and Pillow.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from gpunn.apps.cli import main as gpunn

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def run(text: str) -> None:
    """Run the blocks of a page in the current folder, without those marked as not run."""
    text = re.sub(r"^<!-- not run.*?\n```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    for kind, block in BLOCK.findall(text):
        with contextlib.redirect_stdout(io.StringIO()):
            if kind == "python":
                exec(compile(block, "page", "exec"), names)
                continue
            for command in re.findall(r"^\$ gpunn (.*)", block, flags=re.MULTILINE):
                gpunn(shlex.split(command))


def main() -> None:
    pages = [DOCS / "tutorials" / f"{Path(name).stem}.md" for name in sys.argv[1:]]
    for page in pages or sorted(DOCS.glob("tutorials/*.md")):
        text = page.read_text(encoding="utf-8")
        shown = re.findall(rf"\(\.\./images/{page.stem}-(\S+\.png)\)", text)
        if not shown:
            continue
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            run(text)
            for name in shown:
                made = DOCS / "images" / f"{page.stem}-{name}"
                picture = Image.open(name).convert("RGB")
                picture = picture.quantize(64, dither=Image.Dither.NONE)
                picture.save(made, optimize=True)
                print(f"{os.path.relpath(made, DOCS.parent)}: {made.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
