"""Keras's ``utils`` and ``preprocessing``: loaders, seeds, one-hot targets, checks and plots."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.apps.data_checks import DataCheckError, check_data
from gpunn.common.config import (
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
)
from gpunn.common.random import seeded, set_random_seed
from gpunn.feeding.py_dataset import PyDataset
from gpunn.saving.custom_objects import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
)
from gpunn.structure.drawing import draw

from .common.importing.lazy import lazy
from .compat.absent import unused
from .compat.feature_space import FeatureSpace
from .loaders.files import get_file
from .loaders.images import array_to_img, img_to_array, load_img, save_img
from .loaders.pictures import image_dataset_from_directory
from .loaders.series import timeseries_dataset_from_array
from .loaders.texts import pad_sequences, text_dataset_from_directory

if TYPE_CHECKING:
    from .compat.backend import clear_session
    from .compat.keras_utils import (
        Progbar,
        is_keras_tensor,
        normalize,
        split_dataset,
        standardize_dtype,
    )
    from .saving import (
        deserialize_keras_object,
        get_registered_name,
        get_registered_object,
        register_keras_serializable,
        serialize_keras_object,
    )

Sequence = PyDataset  # as Keras called it before
__path__: list[str] = []  # as of a package, so that `gpunn.utils.feature_space` is still found
__all__ = [
    "CustomObjectScope", "DataCheckError", "FeatureSpace", "Progbar", "PyDataset", "Sequence",
    "array_to_img", "check_data", "clear_session", "custom_object_scope",
    "deserialize_keras_object", "disable_interactive_logging", "enable_interactive_logging",
    "get_custom_objects", "get_file", "get_registered_name", "get_registered_object",
    "image_dataset_from_directory", "img_to_array", "is_interactive_logging_enabled",
    "is_keras_tensor", "load_img", "normalize", "pack_x_y_sample_weight", "pad_sequences",
    "plot_model", "register_keras_serializable", "save_img", "seeded", "serialize_keras_object",
    "set_random_seed", "split_dataset", "standardize_dtype", "text_dataset_from_directory",
    "timeseries_dataset_from_array", "to_categorical", "unpack_x_y_sample_weight",
]
_get, __dir__ = lazy(
    __name__,
    {
        "gpunn.compat.backend": "clear_session",
        "gpunn.compat.keras_utils": (
            "Progbar is_keras_tensor normalize split_dataset standardize_dtype"
        ),
        "gpunn.saving": (
            "deserialize_keras_object get_registered_name get_registered_object "
            "register_keras_serializable serialize_keras_object"
        ),
    },
)
PARTS = ("image", "sequence", "text", "timeseries")  # of `keras.preprocessing`, this module


def _part(name: str) -> Any:
    return sys.modules[__name__] if name in PARTS else _get(name)


__getattr__ = unused(__name__, _part)


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Convert class indices (...) to one-hot rows (..., classes), float64; of a tensor, to one of
    floatx.

    A last axis of length one is dropped first, as in Keras.

    Args:
        x: Integers from 0, as an array or a column of a frame; or a column of categories,
            whose order gives the indices.
        num_classes: Length of a row; by default the largest class index plus one.

    Returns:
        An array or tensor (..., classes) of 0 and 1.

    Raises:
        ValueError: for a class index that is negative, not an integer, or too large.

    >>> from gpunn.utils import to_categorical
    >>> to_categorical([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    from gpunn.common.config import floatx
    from gpunn.feeding.frames import labels_of
    from gpunn.losses.rows import check_labels
    from gpunn.ops.conversion import convert
    from gpunn.ops.tensor import Tensor

    labels = labels_of(x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is None:
        num_classes = int(labels.max()) + 1 if labels.size else 0
    labels = check_labels(labels, num_classes, "to_categorical")
    result = np.zeros((labels.size, num_classes))
    result[np.arange(labels.size), labels.reshape(-1)] = 1.0
    result = result.reshape(*labels.shape, num_classes)
    return convert(result, floatx()) if isinstance(x, Tensor) else result


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """Return the inputs, targets and weights of a batch, as ``train_step`` is given it.

    Args:
        data: ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``; a list counts as a tuple.

    Returns:
        ``(x, y, sample_weight)``, with None for what it lacks.

    Raises:
        ValueError: for more than three parts.

    >>> from gpunn.utils import unpack_x_y_sample_weight
    >>> unpack_x_y_sample_weight(([1.0], [2.0]))
    ([1.0], [2.0], None)
    """
    from gpunn.training.by_hand.steps import unpacked

    return unpacked(tuple(data) if isinstance(data, list) else data)


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Return a batch of these parts, as `unpack_x_y_sample_weight` takes it: without targets, ``x``
    itself, or ``(x,)`` if it has a structure.

    >>> from gpunn.utils import pack_x_y_sample_weight
    >>> pack_x_y_sample_weight([1.0], [2.0]), pack_x_y_sample_weight([1.0])
    (([1.0], [2.0]), ([1.0],))
    """
    if y is None:
        return (x,) if isinstance(x, (list, tuple, dict)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] | None = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
) -> Any:
    """Draw a model's layers as boxes, with arrows to the layers that read them, in a file.

    SVG needs no other package. Other formats use matplotlib, as `gpunn.plots.network` does.
    Graphviz is not needed.

    Args:
        model: The model. Its input shape must be known.
        to_file: Path of the file; the suffix sets the format: svg, png, pdf. None writes no file.
        show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable: What
            a layer's box shows besides its class.
        rankdir: Direction of the arrows: "TB" (top to bottom), "BT", "LR" or "RL".
        expand_nested: Whether to draw the layers of models used as layers.
        dpi: Dots per inch.
        splines: Accepted and ignored; lines are straight.

    Returns:
        An object that a notebook displays. For SVG, or without a file, it is a drawing whose
        ``to_svg()`` returns its text; otherwise the figure.

    Raises:
        ValueError: if the input shape is not known.
        ImportError: without matplotlib, for a format other than SVG.

    >>> import gpunn
    >>> from gpunn.utils import plot_model
    >>> model = gpunn.Sequential([gpunn.Input((4,)), gpunn.layers.Dense(2, name="out")])
    >>> drawing = plot_model(model, None, show_layer_names=True)
    >>> "out" in drawing.to_svg()
    True
    """
    choices: dict[str, Any] = {
        "shapes": show_shapes,
        "names": show_layer_names,
        "activations": show_layer_activations,
        "dtypes": show_dtype,
        "trainable": show_trainable,
        "expand_nested": expand_nested,
        "direction": rankdir,
    }
    if to_file is None or os.fspath(to_file).lower().endswith(".svg"):
        drawing = draw(model, **choices)
        if to_file is not None:
            Path(to_file).write_text(drawing.to_svg(), encoding="utf-8")
        return drawing
    from gpunn.apps import plots

    try:
        figure = plots.network(model, **choices)
    except ImportError as error:
        raise ImportError(f'{error}; to_file="model.svg" needs nothing.') from None
    figure.savefig(to_file, dpi=dpi)
    return figure
