"""Test constructors generated from declared fields."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

import gpunn
from gpunn.common.arguments import check_fraction, check_integer
from gpunn.common.fields import field


class Fading(gpunn.optimizers.SGD):
    """It adds an argument, moves an inherited one, and inherits the rest unchanged."""

    learning_rate: Any = 0.5
    weight_decay: float | None = 0.25
    part: float = field(check=check_fraction, default=0.125)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.whole = 1 - self.part


def test_own_arguments_come_first_then_those_of_the_bases() -> None:
    arguments = inspect.signature(Fading).parameters
    base = list(inspect.signature(gpunn.optimizers.SGD).parameters)
    first = ["learning_rate", "weight_decay", "part"]
    assert list(arguments) == first + [name for name in base if name not in first]
    by_name = [name for name, p in arguments.items() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    assert by_name == base[base.index("clipnorm") :]
    assert arguments["weight_decay"].default == 0.25


def test_values_are_checked_kept_and_prepared() -> None:
    made = Fading(0.1, None, 1, 0.9, clipnorm=2)
    assert (made.part, made.whole, made.momentum, made.clipnorm) == (1.0, 0.0, 0.9, 2.0)
    assert type(made.part) is float
    with pytest.raises(ValueError, match="part must be from 0 to 1; got 2"):
        Fading(part=2)
    with pytest.raises(ValueError, match="weight_decay must be at least 0; got -1"):
        Fading(weight_decay=-1)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_has_the_same_arguments(again: Any) -> None:
    made = Fading(0.2, part=0.5, nesterov=True, name="mine")
    assert again(made).get_config() == made.get_config()
    assert Fading.from_config(made.get_config()).get_config() == made.get_config()


def test_wrong_calls_name_the_class() -> None:
    with pytest.raises(TypeError, match=r"Fading.__init__\(\) got an unexpected .*'parts'"):
        Fading(**{"parts": 1})
    with pytest.raises(TypeError, match=r"Fading.__init__\(\) takes from 1 to"):
        Fading(*range(20))


def test_an_argument_without_a_default_must_be_given() -> None:
    class Every(gpunn.initializers.Initializer):
        step: int = field(check=lambda name, value: check_integer(name, value, 1))

    assert Every(3).step == 3
    with pytest.raises(TypeError, match=r"Every.__init__\(\) missing 1 required .*'step'"):
        Every(**{})


def test_a_constructor_written_by_hand_is_left_alone() -> None:
    class Half(Fading):
        def __init__(self, rate: float) -> None:
            super().__init__(rate / 2, part=0.5)

    assert (Half(0.5).learning_rate, Half(0.5).whole) == (0.25, 0.5)
    assert list(inspect.signature(Half).parameters) == ["rate"]
    with pytest.raises(TypeError, match=r"Third has fields \(third\), but .*Half.__init__ is"):

        class Third(Half):
            third: float = field(default=0.1)


class Sharper(gpunn.losses.Huber):
    """It adds an argument and changes the default of an inherited one."""

    part: float = field(check=check_fraction, default=0.5)
    name = "sharper"


def test_a_default_without_a_type_leaves_the_argument_at_its_place() -> None:
    arguments = inspect.signature(Sharper).parameters
    assert list(arguments) == ["part", "delta", "reduction", "name", "dtype"]
    assert arguments["name"].default == Sharper().name == "sharper"


def test_placed_arguments_are_given_by_place_or_by_name() -> None:
    by_place = Sharper(0.25, 2.0, "sum", "mine")  # type: ignore[call-arg, misc]
    by_name = Sharper(0.25, 2.0, reduction="sum", name="mine")
    assert by_place.get_config() == by_name.get_config()


def test_a_redeclared_field_without_a_check_keeps_that_of_the_base() -> None:
    with pytest.raises(ValueError, match="Invalid value for argument `reduction`"):
        gpunn.losses.MeanSquaredError(reduction="total")


class Scaled(gpunn.layers.Dense):
    """A layer that adds an argument to those of Dense and of every layer."""

    factor: float = field(default=2.0, check=check_fraction)
    units: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.learning_rate_multiplier = self.factor


def test_a_layer_declares_its_arguments_too() -> None:
    made = Scaled(factor=0.5, activation="relu", name="mine", input_shape=(4,))
    assert (made.factor, made.units, made.name) == (0.5, 3, "mine")
    assert made._given_input_shape == (4,)
    again = Scaled.from_config(made.get_config())
    assert again.get_config() == made.get_config()
    assert again.get_config()["factor"] == again.learning_rate_multiplier == 0.5
    with pytest.raises(ValueError, match="factor must be from 0 to 1; got 2"):
        Scaled(factor=2)


def test_what_is_set_later_is_checked_too() -> None:
    layer = gpunn.layers.Dense(2)
    with pytest.raises(ValueError, match="learning_rate_multiplier must be at least 0; got -1"):
        layer.learning_rate_multiplier = -1
    layer.trainable = 0  # type: ignore[assignment]
    assert layer.trainable is False
    assert layer.get_config()["trainable"] is False


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (gpunn.layers.RMSNormalization, "rms_scaling"),
    ],
)
def test_what_is_refused_is_no_attribute(make: Any, argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}="):
        make(**{argument: "l2"})
    assert not hasattr(make(**{argument: None}), argument)
    assert argument not in make().get_config()


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ({"input_shape": (2, 3)}, (2, 3)),
        ({"input_shape": ()}, ()),
        ({"input_dim": 4}, (4,)),
        ({"batch_input_shape": (None, 5, 6)}, (5, 6)),
        ({}, None),
    ],
)
def test_three_arguments_say_the_shape_of_a_sample(given: dict, shape: Any) -> None:
    assert gpunn.layers.Flatten(**given)._given_input_shape == shape
    for argument in given:
        with pytest.raises(ValueError, match=f"{argument} must be the shape of one sample"):
            gpunn.layers.Flatten(**{argument: "x"})


def test_a_layer_may_have_an_input_dim_of_its_own() -> None:
    class Older(gpunn.layers.Layer):
        def __init__(self, input_dim: int, **kwargs: Any) -> None:
            self.input_dim = input_dim
            super().__init__(**kwargs)

    assert Older(7).input_dim == Older(7).get_config()["input_dim"] == 7


class _Times(gpunn.layers.Layer):
    times: float = field(check=check_fraction, kw_only=True, placed=True)


class Both(_Times, gpunn.layers.Dense):
    """It joins the arguments of two bases, and adds one among them."""

    turns: int = field(default=2, after="activation")


def test_arguments_of_several_bases_follow_each_other_and_may_get_one_in_between() -> None:
    dense = list(inspect.signature(gpunn.layers.Dense).parameters)
    found = [name for name in inspect.signature(Both).parameters if name in ["times", *dense[:3]]]
    assert found == ["times", "units", "activation", "use_bias"]
    assert inspect.signature(Both).parameters["turns"].default == 2
    made = Both(0.5, 3, "relu", 4, False, name="mine")  # type: ignore[call-arg]
    assert (made.times, made.units, made.turns, made.use_bias) == (0.5, 3, 4, False)
    with pytest.raises(ValueError, match="times must be from 0 to 1; got 2"):
        Both(2, units=3)  # type: ignore[call-arg]


def test_a_text_is_no_truth_value() -> None:
    for make in (lambda: gpunn.layers.Dense(1, trainable="False"),
                 lambda: gpunn.layers.Dense(1, use_bias="no")):  # fmt: skip
        with pytest.raises(ValueError, match="must be True or False; got '"):
            make()
    layer = gpunn.layers.Dense(1)
    with pytest.raises(ValueError, match="trainable must be True or False; got 'False'"):
        layer.trainable = "False"  # type: ignore[assignment]


def test_an_argument_without_a_default_does_not_follow_one_that_has_one() -> None:
    with pytest.raises(TypeError, match="Late: put the arguments without a default first"):

        class Late(gpunn.optimizers.Optimizer):  # type: ignore[misc]
            size: int = field(default=1)
            first: int = field()
