"""Operations on tensors, with Keras 3's names, for custom layers, losses and metrics.

Outside a trace they compute immediately. In training they are traced once, differentiated, and run
in each step. Imports from `core` and what is below it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gpunn.common.importing.lazy import offered
from gpunn.core.operators import FUNCTIONS

from . import arithmetic, elementwise, products, reductions, shapes  # noqa: F401
from .conversion import convert
from .tensor import Tensor as Tensor
from .tensor import operation
from .tensor import ops as by_name

FUNCTIONS.later(__name__, {
    "gather_scatter.gather": "take take_along_axis",
    "indexing": "get_item one_hot slice",
    "joining": "concatenate hstack pad repeat split stack tile unstack vstack",
    "making": (
        "arange eye full full_like identity linspace ones ones_like tril triu zeros zeros_like"
    ),
    "library.activations": (
        "celu elu gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu "
        "log_sigmoid relu6 selu silu soft_shrink softsign sparse_plus sparse_sigmoid sparsemax "
        "squareplus swish tanh_shrink threshold"
    ),
    "library.arrays": (
        "array copy diff dtype empty empty_like fliplr flipud logspace meshgrid ptp roll rot90 "
        "trapezoid"
    ),
    "library.bits": (
        "bitwise_and bitwise_invert bitwise_left_shift bitwise_not bitwise_or "
        "bitwise_right_shift bitwise_xor left_shift right_shift"
    ),
    "library.control": (
        "associative_scan cond custom_gradient fori_loop map scan vectorized_map while_loop"
    ),
    "library.diagonals": "diag diagflat diagonal trace tri vander",
    "library.images": (
        "adaptive_average_pool adaptive_max_pool average_pool conv conv_transpose depthwise_conv "
        "max_pool separable_conv"
    ),
    "library.linear": "cross inner kron norm normalize vdot",
    "library.mathematics": (
        "allclose cbrt deg2rad exp2 fabs fmax fmin fmod heaviside hypot isclose isneginf isposinf "
        "log10 log2 logaddexp2 nan_to_num rad2deg saturate_cast signbit sinc trunc"
    ),
    "library.networks": (
        "binary_crossentropy categorical_crossentropy ctc_loss sparse_categorical_crossentropy"
    ),
    "library.normalization": (
        "batch_normalization dot_product_attention layer_normalization rms_normalization"
    ),
    "library.order": "argsort sort top_k",
    "library.search": (
        "argpartition bincount digitize in_top_k isin multi_hot nonzero searchsorted "
        "unravel_index"
    ),
    "library.special": "erf erfc erfinv",
    "library.splitting": (
        "append array_split depth_to_space dsplit dstack hsplit rearrange select space_to_depth "
        "vsplit"
    ),
    "library.statistics": (
        "average median nanmax nanmean nanmin nanprod nanstd nansum nanvar percentile "
        "psnr quantile"
    ),
    "library.updates": "scatter scatter_update segment_max segment_sum slice_update",
    "matrices.factors": "cholesky eigh lu_factor matrix_rank qr svd",
    "matrices.systems": "cholesky_inverse det inv logdet lstsq pinv slogdet solve solve_triangular",
    "rare.missing": "nanargmax nanargmin nancumprod nancumsum nanmedian nanpercentile nanquantile",
    "rare.numbers": "angle conj conjugate gcd i0 imag isreal lcm ldexp nextafter real view",
    "rare.signals": "bartlett blackman cdist corrcoef correlate geomspace hamming hanning kaiser",
    "rare.spectra": "extract_sequences fft fft2 ifft2 irfft istft rfft stft",
    "rare.decoding": "ctc_decode",
    "rare.counting": "histogram segment_min segment_prod unique",
    "rare.windows": "fold unfold",
    "rare.functions": "switch vectorize",
})
# The module `trace`, imported above, has the same name as an operation.
del globals()["trace"]
# Keras also offers many operations under these names.
nn = numpy = linalg = by_name
# Where doctest finds the examples of operations, which are defined in other modules.
__test__ = FUNCTIONS


@operation
def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None) -> Tensor:
    """Convert numbers, lists or arrays to a tensor; see `gpunn.ops.Tensor`.

    Args:
        x: a tensor, an array, a Python number or nested lists of numbers.
        dtype: of the result; by default float64 arrays become floatx and integers int32.
        sparse: ignored; there are no sparse tensors.

    Raises:
        TypeError: if x holds no numbers.
        ValueError: for nested lists of different lengths, and for NaN converted to integers.
        OverflowError: for values that the dtype cannot hold.

    >>> from gpunn import ops
    >>> ops.convert_to_tensor([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    return convert(x, dtype)


@operation
def convert_to_numpy(x: Any) -> Any:
    """Convert a tensor to a NumPy array with a copy of its values.

    ``x``: whatever `convert_to_tensor` takes; the array has the shape and the dtype of the tensor.

    Raises:
        TypeError: in a trace, where the values are not known yet, and if x holds no numbers.

    >>> from gpunn import ops
    >>> ops.convert_to_numpy([1.5, 2.5])
    array([1.5, 2.5], dtype=float32)
    """
    return convert(x).numpy()


def is_tensor(x: Any) -> bool:
    """Return whether x is a tensor: True for a `Tensor`, False for arrays, lists and variables.

    ``x``: any object; nothing is converted.

    >>> from gpunn import ops
    >>> ops.is_tensor(ops.ones((2,))), ops.is_tensor([1.0, 1.0])
    (True, False)
    """
    return isinstance(x, Tensor)


__all__ = sorted({*FUNCTIONS, "Tensor", "is_tensor"})
_other, __dir__ = offered(__name__, by_name.__getattr__)


def __getattr__(name: str) -> Any:
    if name == "image":  # not imported before it is used
        return import_module(".image", __name__)
    return FUNCTIONS[name] if name in FUNCTIONS else _other(name)
