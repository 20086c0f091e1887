"""The record that `gpunn train` keeps of a run for `gpunn report`."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import Any

from gpunn.apps.reports import Recorder
from gpunn.apps.reports.record import NAME as RUN
from gpunn.common.names import counted
from gpunn.distribution.launch import is_writer

from .arguments import keep_earlier

__all__ = ["RUN", "record_note", "recorder"]


def recorder(args: argparse.Namespace, out: str, **known: Any) -> Recorder:
    """Return a callback that records the run of these arguments in the folder ``out``.

    The record of an earlier run is renamed.
    """
    if not args.force and not args.resume and is_writer():
        keep_earlier(out, [RUN])
    return Recorder(
        record=os.path.join(out, RUN),
        name=os.path.basename(os.path.abspath(args.dataset)),
        part="the test rows",
        show_data=not args.no_data,
        command=shlex.join(["gpunn", *args.words]),
        **known,
    )


def record_note(run_recorder: Recorder) -> str:
    """Say in a line whether the file holds rows, for users who may not want to share them."""
    rows = run_recorder.run.rows_stored() if run_recorder.run else 0
    contents = f"with {counted(rows, 'row')} of the data" if rows else "without rows of the data"
    path = os.fspath(run_recorder.record or "")
    return f"Saved {path}, {contents}: gpunn report {shlex.quote(os.path.dirname(path))}"
