"""A warning that all ranks give is printed once; that of one rank is printed after its number."""

from __future__ import annotations

from typing import Any

MOMENTS = "before training", "in an epoch", "after training"


def test_rank_0_prints_the_warnings_of_all(run_ranks: Any) -> None:
    done = run_ranks(3, "warns.py")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "Warning: " in line]
    for moment in MOMENTS:
        (everyone,) = [line for line in lines if f"{moment} on all ranks" in line]
        (one,) = [line for line in lines if f"{moment} on one rank" in line]
        assert "rank" not in everyone.partition("UserWarning")[0]
        assert one.startswith("gpunn: rank 1 of 3: ") and "warns.py:" in one
    assert sum("The data ran out in epoch 2 of 3" in line for line in lines) == 1
    assert len(lines) == 2 * len(MOMENTS) + 1


def test_an_error_on_one_rank_does_not_hide_its_warnings(run_ranks: Any) -> None:
    done = run_ranks(2, "warns.py", "raise")
    assert done.returncode != 0
    assert "in an epoch on one rank" in done.stderr
