"""Activation functions: forward and gradient side by side.

Each is an object that is called on an array (``relu(x)``) and registers itself:
``Dense(16, activation="relu")`` finds it by name. The formulas are written with
``backend.xp``; where ``functor`` names a C++ functor of ``kernels/formulas/activations.cuh``,
the card runs that one, fused with the addition of the bias.
"""

from .activation import Activation, deserialize, get, serialize
from .gated import Gelu, HardSilu, Mish, Silu
from .neurons import (
    Gaussian,
    HardSigmoid,
    Linear,
    Ramp,
    Sigmoid,
    Sign,
    Softsign,
    Step,
    Tanh,
)
from .properties import Properties, check_properties, curve
from .rectifiers import Celu, Elu, Exponential, LeakyRelu, Relu, Relu6, Selu, Softplus
from .rows import LogSoftmax, Softmax

linear = Linear()
step = Step()
sign = Sign()
ramp = Ramp()
hard_sigmoid = HardSigmoid()
sigmoid = Sigmoid()
tanh = Tanh()
softsign = Softsign()
gaussian = Gaussian()
relu = Relu()
leaky_relu = LeakyRelu()
relu6 = Relu6()
elu = Elu()
celu = Celu()
selu = Selu()
exponential = Exponential()
softplus = Softplus()
silu = swish = Silu()
hard_silu = hard_swish = HardSilu()
gelu = Gelu()
mish = Mish()
softmax = Softmax()
log_softmax = LogSoftmax()

__all__ = [
    "Activation", "Celu", "Elu", "Exponential", "Gaussian", "Gelu", "HardSigmoid", "HardSilu",
    "LeakyRelu", "Linear", "LogSoftmax", "Mish", "Properties", "Ramp", "Relu", "Relu6", "Selu",
    "Sigmoid", "Sign", "Silu", "Softmax", "Softplus", "Softsign", "Step", "Tanh",
    "celu", "check_properties", "curve", "deserialize", "elu", "exponential", "gaussian", "gelu",
    "get", "hard_sigmoid", "hard_silu", "hard_swish", "leaky_relu", "linear", "log_softmax",
    "mish", "ramp", "relu", "relu6", "selu", "serialize", "sigmoid", "sign", "silu", "softmax",
    "softplus", "softsign", "step", "swish", "tanh",
]  # fmt: skip
