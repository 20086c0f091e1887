"""Layers around others: a recurrent layer in both directions, and a layer for each step."""

from __future__ import annotations

from inspect import Parameter
from operator import attrgetter
from typing import Any, ClassVar

from gpunn.common import registry
from gpunn.common.fields import field
from gpunn.common.overrides import replaces
from gpunn.common.signatures import signature
from gpunn.layers.as_operation import takes_mask
from gpunn.layers.shapes import Shape
from gpunn.layers.wrapping import Wrapper
from gpunn.ops.tensor import Tensor, ops

from .cells import among
from .recurrent import Recurrent, Stateful


def _is_required(parameter: Parameter) -> bool:
    """Whether a call must pass this parameter."""
    by_place = parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return by_place and parameter.default is Parameter.empty


def _check_layer(name: str, value: Any) -> Any:
    layer = registry.deserialize(value, "layer") if isinstance(value, dict) else value
    if layer is not None and not isinstance(layer, Recurrent):
        raise ValueError(
            f"{name} must be a recurrent layer, such as layers.LSTM(8); got {value!r}."
        )
    return layer


_forward = property(
    attrgetter("forward_layer"), lambda self, layer: setattr(self, "forward_layer", layer)
)
MERGED = {
    "concat": lambda a, b: ops.concatenate([a, b], -1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
}


class Bidirectional(Stateful):
    """Apply a recurrent layer to sequences from both ends, and merge the outputs of both.

    The layer is copied, with the names ``forward_...`` and ``backward_...`` and new weights; the
    second copy goes backwards, and its outputs are put in the order of the steps. Source: Schuster
    and Paliwal, "Bidirectional recurrent neural networks", 1997.

    Shapes: as of the layer; with ``"concat"`` twice as many outputs. With ``return_state`` of
    the layer, the states of both follow; ``initial_state`` takes them in this order.

    Args:
        layer: a recurrent layer.
        merge_mode: ``"concat"``, ``"sum"``, ``"mul"``, ``"ave"``, or None: both outputs.
        weights: first values of all weights, as arrays; the layer is then built at once.
        backward_layer: a recurrent layer that goes backwards, instead of the copy.

    Raises:
        ValueError: for another layer, and for a backward layer that does not fit.

    >>> import gpunn
    >>> Bidirectional(gpunn.layers.GRU(4))([[[1.0, 2.0], [3.0, 4.0]]]).shape
    (1, 8)
    """

    supports_masking = True
    _undescribed = ("weights",)
    examples: ClassVar[Any] = (
        {"layer": {"class_name": "GRU", "config": {"units": 3, "name": "forward_a"}}},
        {
            "layer": {
                "class_name": "LSTM",
                "config": {"units": 2, "return_sequences": True, "name": "forward_a"},
            },
            "merge_mode": "mul",
        },
    )

    layer: Any = field(check=_check_layer, managed=_forward)
    merge_mode: str | None = field(default="concat", check=among(*MERGED, None))
    weights: Any = field(default=None, attribute="_first_weights")
    backward_layer: Any = field(default=None, check=_check_layer)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.layer
        self.forward_layer: Any = _copy(given, "forward")
        if self.backward_layer is None:
            self.backward_layer = _copy(given, "backward", go_backwards=True)
        first, second = self._recurrent
        if first.go_backwards == second.go_backwards:
            raise ValueError(
                f"{self.name}: one of both layers must have go_backwards=True, not the other; got "
                f"{first.go_backwards} for both."
            )
        for name in ("stateful", "return_sequences", "return_state"):
            one, other = getattr(first, name), getattr(second, name)
            if one != other:
                raise ValueError(
                    f"{self.name}: {name} must be the same in both layers; got {one} and {other}."
                )
        for each in (first, second):
            each.zero_output_for_mask = each.return_sequences
        self.return_sequences, self.return_state = first.return_sequences, first.return_state

    @property
    def _recurrent(self) -> list[Any]:
        return [self.forward_layer, self.backward_layer]

    def build(self, sequences_shape: Shape) -> None:
        for layer in self._recurrent:
            layer.build(sequences_shape)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the masks of the outputs: the input's mask for sequences, None for states."""
        of_output = mask if self.return_sequences else None
        outputs = [of_output] * (1 if self.merge_mode else 2)
        states = len(self.forward_layer.state_size) * 2 if self.return_state else 0
        return [*outputs, *[None] * states]

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        states: list[Any] = [None, None]
        if initial_state is not None:
            half = len(initial_state) // 2
            states = [initial_state[:half], initial_state[half:]]
        found: list[Any] = []
        after: list[Any] = []
        for layer, given in zip(self._recurrent, states, strict=True):
            y = layer(sequences, initial_state=given, mask=mask, training=training)
            y, own = (y[0], y[1:]) if self.return_state else (y, ())
            in_order = self.return_sequences and layer is self.backward_layer
            found.append(ops.flip(y, 1) if in_order else y)
            after += own
        outputs = found if self.merge_mode is None else [MERGED[self.merge_mode](*found)]
        return outputs[0] if len(outputs + after) == 1 else (*outputs, *after)


def _copy(layer: Any, prefix: str, **changes: Any) -> Any:
    """Return a new layer of the same arguments but for these."""
    name = f"{prefix}_{layer.name.removeprefix(prefix + '_')}"
    config = {**layer.get_config(), "name": name, **changes}
    return type(layer).from_config(config)


class TimeDistributed(Wrapper):
    """Apply a layer to each step of sequences, with the same weights.

    The steps are rows of one batch for the layer; one that has state, such as the moving averages
    of `BatchNormalization`, runs for one step after the other, as in Keras.

    A mask (batch, steps, inner), as of documents of sentences of words, masks what the layer reads:
    with ``TimeDistributed(LSTM(8))``, words. The outputs have the mask of the sentences that have a
    word; outputs of the others are 0.

    Shapes: x ``(batch, steps, ...)``, of which the layer reads ``(batch, ...)`` -> y ``(batch,
    steps, ...)``.

    Args:
        layer: the layer, or a model.

    Raises:
        ValueError: for inputs without steps, a mask that is not of these steps, and a layer of
            several inputs or outputs.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((10, 28, 28, 1)), TimeDistributed(
    ...     gpunn.layers.Conv2D(4, 3))])
    >>> model.output_shape
    (None, 10, 26, 26, 4)
    """

    supports_masking = True
    examples: ClassVar[Any] = (
        {"layer": {"class_name": "Dense", "config": {"units": 3, "name": "a"}}},
    )

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 3:
            raise ValueError(
                f"{self.name}: x must have the shape (batch, steps, ...); got {tuple(input_shape)}."
            )
        needed = [p.name for p in signature(self.layer.call).parameters.values() if _is_required(p)]
        if len(needed) > 1:
            raise ValueError(
                f"{self.name} passes one tensor to its layer, but {self.layer.name} takes "
                f"{' and '.join(needed)}: write a layer whose call(x) calls it, such as "
                f"attention(x, x), and pass that."
            )
        super().build((input_shape[0], *input_shape[2:]))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return where a step counts: for a mask (batch, steps, inner), where any entry of it does,
        unless the layer leaves inner steps where they are and passes their mask on."""
        if mask is None:
            return None
        left = 2 + _inner_axes(self.layer, len(mask.shape) - 2)
        rest = tuple(range(left, len(mask.shape)))
        return ops.any(mask, axis=rest) if rest else mask

    def _check_mask(self, mask: Any, inputs: Any) -> None:
        got, steps = tuple(mask.shape), tuple(inputs.shape[:2])
        if got[:2] != steps:
            raise ValueError(
                f"{self.name}: mask must have an entry for each step, with the shape (batch, "
                f"steps, ...); got mask of shape {got} for inputs of shape {tuple(inputs.shape)}. "
                f"Pass a mask whose shape begins with {steps}."
            )

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        batch, steps, *rest = inputs.shape
        layer, empty = self.layer, None
        stated = any(not p.trained for p in layer.weights)
        if mask is not None:
            self._check_mask(mask, inputs)
            mask = ops.cast(mask, "bool")
            if not (stated and takes_mask(layer)):  # statistics are of what counts, also of nothing
                mask, empty = _of_inner_steps(layer, mask)

        def applied(x: Any, mask: Any) -> Any:
            if mask is not None and layer._kind == "model":
                x._keras_mask = mask  # as its layers pass it on
                return layer(x, training=training)
            return layer(x, training=training, **({} if mask is None else {"mask": mask}))

        if stated:
            each = [
                applied(inputs[:, k], None if mask is None else mask[:, k]) for k in range(steps)
            ]
            made = self._one_tensor(each, lambda: ops.stack(each, 1))
        else:
            rows = ops.reshape(inputs, (batch * steps, *rest))
            of_rows = None if mask is None else ops.reshape(mask, (-1, *mask.shape[2:]))
            y = applied(rows, of_rows)
            made = self._one_tensor([y], lambda: ops.reshape(y, (batch, steps, *y.shape[1:])))
        if empty is None:
            return made
        hidden = ops.reshape(empty, (batch, steps, *[1] * (made.ndim - 2)))
        return ops.where(hidden, 0.0, made)

    def _one_tensor(self, found: list[Any], made: Any) -> Any:
        for y in found:
            if not isinstance(y, Tensor):
                raise ValueError(
                    f"{self.name}: a layer with one output is expected, as in Keras; "
                    f"{self.layer.name} returned {len(y)}. Leave out return_state=True, or write a "
                    f"layer whose call(x) returns one of them, and pass that."
                )
        return made()


class _SomeMask:
    """Stands for a mask of any values, for a built-in `compute_mask` that passes one on or not."""


def _inner_axes(layer: Any, axes: int) -> int:
    """Return of how many inner axes of a mask the layer of a `TimeDistributed` leaves the steps
    where they are, so that the mask of its outputs has them too; a ValueError for a layer that
    cannot be used with a mask."""
    if axes > 0 and isinstance(layer, TimeDistributed):
        return 1 + _inner_axes(layer.layer, axes - 1)
    is_own = layer._kind == "model" or replaces(type(layer), "compute_mask")
    if is_own or not layer.supports_masking:
        return 0
    some = _SomeMask()
    return axes if layer.compute_mask(None, some) is some else 0


def _reads_mask(layer: Any, axes: int) -> bool:
    """Whether a layer reads a mask of so many axes after the batch axis."""
    if isinstance(layer, TimeDistributed):
        return _reads_mask(layer.layer, axes - 1)
    return axes > 0 and (layer._kind == "model" or "mask" in signature(layer.call).parameters)


def _of_inner_steps(layer: Any, mask: Any) -> tuple[Any, Any]:
    """Return the mask that a layer gets for all steps, and which steps (batch, steps) have no entry
    at all; each None if there is none.

    A step without any entry, such as an empty sentence, is computed as if it had all of them: a
    mean of none would be NaN, and so would be its gradient. Its outputs are set to 0.
    """
    if not _reads_mask(layer, mask.ndim - 2):
        return None, None
    inner = tuple(range(2, mask.ndim))
    empty = ops.logical_not(ops.any(mask, axis=inner))
    return ops.logical_or(mask, ops.expand_dims(empty, inner)), empty
