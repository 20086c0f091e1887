"""Losses and policies that are trained by `GradientTape`, beside the same programs in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from comparisons.beside_pytorch import TINY, as_torch, assert_moved, assert_same, network
from numpy.testing import assert_array_equal
from torch.nn import functional

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.usefixtures("doubles")


# -- metric learning


def test_a_triplet_loss_is_trained_as_in_pytorch(every_backend: str) -> None:
    """Hardest positives and negatives of a batch, of embeddings on the sphere; and a decay."""
    gpunn.use_backend(every_backend)
    random = np.random.default_rng(0)
    x, classes = random.standard_normal((30, 4)), random.integers(0, 3, 30)
    model = network(layers.Dense(6, "tanh"), layers.Dense(3), shape=(4,))
    before, (a, b, c, d) = model.get_weights(), as_torch(model.trainable_variables)
    optimizer = gpunn.optimizers.AdamW(0.02, weight_decay=0.1, epsilon=TINY)
    torchs = torch.optim.AdamW([a, b, c, d], lr=0.02, weight_decay=0.1, eps=TINY)

    for rows in (slice(0, 12), slice(12, 24), slice(18, 30)) * 2:
        same = classes[rows, None] == classes[rows]  # (12, 12), the diagonal included
        with gpunn.GradientTape() as tape:
            e = ops.normalize(model(x[rows], training=True), axis=-1, order=2)
            squares = ops.sum(ops.square(e[:, None] - e[None]), axis=-1)  # (12, 12)
            positive = ops.max(ops.where(same, squares, -1.0), axis=1)
            negative = ops.min(ops.where(same, 9.0, squares), axis=1)
            each = ops.maximum(positive - negative + 0.2, 0.0)
            loss = ops.mean(each)
        slopes = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(slopes, model.trainable_variables)
        assert np.any(np.asarray(each))

        f = functional.normalize(torch.tanh(torch.tensor(x[rows]) @ a + b) @ c + d, dim=-1)
        apart, equal = (f[:, None] - f[None]).square().sum(-1), torch.tensor(same)
        furthest = torch.where(equal, apart, -1.0).max(1).values
        nearest = torch.where(equal, 9.0, apart).min(1).values
        expected = torch.relu(furthest - nearest + 0.2).mean()
        torchs.zero_grad()
        expected.backward()
        torchs.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-10)
    assert_same(model.get_weights(), [a, b, c, d])
    assert_moved(model, before)


def test_one_network_called_three_times_has_the_gradient_of_all() -> None:
    """PyTorch's own triplet loss, on an anchor, a positive and a negative of each row."""
    random = np.random.default_rng(1)
    model = network(layers.Dense(5, "relu"), layers.Dense(2), shape=(4,))
    a, b, c, d = weights = as_torch(model.trainable_variables)
    optimizer, torchs = gpunn.optimizers.SGD(0.1), torch.optim.SGD(weights, lr=0.1)
    given = functional.triplet_margin_loss
    for parts in random.standard_normal((4, 3, 10, 4)):
        with gpunn.GradientTape() as tape:
            anchor, positive, negative = (model(part, training=True) for part in parts)
            near, far = (ops.norm(anchor - other + 1e-6, axis=1) for other in (positive, negative))
            loss = ops.mean(ops.relu(near - far + 1.0))
        optimizer.minimize(loss, model.trainable_variables, tape)
        made = [torch.relu(torch.tensor(part) @ a + b) @ c + d for part in parts]
        expected = given(*made, margin=1.0, eps=1e-6)
        torchs.zero_grad()
        expected.backward()
        torchs.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-10)
    assert_same(model.get_weights(), weights)
    with pytest.raises(ValueError, match="a loss and its tape"):
        optimizer.minimize(loss, model.trainable_variables)


# -- a student that learns from a teacher


