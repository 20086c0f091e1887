# Below the docstring: written by `make exports` from the modules of this folder.
"""Activation functions and their gradients.

Each activation is an object that is called on an array (``relu(x)``) and registers itself:
``Dense(16, activation="relu")`` finds it by name. The formulas are written with `gpunn.ops`.
``functor`` names the struct that ``make formulas`` generates from it. Kernels use that struct,
fused with the addition of the bias.
"""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from .activation import Activation, deserialize, get, serialize
    from .curves import check_properties, curve
    from .gated import Gelu, HardSilu, Mish, Silu
    from .neurons import Gaussian, HardSigmoid, Linear, Ramp, Sigmoid, Sign, Softsign, Step, Tanh
    from .properties import Properties
    from .rectifiers import Celu, Elu, Exponential, LeakyRelu, Relu, Relu6, Selu, Softplus
    from .rows import LogSoftmax, Softmax

    celu = Celu()
    elu = Elu()
    exponential = Exponential()
    gaussian = Gaussian()
    gelu = Gelu()
    hard_sigmoid = HardSigmoid()
    hard_silu = hard_swish = HardSilu()
    leaky_relu = LeakyRelu()
    linear = Linear()
    log_softmax = LogSoftmax()
    mish = Mish()
    ramp = Ramp()
    relu = Relu()
    relu6 = Relu6()
    selu = Selu()
    sigmoid = Sigmoid()
    sign = Sign()
    silu = swish = Silu()
    softmax = Softmax()
    softplus = Softplus()
    softsign = Softsign()
    step = Step()
    tanh = Tanh()
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".activation": "Activation deserialize get serialize",
            ".curves": "check_properties curve",
            ".gated": "Gelu HardSilu Mish Silu",
            ".neurons": "Gaussian HardSigmoid Linear Ramp Sigmoid Sign Softsign Step Tanh",
            ".properties": "Properties",
            ".rectifiers": "Celu Elu Exponential LeakyRelu Relu Relu6 Selu Softplus",
            ".rows": "LogSoftmax Softmax",
        },
        {
            "Celu": "celu",
            "Elu": "elu",
            "Exponential": "exponential",
            "Gaussian": "gaussian",
            "Gelu": "gelu",
            "HardSigmoid": "hard_sigmoid",
            "HardSilu": "hard_silu hard_swish",
            "LeakyRelu": "leaky_relu",
            "Linear": "linear",
            "LogSoftmax": "log_softmax",
            "Mish": "mish",
            "Ramp": "ramp",
            "Relu": "relu",
            "Relu6": "relu6",
            "Selu": "selu",
            "Sigmoid": "sigmoid",
            "Sign": "sign",
            "Silu": "silu swish",
            "Softmax": "softmax",
            "Softplus": "softplus",
            "Softsign": "softsign",
            "Step": "step",
            "Tanh": "tanh",
        },
        make="get",
        kind="activation",
    )

__all__ = [
    "Activation", "Celu", "Elu", "Exponential", "Gaussian", "Gelu", "HardSigmoid", "HardSilu",
    "LeakyRelu", "Linear", "LogSoftmax", "Mish", "Properties", "Ramp", "Relu", "Relu6", "Selu",
    "Sigmoid", "Sign", "Silu", "Softmax", "Softplus", "Softsign", "Step", "Tanh", "celu",
    "check_properties", "curve", "deserialize", "elu", "exponential", "gaussian", "gelu", "get",
    "hard_sigmoid", "hard_silu", "hard_swish", "leaky_relu", "linear", "log_softmax", "mish",
    "ramp", "relu", "relu6", "selu", "serialize", "sigmoid", "sign", "silu", "softmax", "softplus",
    "softsign", "step", "swish", "tanh",
]
