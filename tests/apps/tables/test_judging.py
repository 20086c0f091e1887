"""By which figures answers are judged, what mistakes cost, and targets far from all others."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from sklearn import metrics as reference

from gpunn.apps.decisions import Costs, Decision
from gpunn.apps.tables.scoring import OF_CLASSES, OF_NUMBERS, all_figures, metric_of
from gpunn.apps.tables.verdict import Far, about_classes, rarely_found, verdict
from gpunn.saving import load_model

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for", "little_search")


def answers(classes: int, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, some of them equal, and classes."""
    random = np.random.default_rng(classes)
    y = random.choice(classes, rows, p=np.arange(classes, 0, -1) / sum(range(classes + 1)))
    p = random.dirichlet(np.ones(classes), rows)
    p[np.arange(rows), y] += 0.4
    p = np.round(p / p.sum(axis=1, keepdims=True), 2)
    return p / p.sum(axis=1, keepdims=True), y


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_of_classes_are_those_of_scikit_learn(classes: int) -> None:
    p, y = answers(classes)
    for decision in [Decision.usual(y, classes)] + [Decision(1, 0.3)] * (classes == 2):
        named = decision.named(p)
        positive = decision.positive
        one: Any = {"average": "macro"} if positive is None else {"pos_label": positive}
        scores = p if positive is None else p[:, positive]
        labels = y if positive is None else y == positive
        wanted = {
            "accuracy": reference.accuracy_score(y, named),
            "auc": reference.roc_auc_score(labels, scores, multi_class="ovr"),
            "f1": reference.f1_score(y, named, **one),
            "log_loss": reference.log_loss(y, p),
            "balanced_accuracy": reference.balanced_accuracy_score(y, named),
        }
        found = {m.option: m.score(p, y, decision).value for m in OF_CLASSES}
        assert found == pytest.approx(wanted, rel=1e-5)
        if positive is not None:
            shown = all_figures(p, y, 2, decision)
            assert shown["precision"] == pytest.approx(reference.precision_score(y, named, **one))
            assert shown["recall"] == pytest.approx(reference.recall_score(y, named, **one))


def test_errors_of_scores_are_those_of_the_bootstrap() -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(0, 3, 300)
    cases = [(m, *answers(k), Decision.usual(answers(k)[1], k)) for m in OF_CLASSES for k in (2, 4)]
    cases += [(m, numbers + random.normal(0, 2, 300), numbers, Decision()) for m in OF_NUMBERS]
    for metric, p, y, decision in cases:
        draws = (random.integers(0, 300, 300) for _ in range(300))
        spread = np.std([metric.of(p[d], y[d], decision)[0] for d in draws])
        assert metric.score(p, y, decision).error == pytest.approx(spread, rel=0.2), metric.name


def test_one_row_of_a_class_is_one() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8]])
    said = about_classes(p, np.array([0, 1]), ["no", "yes"], Decision(1))
    assert "100% of the 1 row that is 'yes' (recall); 100% of the 1 row named so is" in said


def test_models_are_compared_by_the_metric() -> None:
    p, y = answers(2, 2000)
    sharper = np.where(p > 0.5, 0.95, 0.05)  # the same classes, with worse probabilities
    constant = np.tile(np.bincount(y) / len(y), (len(y), 1))
    usual = Decision.usual(y, 2)
    for option, said in (("accuracy", "equal"), ("log_loss", "clearly better"),
                         ("auc", "clearly better"), ("f1", "equal")):  # fmt: skip
        metric = metric_of(option, 2)
        found = verdict([constant, sharper, p], y, 2, "network", metric, usual)
        assert re.search(rf"^Take this network: {metric.name} .*: {said}", found), found


@pytest.mark.parametrize("cost", [1.0, 4.0, 25.0])
@pytest.mark.parametrize("calibrated", [True, False])
def test_the_threshold_costs_least_in_cross_validation(cost: float, calibrated: bool) -> None:
    random = np.random.default_rng(0)
    true = random.uniform(0, 1, 3000) ** 3
    y = (random.random(3000) < true).astype(int)
    p = true if calibrated else true**2  # far too sure that rows are not of the class
    p = np.stack([1 - p, p], axis=1)
    costs = Costs(cost, 2.0)
    found = costs.decision(p, y, 1)

    def cost_at(threshold: float) -> float:
        (_, wrong), (missed, _) = reference.confusion_matrix(y, p[:, 1] >= threshold)
        return float(2 * wrong + cost * missed)

    assert costs.of(found.named(p), y, 1).sum() == pytest.approx(cost_at(found.threshold))
    wrong, found_of, _ = reference.roc_curve(y, p[:, 1], drop_intermediate=False)
    all_costs = 2 * wrong * (y == 0).sum() + cost * (1 - found_of) * (y == 1).sum()
    assert cost_at(found.threshold) <= all_costs.min() * 1.05
    usual = 2 / (2 + cost)
    if calibrated:
        assert found.threshold == pytest.approx(usual)
    else:
        assert found.threshold < usual and cost_at(found.threshold) < cost_at(usual)


