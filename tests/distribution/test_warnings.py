"""A warning that all ranks give is printed once; that of one rank is printed after its number."""

from __future__ import annotations

from typing import Any

MOMENTS = "before training", "in an epoch", "after training"


def test_rank_0_prints_the_warnings_of_all(ran: Any) -> None:
    _, error = ran("three ranks").succeeded().of_case("warns")
    lines = [line for line in error.splitlines() if "Warning: " in line]
    for moment in MOMENTS:
        (everyone,) = [line for line in lines if f"{moment} on all ranks" in line]
        (one,) = [line for line in lines if f"{moment} on one rank" in line]
        assert "rank" not in everyone.partition("UserWarning")[0]
        assert one.startswith("gpunn: rank 1 of 3: ") and "warns.py:" in one
    assert sum("The data ran out in epoch 2 of 3" in line for line in lines) == 1
    again = [line.partition("warns.py")[0] for line in lines if "once more" in line]
    assert again[0] == "" and {*again[1:]} == {"gpunn: rank 1 of 3: "}
    assert len(lines) == 2 * len(MOMENTS) + 1 + len(again)


def test_an_error_on_one_rank_does_not_hide_its_warnings(ran: Any) -> None:
    done = ran("two ranks that end")
    assert done.returncode != 0
    assert "bad luck on one rank" in done.of_case("failing")[1]
