# Below the docstring: written by `make exports` from the modules of this folder.
# ruff: noqa: F403, F405
"""Activation functions and their gradients.

Each activation is an object that is called on an array (``relu(x)``) and registers itself:
``Dense(16, activation="relu")`` finds it by name. The formulas are written with `gpunn.ops`.
``functor`` names the struct that ``make formulas`` generates from it. Kernels use that struct,
fused with the addition of the bias.
"""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

__all__ = [
    "Activation", "Celu", "Elu", "Exponential", "Gaussian", "Gelu", "HardShrink", "HardSigmoid",
    "HardSilu", "HardTanh", "LeakyRelu", "Linear", "LogSigmoid", "LogSoftmax", "Mish", "Properties",
    "Ramp", "Relu", "Relu6", "Selu", "Sigmoid", "Sign", "Silu", "SoftShrink", "Softmax", "Softplus",
    "Softsign", "SparsePlus", "SparseSigmoid", "Sparsemax", "Squareplus", "Step", "Tanh",
    "TanhShrink", "Threshold", "celu", "check_properties", "curve", "deserialize", "elu",
    "exponential", "gaussian", "gelu", "get", "glu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_swish", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "ramp",
    "relu", "relu6", "selu", "serialize", "sigmoid", "sign", "silu", "soft_shrink", "softmax",
    "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "step",
    "swish", "tanh", "tanh_shrink", "threshold",
]

if TYPE_CHECKING:
    from .activation import *
    from .curves import *
    from .gated import *
    from .halving import *
    from .neurons import *
    from .operations import *
    from .properties import *
    from .rectifiers import *
    from .rows import *

    celu = Celu()
    elu = Elu()
    exponential = Exponential()
    gaussian = Gaussian()
    gelu = Gelu()
    hard_shrink = HardShrink()
    hard_sigmoid = HardSigmoid()
    hard_silu = hard_swish = HardSilu()
    hard_tanh = HardTanh()
    leaky_relu = LeakyRelu()
    linear = Linear()
    log_sigmoid = LogSigmoid()
    log_softmax = LogSoftmax()
    mish = Mish()
    ramp = Ramp()
    relu = Relu()
    relu6 = Relu6()
    selu = Selu()
    sigmoid = Sigmoid()
    sign = Sign()
    silu = swish = Silu()
    soft_shrink = SoftShrink()
    softmax = Softmax()
    softplus = Softplus()
    softsign = Softsign()
    sparse_plus = SparsePlus()
    sparse_sigmoid = SparseSigmoid()
    sparsemax = Sparsemax()
    squareplus = Squareplus()
    step = Step()
    tanh = Tanh()
    tanh_shrink = TanhShrink()
    threshold = Threshold()
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".activation": "Activation deserialize get serialize",
            ".curves": "check_properties curve",
            ".gated": "Gelu HardSilu=hard_swish Mish Silu=swish",
            ".halving": "glu",
            ".neurons": "Gaussian HardSigmoid Linear Ramp Sigmoid Sign Softsign Step Tanh",
            ".operations": (
                "HardShrink HardTanh LogSigmoid SoftShrink Sparsemax SparsePlus SparseSigmoid "
                "Squareplus TanhShrink Threshold"
            ),
            ".properties": "Properties",
            ".rectifiers": "Celu Elu Exponential LeakyRelu Relu Relu6 Selu Softplus",
            ".rows": "LogSoftmax Softmax",
        },
        make="get",
        kind="activation",
    )
