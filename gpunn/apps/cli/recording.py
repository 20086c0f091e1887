"""What `gpunn train` keeps of a run, for `gpunn report`."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import Any

from gpunn.apps.reports import Recorder
from gpunn.apps.reports.record import NAME as RUN
from gpunn.common.names import counted

from .arguments import keep_earlier

__all__ = ["RUN", "recorder", "said_of_record"]


def recorder(args: argparse.Namespace, out: str, **known: Any) -> Recorder:
    """A callback that keeps the run of these arguments in the folder ``out``; the record of an
    earlier run gets another name."""
    if not args.force and not args.resume:
        keep_earlier(out, [RUN])
    return Recorder(
        record=os.path.join(out, RUN),
        name=os.path.basename(os.path.abspath(args.dataset)),
        part="the test rows",
        show_data=not args.no_data,
        command=shlex.join(["gpunn", *args.words]),
        **known,
    )


def said_of_record(told: Recorder) -> str:
    """What is in the file, in a line: somebody may not want to give rows away."""
    found = (told.run and told.run.end and told.run.end["results"]) or {}
    shown = len(found.get("mistakes", ()))
    held = f"with {counted(shown, 'row')} of the data" if shown else "without rows of the data"
    path = os.fspath(told.record or "")
    return f"Saved {path}, {held}: gpunn report {shlex.quote(os.path.dirname(path))}"