def test_distillation_is_that_of_pytorch(every_backend: str) -> None:
    """The teacher's dropout is off, its statistics stay, and it learns nothing."""
    gpunn.use_backend(every_backend)
    random = np.random.default_rng(2)
    x, labels = random.standard_normal((24, 5)), random.integers(0, 3, 24)
    teacher = network(
        layers.Dense(8, "tanh"), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(3),
        shape=(5,), seed=1,
    )  # fmt: skip
    held = [random.uniform(0.5, 1.5, w.shape) for w in teacher.get_weights()]
    teacher.set_weights(held)
    student = network(layers.Dense(3, "relu"), layers.Dense(3), shape=(5,), seed=2)
    before, (a, b, c, d) = student.get_weights(), as_torch(student.trainable_variables)
    kernel, bias, gamma, beta, mean, variance, last, shift = map(torch.tensor, held)
    optimizer = gpunn.optimizers.Adam(0.03, epsilon=TINY)
    torchs = torch.optim.Adam([a, b, c, d], lr=0.03, eps=TINY)
    hard = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    soft = gpunn.losses.KLDivergence()
    hot, share = 4.0, 0.3

    for rows in (slice(0, 10), slice(10, 20), slice(20, 24)) * 2:
        with gpunn.GradientTape() as tape:
            wanted = teacher(x[rows], training=False)
            logits = student(x[rows], training=True)
            far = soft(ops.softmax(wanted / hot), ops.softmax(logits / hot)) * hot**2
            loss = share * hard(labels[rows], logits) + (1 - share) * far
        slopes = tape.gradient(loss, student.trainable_variables)
        optimizer.apply_gradients(zip(slopes, student.trainable_variables, strict=True))

        given = torch.tensor(x[rows])
        inside = torch.tanh(given @ kernel + bias)
        inside = gamma * (inside - mean) / torch.sqrt(variance + 1e-3) + beta
        others = torch.log_softmax((inside @ last + shift) / hot, dim=-1)
        found = torch.relu(given @ a + b) @ c + d
        of_soft = functional.kl_div(
            torch.log_softmax(found / hot, -1), others, log_target=True, reduction="batchmean"
        )
        of_hard = functional.cross_entropy(found, torch.tensor(labels[rows]))
        expected = share * of_hard + (1 - share) * hot**2 * of_soft
        torchs.zero_grad()
        expected.backward()
        torchs.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-10)
    assert_same(student.get_weights(), [a, b, c, d])
    assert_moved(student, before)
    for one, other in zip(teacher.get_weights(), held, strict=True):
        assert_array_equal(one, other)


def test_two_students_that_teach_each_other_are_those_of_pytorch() -> None:
    """Mutual learning (Zhang et al., 2018), where gradients reach both sides of the divergence."""
    random = np.random.default_rng(9)
    x, labels = random.standard_normal((3, 8, 4)), random.integers(0, 3, (3, 8))
    models = [network(layers.Dense(3, "softmax"), shape=(4,), seed=seed) for seed in (1, 2)]
    sources = [w for model in models for w in model.trainable_variables]
    weights = as_torch(sources)
    a, b, c, d = weights
    optimizer, torchs = gpunn.optimizers.SGD(0.4), torch.optim.SGD(weights, lr=0.4)
    hard, soft = gpunn.losses.SparseCategoricalCrossentropy(), gpunn.losses.KLDivergence()
    for given, wanted in zip(x, labels, strict=True):
        with gpunn.GradientTape() as tape:
            p, q = (model(given, training=True) for model in models)
            loss = hard(wanted, p) + hard(wanted, q) + soft(p, q) + 0.5 * soft(q, p)
        optimizer.apply(tape.gradient(loss, sources), sources)
        ps, qs = (
            torch.log_softmax(torch.tensor(given) @ w + shift, -1) for w, shift in ((a, b), (c, d))
        )
        ways = {"reduction": "batchmean", "log_target": True}
        expected = sum(functional.nll_loss(logs, torch.tensor(wanted)) for logs in (ps, qs))
        expected = expected + functional.kl_div(qs, ps, **ways)
        expected = expected + 0.5 * functional.kl_div(ps, qs, **ways)
        torchs.zero_grad()
        expected.backward()
        torchs.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-10)
    assert_same(sources, weights)


