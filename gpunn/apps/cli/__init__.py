"""Train small neural networks on an NVIDIA GPU or on the CPU.

examples:
  gpunn train mnist                         train on MNIST, save to runs/mnist
  gpunn evaluate runs/mnist/model.gpunn     evaluate on the test images
  gpunn predict runs/mnist/model.gpunn seven.png
  gpunn export runs/mnist/model.gpunn page.html   draw digits in the browser
  gpunn serve runs/mnist/model.gpunn        answer predictions over HTTP
  gpunn report runs/mnist                   write a report of the training
  gpunn check-data pets.csv --target kind   look for problems in the data
  gpunn playground                          watch a network learn in the browser
  gpunn doctor                              show what this machine supports
  gpunn bench --quick                       compare speed with other frameworks

exit status: 0 success, 1 an error in the data or on the machine, 2 wrong usage,
130 interrupted. Run `gpunn COMMAND --help` for the options of a command.
"""

# One module per subcommand, and their shared code. The docstring of each is its help.

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from gpunn import __version__

from .own_data import INTERRUPTED
from .parser import Parser

__all__ = ["main"]

COMMANDS = (
    "train", "evaluate", "predict", "export", "serve", "report", "check-data", "playground",
    "doctor", "bench",
)

# Errors from a wrong file, value or machine, as opposed to a bug in the program.
_ERRORS = (ValueError, OSError, RuntimeError, ImportError, FloatingPointError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: the arguments, without the program's name; by default the process's (`sys.argv[1:]`).

    >>> main(["--version"])  # doctest: +ELLIPSIS
    gpunn ...
    0
    """
    try:
        words = [*(sys.argv[1:] if argv is None else argv)]
        args = _parser(words).parse_args(words)
        args.words = words
    except SystemExit as stop:  # --help and --version, or wrong usage
        return int(stop.code or 0)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of our output has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except _ERRORS as error:
        print(f"gpunn: error: {_message(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        bar = "\n" if sys.stderr.isatty() else ""  # ends the progress bar's line
        print(f"{bar}gpunn: interrupted. {stop}".rstrip(), file=sys.stderr)
        return INTERRUPTED


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"  # without its "[Errno 2]"
    return str(error)


def module_of(command: str) -> Any:
    """Import a subcommand's module."""
    return import_module(f"{__name__}.{command.replace('-', '_')}")


def texts_of(doc: str | None) -> dict[str, Any]:
    """Return what stands above and below the options in the help of a command, of its docstring."""
    above, _, below = (doc or "").partition("\n\n")
    kept = argparse.RawDescriptionHelpFormatter  # with its line breaks
    return {"description": above, "epilog": below, "formatter_class": kept}


def _parser(words: Sequence[str]) -> Parser:
    """Return the parser of these words. It imports no other command's module."""
    parser = Parser(prog="gpunn", **texts_of(__doc__))
    parser.add_argument("--version", action="version", version=f"gpunn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    asked = words[:1] if words and words[0] in COMMANDS else COMMANDS
    for name in asked:
        module = module_of(name)
        command = commands.add_parser(name, help=module.HELP, **texts_of(module.__doc__))
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
