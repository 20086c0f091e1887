"""The table of training speeds on a web page."""

from __future__ import annotations

import json

import pytest

from benchmarks import RESULTS
from benchmarks.common import machine
from benchmarks.pages.contestants import NETWORK_CODE
from benchmarks.pages.table import markdown

pytestmark = pytest.mark.checks("benchmarks")

PUBLISHED = RESULTS / "pages.json"


def found() -> dict[str, object]:
    """A run in which gpunn takes half a millisecond, and others twice, four times or as long."""
    half = [0.5, 0.4, 0.5, 0.6]
    return {
        "machine": machine.describe() | {"date": "2026-01-02", "commit": "abc"},
        "in": "Chromium 1.2", "packages": {"@tensorflow/tfjs": "4.22.0"},
        "absent": {NETWORK_CODE: "it was not given"}, "complaint": None,
        "speed": {
            "playground": {
                "samples": {"gpunn": half, "other": [2 * ms for ms in half],
                            "equal": [0.4, 0.5, 0.5, 0.6]},
                "loss": {"gpunn": 0.11126, "other": 0.11126, "equal": 0.5}, "first": 20,
            },
            "w2": {"samples": {"gpunn": half, "other": [4 * ms for ms in half]},
                   "loss": {"gpunn": 2.3, "other": 2.3}, "first": 30},
        },
        "frames": {"samples": [60, 58, 59, 31, 60], "epochs a second": 1234.4, "size": [12, 7]},
        "sizes": {"page": [345072, 238576]},
    }  # fmt: skip


def test_a_table_has_epochs_a_second_and_milliseconds_of_a_step() -> None:
    text = markdown(found())
    assert "| gpunn | 2,000 (1,917 - 2,125) | 2,500 |  | 0.1113 |" in text
    assert "| other | 1,000 (958 - 1,062) | 1,250 | 2 | 0.1113 |" in text
    assert "| equal | 2,000 (1,917 - 2,125) | 2,500 | as fast | 0.5000 |" in text
    assert "loss after 30 steps" in text
    assert "| other | 2 (1.9 - 2.1) | 1.6 | 4 | 2.3000 |" in text


def test_a_page_says_how_smooth_and_large_and_who_was_absent() -> None:
    text = markdown(found())
    assert "59 (58 - 60) pictures a second, 31 in the worst of 5 seconds" in text
    assert "a window of 12 x 7" in text and "1,234 epochs a second" in text
    assert "| page | 345,072 | 238,576 |" in text
    assert f"Absent: {NETWORK_CODE}, since it was not given." in text
    assert "abc" in text and "@tensorflow/tfjs 4.22.0" in text


def test_a_busy_machine_is_reported() -> None:
    assert "**It was busy.**" in markdown({**found(), "complaint": "It was busy."})
    assert "**" not in markdown(found())


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the pages have not been measured")
def test_the_published_table_is_that_of_its_figures() -> None:
    text = PUBLISHED.with_suffix(".md").read_text("utf-8")
    assert text == markdown(json.loads(PUBLISHED.read_text("utf-8")))
