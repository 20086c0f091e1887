"""The commands and their options, as tables: for ``docs/reference/command-line.md``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from gpunn.apps.cli import COMMANDS, module_of, texts_of
from gpunn.apps.cli.parser import Parser


def generated() -> str:
    return "\n".join(line for name in COMMANDS for line in command(name)) + "\n"


def command(name: str) -> Iterator[str]:
    module = module_of(name)
    texts = texts_of(module.__doc__)
    parser = Parser(prog=f"gpunn {name}", add_help=False)
    module.add_arguments(parser)
    yield from (f"## gpunn {name}", "", texts["description"], "")
    yield from ("| argument | what it is |", "| --- | --- |")
    for action in parser._actions:  # argparse has no other list of them
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        yield f"| {argument(action)} | {' '.join(text.split()).replace('|', chr(92) + '|')} |"
    lines = texts["epilog"].strip().splitlines()
    yield from ("", "```", *(line.removeprefix("  ") for line in lines), "```", "")


def argument(action: argparse.Action) -> str:
    """Return how it is written: ``--epochs N``, ``PATH``."""
    values = ""
    if action.nargs != 0:
        values = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        if action.choices is not None and action.metavar is None:
            values = "{" + ",".join(map(str, action.choices)) + "}"
        values += {"+": " ...", "*": " ..."}.get(str(action.nargs), "")
    names = ", ".join(action.option_strings)
    return f"`{f'{names} {values}'.strip()}`".replace("|", "\\|")
