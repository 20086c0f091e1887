"""Writes the table of operations in docs/operations.md from their declarations.

    python docs/operations_table.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpunn.backends.contract import Contract, Operation
from gpunn.backends.contract.declaration import Argument

PAGE = Path(__file__).with_name("operations.md")
BEGIN, END = "<!-- table of operations -->\n", "<!-- end of the table -->"


def shape_of(argument: Argument) -> str:
    if callable(argument.shape):
        return "as the formula asks"
    shape = ", ".join(argument.shape.split())
    turned = f", turned by `{argument.transposed}`" if argument.transposed else ""
    dtype = "" if argument.dtype == "float" else f" {argument.dtype}"
    return f"({shape}){dtype}{turned}"


def arrays_of(operation: Operation, use: str) -> str:
    """Its arrays that are read, written, or both; what a call decides stands with both."""
    found = []
    for name, argument in operation.arrays.items():
        kinds = {(True, False): "read", (False, True): "written"}
        kind = "both" if callable(argument.read) or callable(argument.written) else None
        if (kind or kinds.get((bool(argument.read), bool(argument.written)), "both")) == use:
            optional = "?" if argument.optional else ""
            found.append(f"`{name}{optional}` {shape_of(argument)}")
    return "<br>".join(found)


def row(operation: Operation) -> str:
    text = (operation.method.__doc__ or "").split("\n\n")[0]
    meaning = " ".join(text.split()).replace("|", "\\|")
    where = "<br>".join(f"`{condition}`" for condition in operation.where).replace("|", "\\|")
    uses = [arrays_of(operation, use) for use in ("read", "written", "both")]
    return "| " + " | ".join([f"`{operation.name}`", *uses, where, meaning]) + " |"


def table() -> str:
    lines = [
        "| operation | reads | writes | reads and writes, or as told | required | what it does |",
        "| --- | --- | --- | --- | --- | --- |",
        *map(row, Contract.operations.values()),
    ]
    return "\n".join(lines) + "\n"


def written_into(page: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


def main(*_: Any) -> None:
    PAGE.write_text(written_into(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
