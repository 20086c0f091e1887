"""Open a page on which a network learns before your eyes: no Python, no server, no network."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from gpunn.apps.web.playground import playground_page
from gpunn.common.atomic_files import atomic_write
from gpunn.datasets.dataset import cache_folder

from .arguments import add_force, check_page

HELP = "a page on which networks learn before your eyes"
EXAMPLES = """\
examples:
  gpunn playground                          open it in the browser
  gpunn playground --save playground.html   one file, to keep or pass on

The page needs no network and asks for nothing: points of several kinds or your
own (drawn, or a table), every activation, loss and optimizer, each unit's view
of the plane, backpropagation in numbers. What was built can be copied as a
script for gpunn. It works in Chromium, Firefox and Safari from 2023 on.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", metavar="FILE", help="write the page there, and do not open it")
    add_force(parser)


def run(args: argparse.Namespace) -> int:
    if args.save is not None:
        check_page(args.save, args.force)
    text = playground_page()
    # Opened from a place that stays: the browser may read it after this command has ended.
    file = Path(args.save) if args.save is not None else cache_folder() / "playground.html"
    if args.save is None:
        file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(file, [text.encode()])
    if args.save is not None:
        print(f"Saved {file} ({len(text.encode()) / 1000:,.0f} kB): open it in a browser.")
    elif webbrowser.open(file.resolve().as_uri()):
        print(f"Opened {file}. If the browser may not read that, as one from a snap may not:")
        print("gpunn playground --save playground.html, and open this.")
    else:
        print(f"No browser was found to open {file} with: open it yourself.")
    return 0