@pytest.mark.parametrize("costs", [Costs(1.0, 1000.0), Costs(1000.0, 1.0)])
@pytest.mark.parametrize("sure", [0.0, 1.0])
def test_a_model_that_is_sure_and_wrong_has_a_threshold_between_0_and_1(
    sure: float, costs: Costs
) -> None:
    """At 0 or 1 nothing would tell a probability of 0 or 1 from the threshold."""
    p = np.repeat(np.array([sure, 0.2], np.float32), 30)
    p = np.stack([1 - p, p], axis=1)
    y = np.repeat([1, 0, 0, 1], [25, 5, 28, 2])
    found = costs.decision(p, y if sure == 0 else y[::-1], 1)
    assert 0 < found.threshold < 1
    weighed = found.weighed(p)
    assert np.isfinite(weighed).all()
    assert np.array_equal(weighed.argmax(axis=1), found.named(p))


def test_the_weighed_probability_of_the_named_class_is_the_largest() -> None:
    p, _ = answers(2)
    for decision in (Decision(0, 0.17), Decision(1, 0.73), Decision(1)):
        weighed = decision.weighed(p)
        assert np.array_equal(weighed.argmax(axis=1), decision.named(p))
        assert np.allclose(weighed.sum(axis=1), 1)


def test_a_rare_class_that_is_hardly_found_is_named_with_the_cure() -> None:
    random = np.random.default_rng(1)
    true = random.beta(0.5, 4, 2000)
    y = (random.random(2000) < true).astype(int)
    p = np.stack([1 - true, true], axis=1)
    test, known = slice(0, 1000), slice(1000, 2000)
    given = ["no", "yes"], Decision(1), p[known], y[known]
    (found,) = rarely_found(p[test], y[test], *given)
    said = re.fullmatch(r"it finds (\d+)% of 'yes': --cost-false-negative (\d+) .* (\d+)%, and.*",
                        found)  # fmt: skip
    assert said, found
    usual = reference.recall_score(y[test], p[test, 1] >= 0.5)
    threshold = 1 / (1 + int(said[2]))
    assert int(said[1]) == round(100 * usual)
    assert int(said[3]) == pytest.approx(
        100 * reference.recall_score(y[known], p[known, 1] >= threshold), abs=5
    )
    sure = np.stack([1.0 - y, y], axis=1)[test]
    assert rarely_found(sure, y[test], *given) == []


def test_far_targets_are_judged_as_they_are_and_left_out_beside_it() -> None:
    random = np.random.default_rng(0)
    y = random.normal(0, 1, 100)
    answer = y + random.normal(0, 0.3, 100)
    y[17] = 500.0
    rows = np.arange(100) == 17
    models = [np.zeros(100), answer * 0.5, answer]
    found = verdict(models, y, 0, "network", far=Far(rows, [18]))
    as_they_are, near = (reference.r2_score(y[at], answer[at]) for at in (rows | True, ~rows))
    said = [f"{score:.3f}".replace("0.", ".", 1) for score in (as_they_are, near)]
    assert found.startswith(f"Take this network: R2 {said[0]} ± "), found
    assert f"as they are; {said[1]} ± " in found and "without the 1 far target (row 18)" in found
    assert found.endswith("without it: clearly better.")


def table(path: Path, names: list[str], rows: Any) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return str(path)


@pytest.fixture
def churn(tmp_path: Path) -> str:
    random = np.random.default_rng(0)
    size = random.uniform(25, 140, 600)
    left = random.random(600) < 1 / (1 + np.exp(3.2 - (size - 80) / 25))
    rows = zip(size.round(1), np.where(left, "yes", "no"), strict=True)
    return table(tmp_path / "churn.csv", ["size", "left"], rows)


def trained(path: str, target: str, *options: str) -> tuple[str, Path]:
    out = Path(path).with_suffix("")
    status, printed, complained = run(
        "train", path, "--target", target, "--fast", "--epochs", "3", "--out", out, *options
    )
    assert (status, complained) == (0, "")
    return printed, out / "model.gpunn"


