"""Whether a run is `make test` or `make test-more`: nobody has named files or other tests."""

from __future__ import annotations

import re

import pytest

FILES_OF_A_GPU = pytest.StashKey[set[str]]()
"""The collected files with a test of a GPU, whether there is one or not."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole-suite", action="store_true", help="as if no files were named")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Find out; processes of xdist do so themselves, since they get the same arguments."""
    named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    options = ("area", "keyword", "deselect", "lf")  # without pytest's cache there is no "lf"
    chosen = any(config.getoption(option, None) for option in options)
    if not named and not chosen and config.getoption("markexpr") in ("", "more"):
        config.option.whole_suite = True


def is_whole(config: pytest.Config) -> bool:
    return bool(config.getoption("whole_suite"))


def is_more(config: pytest.Config) -> bool:
    """Whether it is `make test-more`, or a part of it."""
    return re.search(r"(?<!not )\bmore\b", config.getoption("markexpr")) is not None
