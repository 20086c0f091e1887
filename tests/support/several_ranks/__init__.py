"""Which cases the tests of several ranks run in one start of mpiexec, and what it leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PROGRAMS = Path(__file__).parents[2] / "distribution" / "programs"
FOLDER = "FOLDER"  # in the words of a case: where its files are
TAG = re.compile(r"\[\d+,(\d+)\]<std(?:out|err)>: ")
MARK = "@@@"  # begins the line before what a case prints

TWICE = "dropout_noise_penalty_and_clipping"  # this training is run in two starts
MNIST = ("mnist", "--hidden", "8", "--epochs", "1", "--backend", "compiled")
GPUS = "CUDA_VISIBLE_DEVICES"
BACKENDS = ("compiled", "numpy", "emulated")  # the last one poisons new memory

Case = tuple[str, ...]  # a program, a backend, and the program's arguments


@dataclass(frozen=True)
class Start:
    """One start of ranks, which run cases in turn; ``after`` others whose files they read."""

    ranks: int
    cases: tuple[Case, ...]
    after: tuple[str, ...] = ()
    variables: dict[str, str | None] = field(default_factory=dict)
    prepare: Callable[[Path], None] = lambda folder: None

    def in_folder(self, folder: Path) -> list[list[str]]:
        return [[word.replace(FOLDER, str(folder)) for word in case] for case in self.cases]


@dataclass(frozen=True)
class Ran:
    """What a start has left: files in ``folder``, and what the ranks have printed."""

    name: str
    folder: Path
    returncode: int
    stdout: str
    stderr: str

    def of_case(self, *case: str) -> tuple[str, str]:
        """Return what was printed in the first case that begins so: on stdout, on stderr."""
        number = self._number(case)
        return _part(self.stdout, number), _part(self.stderr, number)

    def succeeded(self) -> Ran:
        """Check that all cases have run to their end."""
        assert self.returncode == 0, self.stderr
        return self

    def finished(self, *case: str) -> Path:
        """Check that each rank has come to the end of this case; return the folder of its files."""
        for report in self.reports():
            assert len(report["statuses"]) > self._number(case), self.stderr
        return self.folder

    def status(self, *case: str) -> list[int]:
        """Return what the case has returned on each rank."""
        self.finished(*case)
        return [report["statuses"][self._number(case)] for report in self.reports()]

    def reports(self) -> list[dict[str, Any]]:
        """Return what each rank has noted about itself."""
        files = [
            self.folder / f"{self.name} report-{rank}.json"
            for rank in range(STARTS[self.name].ranks)
        ]
        assert all(file.exists() for file in files), self.stderr
        return [json.loads(file.read_text()) for file in files]

    def _number(self, case: Case) -> int:
        cases = STARTS[self.name].cases
        return next(k for k, known in enumerate(cases) if known[: len(case)] == case)


def _part(text: str, number: int) -> str:
    """Return what was printed after the mark of this number: by rank 0, by rank 1, ..."""
    of_ranks: dict[int, list[str]] = {}
    rank = -1
    for line in text.splitlines(keepends=True):
        if tag := TAG.match(line):  # else it goes on where the bar of a terminal was
            rank = int(tag[1])
        of_ranks.setdefault(rank, []).append(line[tag.end() if tag else 0 :])
    whole = ["".join(lines) for _, lines in sorted(of_ranks.items())]
    parts = [one.partition(f"{MARK} {number}\n")[2] for one in whole]
    return "".join(part.partition(MARK)[0] for part in parts)


def _table(folder: Path) -> None:
    x = np.random.default_rng(0).normal(size=(120, 2))
    rows = [f"{a:.3f},{b:.3f},{'up' if a > b else 'down'}" for a, b in x]
    (folder / "table.csv").write_text("\n".join(["a,b,kind", *rows]))


def _pictures(folder: Path) -> None:
    from PIL import Image

    generator = np.random.default_rng(0)
    for number, kind in enumerate(("dark", "light")):
        (folder / "pictures" / kind).mkdir(parents=True)
        for k in range(30):
            values = generator.integers(0, 120, (9, 9)) + 130 * number
            path = folder / "pictures" / kind / f"{k}.png"
            Image.fromarray(values.astype(np.uint8)).save(path)


def _data(folder: Path) -> None:
    if not (folder / "table.csv").exists():
        _table(folder)
        _pictures(folder)


def _commands(ranks: int, *last: tuple[str, ...]) -> Start:
    """Return a start of the command ``gpunn``: three trainings, and what differs."""
    own = "--epochs", "6", "--hidden", "8", "--backend", "compiled"
    words = {
        "mnist": MNIST,
        "table": (f"{FOLDER}/table.csv", "--target", "kind", "--fast", *own),
        "pictures": (f"{FOLDER}/pictures", *own),
    }
    trainings = [
        ("train", *given, "--out", f"{FOLDER}/{what} of {ranks}") for what, given in words.items()
    ]
    cases = [("commands", "numpy", *given) for given in (*trainings, *last)]
    return Start(ranks, tuple(cases), variables={GPUS: "5"}, prepare=_data)


def _callbacks(backend: str, *cases: str, folder: str = "") -> tuple[Case, ...]:
    return tuple(
        ("callbacks", backend, case, f"{FOLDER}/{backend} {folder or case}") for case in cases
    )


STARTS = {
    "two ranks": Start(
        2,
        (
            ("trainings", "numpy", f"{FOLDER}/numpy"),
            ("trainings", "compiled", f"{FOLDER}/compiled"),
            ("refusals", "numpy", f"{FOLDER}/refused-numpy"),
            ("refusals", "compiled", f"{FOLDER}/refused-compiled"),
            ("alone", "numpy"),
            *_callbacks("compiled", "write", "show the progress"),
            *_callbacks("compiled", "until epoch 1", folder="parts"),
            ("failing", "numpy", "after training", FOLDER),
        ),
        variables={GPUS: None},
    ),
    "three ranks": Start(
        3,
        (
            *_callbacks("compiled", "stop after an epoch", "stop after a batch"),
            *_callbacks("compiled", "until epoch 3", folder="parts"),
            ("warns", "numpy"),
        ),
        after=("two ranks",),
    ),
    "one rank": Start(
        1,
        (
            ("trainings", "numpy", f"{FOLDER}/alone-numpy"),
            ("trainings", "compiled", f"{FOLDER}/alone-compiled"),
            *_callbacks("compiled", "to the end", folder="parts"),
            *_callbacks("compiled", "to the end", folder="whole"),
        ),
        after=("three ranks",),
    ),
    "four ranks": Start(
        4,
        (
            *(case for b in BACKENDS for case in _callbacks(b, "own statistics")),
            ("failing", "numpy", "exit 0", f"{FOLDER}/exited"),
        ),
    ),
    "two ranks that end": Start(
        2,
        (
            ("alone", "numpy"),
            ("trainings", "compiled", f"{FOLDER}/again", TWICE),
            ("failing", "numpy", "raise", f"{FOLDER}/raised"),
        ),
        variables={GPUS: "3,GPU-4", "PRETENDED_CORES": "64"},
    ),
    "commands of one rank": _commands(1, ("doctor", "--ranks")),
    "commands of two ranks": _commands(
        2,
        ("doctor", "--ranks", "--backend", "compiled"),
        ("train", *MNIST, "--out", f"{FOLDER}/nothing", "--resume"),
    ),
}
