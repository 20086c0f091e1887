"""A report for each run: a record of what happened, and a page that shows it."""

from .callback import Recorder, Report
from .record import Record, read
from .report import report

__all__ = ["Record", "Recorder", "Report", "read", "report"]
