"""Open a page that trains networks in the browser, without Python or a network.

examples:
  gpunn playground                          open it in the browser
  gpunn playground --save playground.html   a single file to keep or share

The page needs no network. It offers several data sets or your own points (drawn
or from a table), every activation, loss and optimizer, the output of each unit
over the plane, and backpropagation step by step. The network can be copied as a
gpunn script. The page works in Chromium, Firefox and Safari from 2023 on.
"""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from gpunn.apps.web.playground import playground_page
from gpunn.common.atomic_files import atomic_write
from gpunn.common.cache import cache_folder

from .arguments import add_shared, check_page

HELP = "watch networks learn on a web page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", metavar="FILE", help="write the page to FILE, do not open it")
    add_shared(parser, "--force")


def run(args: argparse.Namespace) -> int:
    if args.save is not None:
        check_page(args.save, args.force)
    text = playground_page()
    # A permanent location: the browser may read the page after this command has ended.
    file = Path(args.save) if args.save is not None else cache_folder() / "playground.html"
    if args.save is None:
        file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(file, [text.encode()])
    if args.save is not None:
        print(f"Saved {file} ({len(text.encode()) / 1000:,.0f} kB): open it in a browser.")
    elif webbrowser.open(file.resolve().as_uri()):
        print(f"Opened {file}. If the browser cannot read it (snap packages cannot), run")
        print("gpunn playground --save playground.html and open that file.")
    else:
        print(f"No browser was found: open {file} yourself.")
    return 0
