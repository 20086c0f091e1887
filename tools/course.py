"""Run the lesson of each page of the course, and write its output and picture into the page.

`make notebooks` runs this. A test runs the lessons again and compares their output.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "docs" / "course"
PICTURES = ROOT / "docs" / "images"
BEGIN, END = "<!-- lesson -->\n\n", "<!-- end of the lesson -->"
WIDTH = 900  # pixels, at most
# For each page: its lesson, the picture to show, and what the picture shows.
LESSONS = {
    "neurons": ("lessons/activations", "activations", "34 activations and their derivatives"),
    "layers": (
        "lessons/noise_and_normalization", "noise_and_normalization",
        "Accuracy and cross-entropy by epoch, with noise and with normalization",
    ),
    "losses-and-metrics": ("lessons/losses", "losses", "Losses over the error and over the score"),
    "learning": ("lessons/descent", "optimizers", "The paths of six optimizers in a curved valley"),
    "what-goes-wrong": (
        "lessons/vanishing_gradient", "vanishing_gradient",
        "The norm of the gradient in each of twenty layers, for five networks",
    ),
    "mathematics": (
        "lessons/backprop_by_hand", "backprop_by_hand", "The path of two weights on the surface",
    ),
    "real-tasks": ("breast_cancer", "roc_curve", "The ROC curve of the network"),
    "pictures": ("lessons/boundaries", "boundaries", "The decision boundaries of six data sets"),
}  # fmt: skip


def run(lesson: str, folder: Path) -> str:
    """Return what an example prints; it saves its pictures in the folder."""
    command = [sys.executable, str(ROOT / "examples" / f"{lesson}.py")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def generated(lesson: str, picture: str, shows: str, printed: str) -> str:
    path = f"examples/{lesson}.py"
    return (
        f'<img src="../images/{picture}.png" width="780" alt="{shows}">\n\n'
        f"[`{path}`](../../{path}) draws this, and prints:\n\n```\n{printed.rstrip()}\n```\n\n"
    )


def shown(page: str) -> str:
    """Return the output that a page shows."""
    part = (COURSE / f"{page}.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    return part.split("```\n")[1]


def main() -> None:
    for page, (lesson, picture, shows) in LESSONS.items():
        with TemporaryDirectory() as folder:
            printed = run(lesson, Path(folder))
            drawn = Image.open(Path(folder, f"{picture}.png")).convert("RGB")
            drawn.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
            drawn.quantize(32, dither=Image.Dither.NONE).save(
                PICTURES / f"{picture}.png", optimize=True
            )
        path = COURSE / f"{page}.md"
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        text = generated(lesson, picture, shows, printed)
        path.write_text(f"{before}{BEGIN}{text}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
