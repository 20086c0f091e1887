"""Tables in files: reading them, inferring column types, and training models on them."""

from __future__ import annotations

from .reading.csv_pieces import TableError
from .reading.table import Table, is_table, read_table

__all__ = ["Table", "TableError", "is_table", "read_table"]