def test_costs_reach_training_prediction_evaluation_and_the_record(churn: str) -> None:
    printed, path = trained(churn, "left", "--cost-false-negative", "8")
    model = load_model(path)
    entry = model.trained_on["decision"]
    assert entry["class"] == "yes" and 0 < entry["threshold"] < 0.5
    assert re.search(r"yes is named from a probability of 0\.\d+ on", printed)
    assert re.search(r"Take .*: cost ", printed) and "(recall)" in printed
    doubt = r"below (0\.\d+), scaled so that the threshold is a half, are called .* on which"
    said = re.search(doubt, printed)
    assert said and float(said[1]) == pytest.approx(model.trained_on["unsure_below"], abs=1e-4)
    line = next(line for line in printed.splitlines() if line.startswith("network"))
    end = json.loads((path.parent / "run.jsonl").read_text("utf-8").splitlines()[-1])["results"]
    assert float(line.split()[1]) == pytest.approx(end["figures"]["cost"], abs=1e-4)
    (right, wrong), (missed, found) = end["confusion"]
    assert end["figures"]["recall"] == pytest.approx(found / (missed + found))
    assert end["figures"]["cost"] == pytest.approx((wrong + 8 * missed) / end["rows"])
    assert end["figures"]["accuracy"] == pytest.approx((right + found) / end["rows"])
    _, output, _ = run("predict", path, churn, "--json")
    answers = json.loads(output)
    pairs = [(row["predicted left"] == "yes", row["probability of yes"]) for row in answers]
    assert all(is_named == (p >= entry["threshold"]) for is_named, p in pairs)
    assert any(is_named and p < 0.5 for is_named, p in pairs)
    _, output, _ = run("evaluate", path, "--data", churn, "--json")
    figures = json.loads(output)
    with open(churn, encoding="utf-8") as file:
        truth = [row["left"] for row in csv.DictReader(file)]
    named = [row["predicted left"] for row in answers]
    assert figures["accuracy"] == pytest.approx(reference.accuracy_score(truth, named))
    assert figures["recall"] == pytest.approx(reference.recall_score(truth, named, pos_label="yes"))


def test_the_metric_that_was_asked_for_comes_first(churn: str) -> None:
    printed, _ = trained(churn, "left", "--metric", "auc")
    assert re.search(r"^On the \d+ test rows:\n +AUC +accuracy +log loss", printed, re.M)
    assert re.search(r"^Take .*: AUC ", printed, re.M)
    assert "scaled so that" not in printed


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("left", ["--metric", "r2"], "--metric r2 is not for a target of classes"),
        ("size", ["--metric", "auc"], "--metric auc is not for a target of numbers"),
        ("size", ["--cost-false-negative", "2"], "--cost-false-negative is for two classes"),
        ("left", ["--cost-false-positive", "0"], "--cost-false-positive must be from 1e-06"),
        ("left", ["--cost-false-negative", "1e308"], "to 1e+06; got 1e+308"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_target_is_refused(
    churn: str, target: str, options: list[str], message: str
) -> None:
    status, _, complained = run("train", churn, "--target", target, *options)
    assert status != 0 and message in complained


def test_the_verdict_and_the_figures_are_of_targets_as_they_are(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    size = random.uniform(25, 140, 300).round(1)
    rent = 250 + 9 * size + random.normal(0, 30, 300)
    rent[[7, 100, 250]] *= 100
    path = table(tmp_path / "rents.csv", ["size", "rent"], zip(size, rent.round(), strict=True))
    printed, model = trained(path, "rent", "--split", "order")
    assert re.search(r"as they are; .* without the 1 far target \(row 251\)", printed), printed
    assert "R2 -" in printed and "R2 is below 0" not in printed  # no constant is better
    end = json.loads((model.parent / "run.jsonl").read_text("utf-8").splitlines()[-1])["results"]
    assert end["figures"]["RMSE"] > 5000  # of the rows as they are


@pytest.mark.parametrize("costs", [Costs(1.0, 20.0), Costs(20.0, 1.0)])
def test_few_rows_without_a_dear_mistake_move_no_threshold(costs: Costs) -> None:
    """40 calibrated rows: the sampled threshold costs more on average than the one of theory."""
    dearer, r = [], np.random.default_rng(4)
    truth = r.random(20_000)
    labels = (r.random(len(truth)) < truth).astype(int)
    whole = np.stack([1 - truth, truth], axis=1)

    def cost(threshold: float) -> float:
        return float(costs.of(Decision(1, threshold).named(whole), labels, 1).mean())

    for _ in range(50):
        p = r.random(40)
        y = (r.random(40) < p).astype(int)
        found = costs.decision(np.stack([1 - p, p], axis=1), y, 1)
        dearer.append(cost(found.threshold) / cost(costs.threshold))
    assert np.mean(dearer) < 1.05


def test_no_network_is_taken_whose_mistakes_cost_more_than_a_constant() -> None:
    p, y = answers(2, 400)
    usual, costs = Decision.usual(y, 2), Costs(1.0, 50.0)
    metric, share = metric_of(None, 2, costs), float((y == usual.positive).mean())
    constant = np.full((len(y), 2), 1 - costs.constant(share, usual))
    constant[:, usual.positive] = costs.constant(share, usual)
    assert not (usual.named(constant) == usual.positive).any()  # false alarms are dear
    found = verdict([constant, p, p], y, 2, "network", metric, usual)
    assert found.startswith("Take none yet: cost")
    cheap = verdict([constant, p, p], y, 2, "network", metric_of(None, 2, Costs(5.0)), usual)
    assert cheap.startswith("Take this network")
