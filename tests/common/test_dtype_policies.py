"""Keras's policies of dtypes: float32 and float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    gpunn.config.set_floatx("float32")


def test_policies_are_kerass(keras: Any) -> None:
    for m in (gpunn, keras):
        policy = m.DTypePolicy("float64")
        assert (policy.name, policy.compute_dtype, policy.variable_dtype) == ("float64",) * 3
        assert repr(policy) == '<DTypePolicy "float64">' and policy.quantization_mode is None
        assert policy == m.dtype_policies.get("float64") == m.mixed_precision.Policy("float64")
        assert policy == m.dtype_policies.deserialize(m.dtype_policies.serialize(policy))
        assert policy == m.DTypePolicy.from_config(policy.get_config())
        assert policy != m.DTypePolicy("float32")
        assert m.config.dtype_policy().name == m.mixed_precision.global_policy().name == "float32"
        for dtype in (policy, m.dtype_policies.serialize(policy)):
            layer = m.layers.Dense(2, dtype=dtype)
            assert layer.dtype_policy == policy and layer.compute_dtype == "float64"
        model = m.Sequential([m.Input((3,)), m.layers.Dense(2, dtype=policy)])
        assert model.predict(np.ones((1, 3)), verbose=0).dtype == np.float64
        m.config.set_dtype_policy(policy)
        try:
            assert m.config.dtype_policy() == policy == m.layers.Dense(1).dtype_policy
        finally:
            m.mixed_precision.set_global_policy("float32")
        assert m.layers.Dense(1).dtype_policy.name == "float32"


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_refused_with_what_to_do(name: str) -> None:
    keras: Any = gpunn
    for use in (keras.DTypePolicy, keras.config.set_dtype_policy, keras.dtype_policies.get):
        with pytest.raises(ValueError, match=rf"no half precision .*'{name}'.*matmul_precision"):
            use(name)
    assert gpunn.config.floatx() == "float32"
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64'"):
        gpunn.layers.Dense(2, dtype={"class_name": "DTypePolicy", "config": {"name": name}})


def test_metrics_have_the_dtype_of_floats(keras: Any) -> None:
    for m in (gpunn, keras):
        metric = m.metrics.F1Score()
        assert metric.dtype == metric.get_config()["dtype"] == "float32"
        assert m.metrics.Mean(dtype="float64").get_config() == {"name": "mean", "dtype": "float64"}
