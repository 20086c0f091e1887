"""The command-line parser, which suggests corrections for mistyped commands and options."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from gpunn.common.names import closest

# Names that other programs use, and the names here.
_ELSEWHERE = {
    "gpu": "cupy",
    "cuda": "cupy",
    "cpu": "compiled",
    "fit": "train",
    "test": "evaluate",
    "check": "check-data",
    "info": "doctor",
    "--device": "--backend",
    "--units": "--hidden",
    "--layers": "--hidden",
    "--output": "--out",
    "--iterations": "--epochs",
    "--label": "--target",
}


def hint(text: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the name in ``known`` that ``text`` most likely means.

    A match is a name's equivalent in other programs, or the closest name. Without a match the
    result is empty.

    >>> hint("--lr", ["--learning-rate", "--out"]), hint("gpu", ["numpy", "cupy"])
    (" Did you mean '--learning-rate'?", " Did you mean 'cupy'?")
    """
    names = list(known)
    if (meant := _ELSEWHERE.get(text)) in names:
        return f" Did you mean {meant!r}?"
    return closest(text, names)


def unknown(what: str, text: str, known: Iterable[str]) -> str:
    """Return an error message for a name that is not in ``known``, with a hint.

    >>> unknown("command", "trian", ["train", "predict"])
    "unknown command: 'trian'. Did you mean 'train'? Known: train, predict."
    """
    names = list(known)
    return f"unknown {what}: {text!r}.{hint(text, names)} Known: {', '.join(names)}."


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that suggests the closest command, option or choice.

    It looks for unknown options first: argparse would take such an option's value for a file and
    report that instead.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        known = self._option_string_actions
        for text in args or ():
            command = self._subparsers is not None and not text.startswith("-")
            if text == "--" or command:  # the rest are positional, or belong to the command
                break
            name = text.partition("=")[0]
            if text.startswith("--") and not any(option.startswith(name) for option in known):
                offered = [option for option in known if option.startswith("--")]
                self.error(unknown("option", name, offered))
        found, more = super().parse_known_args(args, namespace)
        if more and self._subparsers is None:
            self.error(f"too many arguments: {' '.join(more)}. {self._places()}")
        return found, more

    def _places(self) -> str:
        """Say where a command takes files: by place, and by options such as ``--data FILE``."""
        takes = [str(action.metavar) for action in self._get_positional_actions()]
        takes += [
            f"{action.option_strings[0]} {action.metavar}"
            for action in self._get_optional_actions()
            if "FILE" in str(action.metavar)
        ]
        return f"It takes {', '.join(takes)}." if takes else "It takes only options."

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = "command" if action.metavar == "COMMAND" else "value"
            raise argparse.ArgumentError(action, unknown(what, str(value), action.choices))
