"""Test well-formed model files that request too much memory, or contain NaN or infinity."""


import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.models import load_model
from gpunn.saving import files


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gpunn"


def saved(path, *more, **arguments):
    """A small saved model, and the document in its file."""
    model = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(2, name="d"), *more])
    model.compile(loss="mse", **arguments)
    model.save(path)
    return model, files.read(path)


def change(document, *place, value):
    for key in place[:-1]:
        document = document[key]
    document[place[-1]] = value


def refused(path, match):
    with pytest.raises(ValueError, match=rf"model\.gpunn: .*{match}"):
        load_model(path)


@pytest.mark.parametrize("nested", [False, True])
def test_more_weights_than_are_stored_are_never_made(path, nested, peak):
    inner = [gpunn.Sequential([layers.Dense(2, name="in")], name="inner")] if nested else []
    _, document = saved(path, *inner)
    layer = document["config"]["layers"][1 + nested]
    layer = layer["config"]["layers"][0] if nested else layer
    layer["config"]["units"] = 20_000_000
    files.write(path, document)
    match = r"the layers have [\d,]+ weights, but \d+ are stored: '(d|in)/kernel' alone"
    assert peak(lambda: refused(path, match)) < 20e6


def test_more_layers_than_are_usual_are_loaded_only_if_asked_for(path):
    _, document = saved(path)
    document["config"]["layers"] += [
        {"class_name": "Flatten", "config": {"name": f"f{i}"}} for i in range(20_000)
    ]
    files.write(path, document)
    refused(path, r"'config' has 20,002 parts .* pass max_parts=20002")
    document["config"]["layers"][-18_000:] = []
    files.write(path, document)
    refused_at = len(document["config"]["layers"]) - 1
    with pytest.raises(ValueError, match="max_parts=2002"):
        load_model(path, max_parts=refused_at)
    assert len(load_model(path, max_parts=refused_at + 1).layers) == 2001


def test_applications_of_one_layer_count_too(path):
    x = y = gpunn.Input((2,))
    layer = layers.Dense(2)
    for _ in range(20):
        y = layer(y)
    gpunn.Model(x, y).save(path)
    assert load_model(path).count_params() == 6
    with pytest.raises(ValueError, match=r"'config' has \d+ parts"):
        load_model(path, max_parts=20)


def test_metrics_count_too(path):
    _, document = saved(path, metrics=["mae"])
    document["compile"]["metrics"] = ["mae"] * 20_000
    files.write(path, document)
    refused(path, "'compile' has 20,000 parts")


@pytest.mark.parametrize(
    "metric",
    [gpunn.metrics.AUC(num_thresholds=300), gpunn.metrics.ConfusionMatrix(num_classes=2)],
    ids=["AUC", "ConfusionMatrix"],
)
def test_a_metric_asks_for_no_more_than_may_be(path, metric):
    _, document = saved(path, metrics=[metric])
    assert load_model(path).metrics_names
    config = document["compile"]["metrics"][0]["config"]
    config["num_thresholds" if "num_thresholds" in config else "num_classes"] = 10**9
    files.write(path, document)
    refused(path, "'compile/metrics' requests 1,000,000,000 thresholds or classes")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("weights_only", [False, True])
def test_weights_that_are_not_finite_are_loaded_only_if_asked_for(path, bad, weights_only):
    model, _ = saved(path)
    kernel = np.ones((3, 2), np.float32)
    kernel[1, 0] = bad
    model.set_weights([kernel, np.zeros(2)])
    (model.save_weights if weights_only else model.save)(path)
    match = rf"model\.gpunn: the entry 'weights/d/kernel' holds {bad} at \[1, 0\].* allow_nan=True"
    if not weights_only:
        with pytest.raises(ValueError, match=match):
            load_model(path)
        np.testing.assert_array_equal(load_model(path, allow_nan=True).get_weights()[0], kernel)
    other = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(2, name="d")])
    before = other.get_weights()
    with pytest.raises(ValueError, match=match):
        other.load_weights(path)
    np.testing.assert_array_equal(other.get_weights()[0], before[0])
    other.load_weights(path, allow_nan=True)
    np.testing.assert_array_equal(other.get_weights()[0], kernel)


def test_a_state_of_the_optimizer_that_is_not_finite_is_loaded_only_if_asked_for(path):
    _, document = saved(path, optimizer="adam")
    name = next(n for n in document["training"]["tensors"] if n.startswith("slot/"))
    document["training"]["tensors"][name][:] = np.nan
    files.write(path, document)
    refused(path, rf"the entry 'training/tensors/{name}' holds nan")
    assert load_model(path, compile=False).built
    assert load_model(path, allow_nan=True).compiled
