"""The path of `Model.fit`, as it was taken: for ``docs/explanation/what-happens-in-fit.md``.

A profile function watches a real `fit` of a small model. The landmarks below are shown where they
are reached, each with the first sentence of its docstring. A landmark that is not reached is an
error, so the page cannot go stale.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

import gpunn
from gpunn import layers

PACKAGE = Path(gpunn.__file__).parent
fenced = runpy.run_path(str(Path(__file__).with_name("line_to_kernel.py")))["fenced"]

# A file, and functions in it: "Class.method", or without a class.
FIRST = {
    "models/trainable.py": ["TrainableModel.fit"],
    "training/fitting.py": ["fit"],
    "training/exclusive.py": ["ExclusiveTraining.__enter__"],
    "training/training.py": ["Training.ready", "Training.build_for", "Training.current_trainer"],
    "structure/builder.py": ["Builder.build"],
    "structure/chain.py": ["Chain.graph_for"],
    "structure/graph.py": ["Graph.__init__", "Graph.plan"],
    "layers/parameters.py": ["ensure_built"],
    "core/plan.py": ["Plan.__init__"],
    "core/storage.py": ["ParameterStorage.__init__"],
    "training/loss_terms.py": ["make_terms"],
    "training/trainer.py": ["Trainer.__post_init__", "Trainer.train"],
    "feeding/data.py": ["to_rows"],
    "feeding/rows.py": ["place"],
    "training/batch_iterator.py": ["BatchIterator.run"],
    "training/loops.py": ["fit"],
    "training/programs.py": ["Programs.program", "Programs.run"],
    "training/step.py": ["Batch.__post_init__", "ModelStep.__call__"],
    "core/workspace.py": ["Workspace.__init__"],
    "backends/host/program.py": ["TracingBackend.trace", "HostProgram.run"],
}
AGAIN = ("Builder.build", "Trainer.__post_init__", "Workspace.__init__", "ModelStep.__call__")
"""Landmarks of the first call that a second one must not come to."""


class Reached(NamedTuple):
    """A landmark: how many others it was called from, what it is, and where."""

    depth: int
    name: str
    file: str
    summary: str


def reached(work: Callable[[], Any]) -> list[Reached]:
    """The landmarks that ``work`` comes to, each once, in order."""
    found: dict[tuple[str, str], Reached] = {}
    within: list[CodeType] = []  # the landmarks that are being performed

    def watch(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "return" and within and within[-1] is code:
            within.pop()
        elif event == "call" and (landmark := _landmark(frame)) is not None:
            file, name = landmark
            found.setdefault(landmark, Reached(len(within), name, f"gpunn/{file}", _summary(frame)))
            within.append(code)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(before)
    return list(found.values())


def _landmark(frame: FrameType) -> tuple[str, str] | None:
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(PACKAGE):
        return None
    file = path.relative_to(PACKAGE).as_posix()
    for name in FIRST.get(file, ()):
        owner, _, function = name.rpartition(".")
        if frame.f_code.co_name == function and _is_of(frame, owner):
            return file, name
    return None


def _is_of(frame: FrameType, owner: str) -> bool:
    """Whether it is a method that the class ``owner`` defines; any function, if that is ""."""
    classes = type(frame.f_locals.get("self")).__mro__
    name = frame.f_code.co_name
    return not owner or any(cls.__name__ == owner and name in vars(cls) for cls in classes)


def _summary(frame: FrameType) -> str:
    """The first sentence of the docstring; of a constructor, that of its class."""
    code = frame.f_code
    if code.co_name in ("__init__", "__post_init__"):
        classes = type(frame.f_locals["self"]).__mro__
        own = (c for c in classes if getattr(vars(c).get(code.co_name), "__code__", None) is code)
        text = next(own).__doc__ or ""
    else:
        first = code.co_consts[0] if code.co_consts else None
        text = first if isinstance(first, str) else ""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].partition(": ")[0].rstrip(".:")


def lines_of(path: Sequence[Reached]) -> list[str]:
    """A table in plain text: the landmark, its file, what it does."""
    names = ["  " * step.depth + step.name for step in path]
    wide = max(map(len, names))
    files = max(len(step.file) for step in path)
    return [
        f"{name:{wide}}  {step.file:{files}}  {step.summary}".rstrip()
        for name, step in zip(names, path, strict=True)
    ]


def generated() -> str:
    x, y = np.zeros((20, 784), np.float32), np.zeros(20, np.int32)
    inside = [layers.Dense(128, "relu"), layers.Dense(10, "softmax")]
    model = gpunn.Sequential(inside, backend="numpy")
    model.compile("sgd", "sparse_categorical_crossentropy")

    def fit() -> None:
        model.fit(x, y, batch_size=10, verbose=0)

    first, second = reached(fit), reached(fit)
    there = {(step.file, step.name) for step in first}
    missing = {(f"gpunn/{file}", name) for file, names in FIRST.items() for name in names} - there
    if missing:
        raise AssertionError(f"fit does not come to {sorted(missing)}.")
    built = [step.name for step in second if step.name in AGAIN]
    if built:
        raise AssertionError(f"a second fit builds again: {built}.")
    return "\n".join(fenced("\n".join(lines_of(first))))


if __name__ == "__main__":
    print(generated())
