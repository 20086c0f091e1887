"""Test invalid graphs and their error messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graph_networks import CLASSES, LEFT, NUMBERS, RIGHT, X, Y, compiled, two_by_two

import gpunn
from gpunn import layers, ops


def tensor(*shape: int) -> Any:
    return gpunn.Input(shape)


def of_samples(function: Callable[[Any], Any]) -> Any:
    return gpunn.Model(x := tensor(2), function(x))


def disconnected() -> Any:
    a, b = gpunn.Input((3,), name="here"), gpunn.Input((3,), name="missing")
    return gpunn.Model(a, layers.add([a, b]))


def same_names() -> Any:
    x = tensor(3)
    return gpunn.Model(x, layers.Dense(3, name="same")(layers.Dense(3, name="same")(x)))


REFUSED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "disconnected": (disconnected, ["disconnected", "'missing'", "'here'"]),
    "an output that is no tensor": (
        lambda: gpunn.Model(tensor(3), np.zeros(3)), ["All outputs", "symbolic"]),
    "an input that is no tensor": (
        lambda: gpunn.Model({"a": "x"}, tensor(3)), ["All inputs", "'x'"]),
    "no inputs": (lambda: gpunn.Model([], tensor(3)), ["inputs", "at least one"]),
    "nothing": (lambda: gpunn.Model(), ["inputs and outputs"]),
    "two layers of one name": (same_names, ["'same'", "2 times"]),
    "one input twice": (lambda: gpunn.Model([x := tensor(3), x], x), ["twice"]),
    "shapes to add": (
        lambda: layers.Add(name="sum")([tensor(3), tensor(4)]), ["sum", "(None, 3)", "(None, 4)"]),
    "shapes to concatenate": (
        lambda: layers.Concatenate(name="c")([tensor(3, 2), tensor(4, 2)]),
        ["c: ", "axis 2", "(None, 3, 2)", "(None, 4, 2)"]),
    "axis of the batch": (lambda: layers.Concatenate(0), ["axis", "batch", "0"]),
    "axis that is not there": (
        lambda: layers.Concatenate(3)([tensor(3), tensor(3)]), ["axis 3", "(None, 3)"]),
    "three to subtract": (lambda: layers.subtract([tensor(2)] * 3), ["2 inputs", "got 3"]),
    "one where a list is due": (lambda: layers.Add()(tensor(2)), ["list"]),
    "a list where one is due": (
        lambda: layers.Dense(2)([tensor(2), tensor(2)]), ["one tensor", "Concatenate"]),
    "tensors and arrays": (lambda: layers.Add()([tensor(2), RIGHT]), ["mixed"]),
    "a tensor as an array": (lambda: np.asarray(tensor(2)), ["symbolic", "Model"]),
    "a word to add": (lambda: tensor(2) + object(), ["symbolic", "numbers"]),
    "another width to add": (lambda: tensor(2) + np.ones(3), ["add", "broadcast", "(3,)"]),
    "a tensor to decide by": (lambda: bool(tensor(2) > 0), ["symbolic", "ops.where"]),
    "a tensor to iterate": (lambda: list(tensor(2)), ["symbolic", "samples"]),
    "a mean of all samples": (lambda: of_samples(ops.mean), ["mean", "each sample", "Lambda"]),
    "a mean over the samples": (
        lambda: of_samples(lambda x: ops.mean(x, axis=0)), ["mean", "each sample"]),
    "some samples": (lambda: of_samples(lambda x: x[1:]), ["get_item", "each sample"]),
    "a choice of samples": (lambda: tensor(2)[tensor(2) > 0], ["index", "ops.where"]),
    "a number of numbers": (lambda: of_samples(ops.size), ["size", "each sample"]),
    "samples backwards": (lambda: of_samples(lambda x: x[::-1]), ["get_item", "other samples"]),
    "a sum along the batch": (
        lambda: of_samples(lambda x: ops.cumsum(x, axis=0)), ["cumsum", "other samples"]),
    "a softmax along the batch": (
        lambda: of_samples(lambda x: ops.softmax(x, 0)), ["softmax", "other samples"]),
    "samples with samples": (
        lambda: of_samples(lambda x: x @ ops.transpose(x)), ["transpose", "each sample"]),
    "steps of one's own": (
        lambda: type("Mine", (gpunn.Model,), {"make_train_function": None}),
        ["Mine.make_train_function", "train_step"]),
    "a call of a chain": (
        lambda: type("Mine", (gpunn.Sequential,), {"call": None}), ["Mine.call", "gpunn.Model"]),
    "a call beside a graph": (
        lambda: type("Mine", (gpunn.Model,), {"call": None})(x := tensor(2), x), ["Mine", "call"]),
    "too few inputs of a model": (lambda: two_by_two()([tensor(4)]), ["1 entries; 2", "'left'"]),
    "another shape for a model": (
        lambda: two_by_two()([tensor(4), tensor(4)]), ["(3,)", "(4,)"]),
    "too few losses": (lambda: two_by_two().compile("sgd", ["mse"]), ["loss has 1 entries; 2"]),
    "a loss for what is not there": (
        lambda: two_by_two().compile("sgd", {"knd": "mse"}), ["'knd'", "Did you mean 'kind'"]),
    "a loss weight that is no number": (
        lambda: two_by_two().compile("sgd", "mse", loss_weights=[1, "2"]), ["loss_weights", "'2'"]),
    "metrics in a flat list": (
        lambda: two_by_two().compile("sgd", "mse", metrics=["mse"] * 3), ["metrics", "3"]),
    "metrics without a loss": (
        lambda: two_by_two().compile("sgd", {"kind": "mse"}, metrics={"size": ["mse"]}),
        ["'size'", "no loss"]),
    "one array for two inputs": (
        lambda: compiled(two_by_two()).fit(LEFT, Y), ["x", "list of 2", "'left'", "'right'"]),
    "one array for two targets": (
        lambda: compiled(two_by_two()).fit(X, NUMBERS), ["y", "list of 2", "'kind'"]),
    "an input missing": (
        lambda: compiled(two_by_two()).fit({"left": LEFT}, Y), ["x lacks the key 'right'"]),
    "an input too many": (
        lambda: two_by_two().predict({"left": LEFT, "right": RIGHT, "rihgt": RIGHT}), ["'rihgt'"]),
    "a target missing": (
        lambda: compiled(two_by_two()).fit(X, {"kind": CLASSES}), ["y lacks the key 'size'"]),
    "rows of the inputs": (
        lambda: two_by_two().predict([LEFT, RIGHT[:5]]), ["x['right'] has 5 rows, x['left'] 24"]),
    "rows of a target": (
        lambda: compiled(two_by_two()).fit(X, [CLASSES, NUMBERS[:5]]), ["y['size'] has 5 rows"]),
    "the shape of an input": (
        lambda: two_by_two().predict([LEFT, LEFT]), ["x['right'] has shape (24, 4)"]),
    "a target that is no class": (
        lambda: compiled(two_by_two()).fit(X, [CLASSES + 1, NUMBERS]), ["y['kind']", "label 3"]),
    "NaN in an input": (
        lambda: two_by_two().predict([LEFT, RIGHT * np.nan]), ["x['right'] holds nan"]),
    "class weights": (
        lambda: compiled(two_by_two()).fit(X, Y, class_weight={0: 2.0}), ["one output"]),
    "weights of another length": (
        lambda: compiled(two_by_two()).fit(X, Y, sample_weight=[None, np.ones(3)]),
        ["sample_weight['size']", "(3,)"]),
    "stratified with two outputs": (
        lambda: compiled(two_by_two()).fit(
            X, Y, validation_split=0.5, validation_strategy="stratified"), ["stratified"]),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    action, fragments = REFUSED[what]
    with pytest.raises((ValueError, TypeError)) as caught:
        action()
    for fragment in fragments:
        assert fragment in str(caught.value)
