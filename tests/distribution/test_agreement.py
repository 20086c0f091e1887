"""What differs between ranks, or mixes the rows of a batch, is an error on each of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

BEGINNINGS = {
    "other_batch_size": "The ranks do not agree on batch_size: 8 on rank 0, 9 on rank 1.",
    "lazy_adam": "Adam(lazy=True) updates the rows of a batch, but cannot for 'embedding/emb",
    "other_epochs": "The ranks do not agree on epochs: 2 on rank 0, 3 on rank 1.",
    "own_steps_that_return_other_names": (
        "The ranks do not agree on what train_step returns: loss, of rank 0 on rank 0, loss, of "
    ),
    "other_data": "The ranks do not agree on x: float64 (20, 4), checksum ",
    "other_shape": "The ranks do not agree on x: float64 (20, 4), checksum ",
    "other_validation_data": "The ranks do not agree on validation_data: y: ",
    "other_layers": "The ranks do not agree on layer 0, Dense: units: 3 on rank 0, 4 on rank 1.",
    "other_activation": "The ranks do not agree on layer 0, Dense: activation: class_name: 'Tanh'",
    "other_learning_rate": "The ranks do not agree on the optimizer: learning_rate: 0.1 on rank 0",
    "other_loss": "The ranks do not agree on loss 0: MeanAbsoluteError on rank 0, ",
    "callback_on_one_rank": (
        "The ranks do not agree on the callbacks for training batches: none on rank 0, _OfBatches "
        "on rank 1."
    ),
    "weights_changed_on_one_rank": "The weights of rank 0 and rank 1 differ after epoch 2, first ",
    "other_batches": "Batch 2 has 5 rows on rank 0, but 4 on rank 1.",
    "fewer_batches": "Batch 3 has 5 rows on rank 0, but 0 on rank 1.",
    "layer_that_mixes_rows": "centred: the output for a row depends on other rows of the batch",
    "added_loss_that_mixes_rows": "spread: the loss that it adds for a batch is not the mean of ",
    "loss_that_mixes_rows": "The loss 'centred' ",
    "metric_that_does_not_add_up": "The metric 'largest' of a batch is not that of its parts",
    "declared_as_independent": "",
    "more_random_numbers_for_two_rows": "shaken.call draws random numbers, applies layers or adds ",
    "model_that_mixes_rows": "call: the output for a row depends on other rows of the batch",
    "model_declared_as_independent": "",
}


@pytest.fixture(
    scope="module", params=["numpy", "compiled", pytest.param("emulated", marks=pytest.mark.more)]
)  # fmt: skip
def messages(
    ran: Any, run_ranks: Any, tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> list[dict[str, str]]:  # fmt: skip
    if request.param == "emulated":
        file = tmp_path_factory.mktemp("refusals") / "messages"
        done = run_ranks(2, "refusals.py", file, backend=request.param)
        assert done.returncode == 0, done.stderr
    else:
        folder = ran("two ranks").finished("refusals", request.param)
        file = folder / f"refused-{request.param}"
    return [json.loads(Path(f"{file}-{rank}.json").read_text()) for rank in range(2)]


def test_every_case_is_here(messages: list[dict[str, str]]) -> None:
    assert messages[0].keys() == messages[1].keys() == BEGINNINGS.keys()


@pytest.mark.parametrize("case", BEGINNINGS)
def test_the_error_is_that_of_every_rank(case: str, messages: list[dict[str, str]]) -> None:
    first, second = (of[case] for of in messages)
    assert first == second
    assert first.partition(": ")[2].startswith(BEGINNINGS[case])
    assert bool(first) == bool(BEGINNINGS[case])
