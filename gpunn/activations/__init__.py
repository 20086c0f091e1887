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
            ".gated": "Gelu=gelu HardSilu=hard_silu=hard_swish Mish=mish Silu=silu=swish",
            ".halving": "glu",
            ".neurons": (
                "Gaussian=gaussian HardSigmoid=hard_sigmoid Linear=linear Ramp=ramp "
                "Sigmoid=sigmoid Sign=sign Softsign=softsign Step=step Tanh=tanh"
            ),
            ".operations": (
                "HardShrink=hard_shrink HardTanh=hard_tanh LogSigmoid=log_sigmoid "
                "SoftShrink=soft_shrink Sparsemax=sparsemax SparsePlus=sparse_plus "
                "SparseSigmoid=sparse_sigmoid Squareplus=squareplus TanhShrink=tanh_shrink "
                "Threshold=threshold"
            ),
            ".properties": "Properties",
            ".rectifiers": (
                "Celu=celu Elu=elu Exponential=exponential LeakyRelu=leaky_relu Relu6=relu6 "
                "Relu=relu Selu=selu Softplus=softplus"
            ),
            ".rows": "LogSoftmax=log_softmax Softmax=softmax",
        },
        make=(".activation", "get"),
        kind="activation",
    )