# -- a policy that is rewarded

SIDE, GOAL, PIT = 3, 8, 4  # states 0 to 8, row by row
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


def after(state: int, action: int) -> tuple[int, float]:
    row, column = (
        min(max(at + by, 0), SIDE - 1)
        for at, by in zip(divmod(state, SIDE), MOVES[action], strict=True)
    )
    now = row * SIDE + column
    return now, {GOAL: 1.0, PIT: -1.0}.get(now, -0.05)


def episode(probabilities: np.ndarray, draws: np.ndarray) -> tuple[list[int], list[int], list[Any]]:
    """States, actions and returns: each draw decides an action by probabilities (states, 4)."""
    state, states, actions, rewards = 0, [], [], []
    for draw in draws:
        if state in (GOAL, PIT):
            break
        action = min(int(np.searchsorted(np.cumsum(probabilities[state]), draw)), 3)
        states.append(state)
        actions.append(action)
        state, reward = after(state, action)
        rewards.append(reward)
    returns, total = [], 0.0
    for reward in reversed(rewards):
        total = reward + 0.9 * total
        returns.append(total)
    return states, actions, returns[::-1]


def test_reinforce_is_that_of_pytorch() -> None:
    """With a baseline that learns too, and an entropy; each step has as many rows as it took."""
    random, places = np.random.default_rng(3), np.eye(SIDE * SIDE)
    policy = network(layers.Dense(6, "tanh"), layers.Dense(4), shape=(9,))
    judge = network(layers.Dense(1), shape=(9,), seed=1)
    (a, b, c, d), (e, f) = as_torch(policy.trainable_variables), as_torch(judge.trainable_variables)
    before = policy.get_weights()
    own = gpunn.optimizers.SGD(0.3, momentum=0.9), gpunn.optimizers.SGD(0.1)
    torchs = torch.optim.SGD([a, b, c, d], lr=0.3, momentum=0.9), torch.optim.SGD([e, f], lr=0.1)
    lengths = set()

    def logits(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ a + b) @ c + d

    for _ in range(8):
        draws = random.random(12)
        chances = np.asarray(ops.softmax(policy(places)))
        states, actions, returns = episode(chances, draws)
        x, wanted = places[states], np.array(returns)[:, None]  # (steps, 9), (steps, 1)
        with gpunn.GradientTape() as tape:
            logs = ops.log_softmax(policy(x, training=True))
            taken = ops.take_along_axis(logs, np.array(actions)[:, None], axis=1)
            value = judge(x, training=True)
            better = ops.stop_gradient(wanted - value)
            entropy = -ops.mean(ops.sum(ops.exp(logs) * logs, axis=1))
            loss = -ops.mean(taken * better) - 0.1 * entropy
            error = ops.mean(ops.square(value - wanted))
        sources = [policy.trainable_variables, judge.trainable_variables]
        slopes = tape.gradient([loss, error], sources)  # of their sum, in lists as the sources
        for optimizer, *pair in zip(own, slopes, sources, strict=True):
            optimizer.apply(*pair)

        with torch.no_grad():
            chosen = torch.softmax(logits(torch.tensor(places)), -1).numpy()
        assert episode(chosen, draws) == (states, actions, returns)
        lengths.add(len(states))
        given = torch.tensor(x)
        categories = torch.distributions.Categorical(logits=logits(given))
        judged = given @ e + f
        advantage = (torch.tensor(wanted) - judged).detach()[:, 0]
        expected = -(categories.log_prob(torch.tensor(actions)) * advantage).mean()
        expected = expected - 0.1 * categories.entropy().mean()
        of_value = (judged - torch.tensor(wanted)).square().mean()
        for step in torchs:
            step.zero_grad()
        (expected + of_value).backward()
        for step in torchs:
            step.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-10)
        assert float(error) == pytest.approx(of_value.item(), rel=1e-10)
    assert len(lengths) > 2
    assert_same([*policy.get_weights(), *judge.get_weights()], [a, b, c, d, e, f])
    assert_moved(policy, before)
