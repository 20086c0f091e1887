"""The labels that `ctc_decode` finds, beside the loss that adds up all their paths."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from gpunn import ops


def likeliest(logits: np.ndarray, blank: int) -> tuple[list[int], float]:
    """Try all paths of one sample (steps, classes)."""
    logs = ops.log_softmax(logits).numpy().astype(float)
    found: dict[tuple[int, ...], float] = {}
    for path in product(range(logits.shape[1]), repeat=len(logits)):
        changes = [c for k, c in enumerate(path) if k == 0 or c != path[k - 1]]
        labels = tuple(c for c in changes if c != blank)
        total = sum(logs[step, c] for step, c in enumerate(path))
        found[labels] = np.logaddexp(found.get(labels, -np.inf), total)
    best = max(found, key=lambda labels: found[labels])
    return list(best), found[best]


@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_finds_the_likeliest_labels(seed: int) -> None:
    random = np.random.default_rng(seed)
    classes, steps = int(random.integers(2, 5)), int(random.integers(1, 6))
    blank = int(random.integers(classes))
    logits = 2 * random.standard_normal((2, steps, classes))
    labels, scores = ops.ctc_decode(
        logits, [steps, steps], "beam_search", beam_width=10_000, mask_index=blank
    )
    for sample in range(2):
        expected, total = likeliest(logits[sample], blank)
        assert [label for label in labels.numpy()[0, sample] if label >= 0] == expected
        assert scores.numpy()[sample, 0] == pytest.approx(total, abs=1e-5)


def test_labels_that_do_not_exist_have_no_probability() -> None:
    labels, scores = ops.ctc_decode(np.zeros((1, 1, 2)), [1], "beam_search", top_paths=4)
    assert labels.tolist() == [[[-1]], [[1]], [[-1]], [[-1]]]
    assert scores.numpy()[0] == pytest.approx([np.log(0.5), np.log(0.5), -np.inf, -np.inf])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_have_no_labels_as_in_keras(
    value: float, keras: Any
) -> None:
    logits = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    logits[0, 1, 2] = logits[1, 4, 2] = value  # the latter is after the end of its sequence
    how: Any = {"strategy": "beam_search", "top_paths": 2}
    lengths = np.array([5, 4, 5], np.int32)
    wanted, totals = keras.ops.ctc_decode(logits, lengths, **how)
    labels, scores = ops.ctc_decode(logits, lengths, **how)
    np.testing.assert_array_equal(labels, np.asarray(wanted))
    np.testing.assert_allclose(scores, np.asarray(totals), rtol=0, atol=1e-5)


@pytest.mark.parametrize("strategy", ["greedy", "beam_search"])
def test_no_samples_and_no_steps(strategy: str) -> None:
    labels, _ = ops.ctc_decode(np.zeros((0, 5, 3)), np.zeros(0, np.int32), strategy)
    assert labels.shape == (1, 0, 5)
    labels, scores = ops.ctc_decode(np.zeros((2, 0, 3)), [0, 0], strategy)
    assert labels.shape == (1, 2, 0) and scores.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"strategy": "best"}, "strategy must be one of greedy, beam_search; got 'best'"),
        ({"mask_index": 3}, "mask_index must be one of 3 classes; got 3"),
        ({"strategy": "beam_search", "beam_width": 0}, "beam_width must be .* at least 1; got 0"),
        ({"sequence_lengths": [1]}, r"sequence_lengths must be .*\(2,\); got int32 \(1,\)"),
        ({"inputs": np.zeros((2, 3))}, r"inputs must be \(batch, steps, classes\); got shape"),
    ],
)
def test_what_does_not_fit_says_what_is_expected(how: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"ctc_decode: {message}"):
        ops.ctc_decode(**{"inputs": np.zeros((2, 4, 3)), "sequence_lengths": [4, 2], **how})


@pytest.mark.parametrize("merge_repeated", [True, False])
def test_without_a_blank_all_classes_are_labels_as_in_keras(
    merge_repeated: bool, keras: Any
) -> None:
    logits = np.random.default_rng(1).normal(size=(4, 6, 3)).astype(np.float32)
    lengths = np.array([6, 4, 1, 5], np.int32)
    how: Any = {"merge_repeated": merge_repeated, "mask_index": -1}
    wanted, totals = keras.ops.ctc_decode(logits, lengths, **how)
    labels, scores = ops.ctc_decode(logits, lengths, **how)
    np.testing.assert_array_equal(labels, np.asarray(wanted))
    np.testing.assert_allclose(scores, np.asarray(totals), rtol=1e-6)
    with pytest.raises(ValueError, match="mask_index must be an integer of at least 0; got -1"):
        ops.ctc_decode(logits, lengths, "beam_search", mask_index=-1)
