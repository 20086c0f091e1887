"""Reports of training runs: a record of each run, and a page that shows it."""

from .callback import Recorder, Report
from .record import Record, read
from .report import report

__all__ = ["Record", "Recorder", "Report", "read", "report"]
