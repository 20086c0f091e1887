"""Tables in files: reading them, what their columns are, and models of them."""

from __future__ import annotations

from .reading import Table, TableError, is_table, read_table

__all__ = ["Table", "TableError", "is_table", "read_table"]
