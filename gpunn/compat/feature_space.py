"""Keras's `FeatureSpace`: preprocessing of the columns of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn import layers
from gpunn.common.arguments import check_choice
from gpunn.common.atomic_files import Path
from gpunn.common.names import closest
from gpunn.common.stored import ByName, Several, Text, check
from gpunn.feeding.frames import columns_of
from gpunn.layers.layer import Layer
from gpunn.models import Model, load_model

KINDS = (
    "float", "float_normalized", "float_rescaled", "float_discretized", "integer_categorical",
    "string_categorical", "integer_hashed", "string_hashed", "boolean",
)


@dataclass
class Feature:
    """How a column is preprocessed.

    Attributes:
        dtype: Dtype of the values: "float32", "int64", "string" or "bool".
        preprocessor: A layer, or None for unchanged numbers.
        output_mode: "float"; "int": the codes from the layer; "one_hot": the codes one-hot.
    """

    dtype: str
    preprocessor: Any = None
    output_mode: str = "float"

    def __post_init__(self) -> None:
        check_choice("output_mode", self.output_mode, ("float", "int", "one_hot"))


@dataclass
class Cross:
    """A combination of columns that is hashed: their names, the number of bins, and ``"int"`` or
    ``"one_hot"``."""

    feature_names: Sequence[str]
    crossing_dim: int
    output_mode: str = "one_hot"

    def __post_init__(self) -> None:
        check_choice("output_mode", self.output_mode, ("int", "one_hot"))

    @property
    def name(self) -> str:
        return "_X_".join(self.feature_names)


class FeatureSpace:
    """Preprocess the columns of a table, each in its own way, and combine them.

    `adapt` learns vocabularies, means and boundaries. Then the space, called on columns, returns
    rows of numbers; or it becomes the first part of a model that takes the table itself::

        space.adapt(table)
        x = layers.Dense(16, activation="relu")(space.get_encoded_features())
        model = gpunn.Model(space.get_inputs(), layers.Dense(1)(x))
        model.fit(table, y)

    Rows contain the columns in the order of their names, as in Keras.

    Args:
        features: Preprocessing by column name: ``"float"``,
            ``"float_normalized"`` (to mean 0 and variance 1), ``"float_rescaled"``,
            ``"float_discretized"`` (one-hot bins), ``"integer_categorical"`` and
            ``"string_categorical"``, ``"integer_hashed"`` and ``"string_hashed"`` (one-hot),
            ``"boolean"``; or the result of the method of this
            name, which takes arguments: ``FeatureSpace.string_categorical(max_tokens=10)``.
        output_mode: ``"concat"``: one row; ``"dict"``: a dictionary by column.
        crosses: Combinations of columns with codes, as tuples of names or from `cross`: each is
            hashed and comes after the columns, see `gpunn.layers.HashedCrossing`.
        crossing_dim, hashing_dim: Number of bins of crosses, and of hashed features.
        num_discretization_bins: Number of bins of ``"float_discretized"``.
        name: Name of the space.

    Raises:
        ValueError: for any other feature, or a cross of columns that are not features.

    >>> from gpunn.utils import FeatureSpace
    >>> space = FeatureSpace({"age": "float_normalized", "city": "string_categorical"})
    >>> space.adapt({"age": [20.0, 40.0], "city": ["Oslo", "Rome"]})
    >>> space({"age": [30.0, 40.0], "city": ["Rome", "Lima"]}).tolist()
    [[0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        features: Mapping[str, Any],
        output_mode: str = "concat",
        crosses: Any = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ) -> None:
        if not isinstance(features, Mapping) or not features:
            raise ValueError(
                f"features must be a dictionary of column names and their preprocessing; got "
                f"{features!r}."
            )
        self.name = name or "feature_space"
        self.output_mode = check_choice("output_mode", output_mode, ("concat", "dict"))
        self.num_discretization_bins, self.hashing_dim = num_discretization_bins, hashing_dim
        self.crosses = [
            given if isinstance(given, Cross) else Cross(given, crossing_dim)
            for given in crosses or ()
        ]
        for name in {name for cross in self.crosses for name in cross.feature_names}:
            check_choice("crosses", name, tuple(features))
        self.features = {name: self._feature(name, given) for name, given in features.items()}
        self.inputs = {
            column: layers.Input(
                (1,),
                dtype=None if feature.dtype.startswith("float") else feature.dtype,
                name=column.replace("/", "_"),
            )
            for column, feature in self.features.items()
        }
        self._adapted = not list(self._to_adapt())
        self._model: Model | None = None

    def _feature(self, name: str, given: Any) -> Feature:
        if not isinstance(name, str) or not name:
            raise ValueError(f"features: column names must be strings; got {name!r}.")
        if isinstance(given, Feature):
            return given
        check_choice(f"features[{name!r}]", given, KINDS)
        own, hashed = self.num_discretization_bins, self.hashing_dim
        sizes = {"float_discretized": own, "integer_hashed": hashed, "string_hashed": hashed}
        options = {"num_bins": sizes[given]} if given in sizes else {}
        return getattr(self, given)(**options, name=name)

    # -- kinds of features

    @staticmethod
    def float(name: str | None = None) -> Feature:
        """Leave numbers unchanged."""
        return Feature("float32")

    @staticmethod
    def boolean(name: str | None = None) -> Feature:
        """Convert True and False to 1 and 0; Keras has no such feature."""
        return Feature("bool")

    @staticmethod
    def float_rescaled(scale: Any = 1.0, offset: Any = 0.0, name: str | None = None) -> Feature:
        """Multiply numbers by ``scale`` and add ``offset``."""
        return Feature("float32", layers.Rescaling(scale, offset, name=_named(name)))

    @staticmethod
    def float_normalized(name: str | None = None) -> Feature:
        """Normalize numbers to mean 0 and variance 1."""
        return Feature("float32", layers.Normalization(name=_named(name)))

    @staticmethod
    def float_discretized(
        num_bins: int | None = None,
        bin_boundaries: Any = None,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Replace numbers by their bins.

        Pass ``bin_boundaries``, or ``num_bins`` for bins of about equal counts.
        """
        bins = None if bin_boundaries is not None else num_bins
        made = layers.Discretization(bin_boundaries, bins, name=_named(name))
        return Feature("float32", made, output_mode)

    @staticmethod
    def integer_categorical(
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Encode integer categories; see `gpunn.layers.IntegerLookup`."""
        made = layers.IntegerLookup(max_tokens, num_oov_indices, name=_named(name))
        return Feature("int64", made, output_mode)

    @staticmethod
    def string_categorical(
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Encode string categories; see `gpunn.layers.StringLookup`."""
        made = layers.StringLookup(max_tokens, num_oov_indices, name=_named(name))
        return Feature("string", made, output_mode)

    @staticmethod
    def feature(dtype: str, preprocessor: Layer, output_mode: str) -> Feature:
        """Preprocess a column with any layer."""
        return Feature(dtype, preprocessor, output_mode)

    @staticmethod
    def integer_hashed(
        num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Number integers by a hash; see `gpunn.layers.Hashing`."""
        return Feature("int32", layers.Hashing(num_bins, name=_named(name)), output_mode)

    @staticmethod
    def string_hashed(
        num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Number strings by a hash; see `gpunn.layers.Hashing`."""
        return Feature("string", layers.Hashing(num_bins, name=_named(name)), output_mode)

    @staticmethod
    def cross(
        feature_names: Sequence[str], crossing_dim: int, output_mode: str = "one_hot"
    ) -> Cross:
        """Combine columns by a hash of their codes; see `gpunn.layers.HashedCrossing`."""
        return Cross(feature_names, crossing_dim, output_mode)

    # -- learning from data

    @property
    def preprocessors(self) -> dict[str, Any]:
        """The layers by column; None for unchanged numbers."""
        return {name: feature.preprocessor for name, feature in self.features.items()}

    def _to_adapt(self) -> Iterator[tuple[str, Any]]:
        """Yield the layers that learn from data, which they were not given."""
        for name, layer in self.preprocessors.items():
            if hasattr(layer, "adapt") and not getattr(layer, "_is_given", False):
                yield name, layer

    def adapt(self, dataset: Any) -> None:
        """Adapt the layers of the columns to data.

        Args:
            dataset: Columns as a dictionary of arrays or lists, or a frame; or batches of these,
                with or without targets. Surplus columns are ignored.

        Raises:
            TypeError: for other types.
            ValueError: for missing columns, or values that a layer does not accept.
        """
        tables = [dataset] if _is_table(dataset) else _tables(dataset)
        parts: dict[str, list[Any]] = {name: [] for name in self.features}
        for table in tables:
            self._check_columns(table)
            for name, kept in parts.items():
                kept.append(table[name])
        if not next(iter(parts.values())):
            raise ValueError(f"{self.name}.adapt: the data yield no batches.")
        for name, layer in self._to_adapt():
            try:
                layer.adapt(iter(parts[name]))
            except (TypeError, ValueError) as error:
                raise type(error)(f"The column {name!r}: {error}") from None
        self._adapted, self._model = True, None

    def _check_columns(self, table: Any) -> None:
        there = columns_of(table) or list(table)
        missing = [name for name in self.features if name not in there]
        if missing:
            raise ValueError(
                f"{self.name}: the data lack columns {', '.join(map(repr, missing))}; there are "
                f"{', '.join(map(repr, there[:20]))}.{closest(missing[0], list(map(str, there)))}"
            )

    # -- outputs

    def get_inputs(self) -> dict[str, Any]:
        """Return the symbolic inputs by column, for ``gpunn.Model(inputs, outputs)``."""
        self._built()
        return self.inputs

    def get_encoded_features(self) -> Any:
        """Return the symbolic rows, or with ``output_mode="dict"`` the rows of each column.

        Raises:
            ValueError: before `adapt`.
        """
        return self._built().output

    def _built(self) -> Model:
        if not self._adapted:
            names = ", ".join(repr(name) for name, _ in self._to_adapt())
            raise ValueError(f"{self.name}: call adapt(data) first: {names} learn from data.")
        if self._model is None:
            codes = {name: self._codes(name) for name in sorted(self.features)}
            found = {name: self._encoded(name, codes[name]) for name in codes}
            for cross in sorted(self.crosses, key=lambda cross: cross.name):
                name = _named(cross.name, "")
                layer = layers.HashedCrossing(cross.crossing_dim, cross.output_mode, name=name)
                found[cross.name] = layer([codes[n] for n in cross.feature_names])
            rows: Any = found
            if self.output_mode == "concat":
                many = list(found.values())
                rows = layers.concatenate(many) if len(many) > 1 else many[0]
            self._model = Model(self.inputs, rows, name=self.name)
        return self._model

    def _codes(self, name: str) -> Any:
        layer = self.features[name].preprocessor
        return self.inputs[name] if layer is None else layer(self.inputs[name])

    def _encoded(self, name: str, codes: Any) -> Any:
        feature = self.features[name]
        layer = feature.preprocessor
        if layer is None or feature.output_mode != "one_hot":
            return codes
        size = getattr(layer, "vocabulary_size", None)
        # Of data with few values, `adapt` makes fewer bins than num_bins, which is the width.
        keys = ("num_bins", "depth", "num_tokens")
        sizes = (getattr(layer, key, None) for key in keys)
        depth = size() if size else next(filter(None, sizes), None)
        if depth is None:
            raise ValueError(
                f"The column {name!r}: the number of categories of {layer.name} is not known; "
                f"choose output_mode='int' or 'float'."
            )
        return layers.CategoryEncoding(depth, name=f"{layer.name}_one_hot")(codes)

    def __call__(self, data: Any) -> Any:
        """Preprocess the columns of a dictionary or frame.

        Returns an array (rows, features), or a dictionary of such arrays. For single values the
        result is one row without the row axis.

        Raises:
            TypeError, ValueError: for data without these columns, or before `adapt`.
        """
        model = self._built()
        if not _is_table(data):
            raise TypeError(f"{self.name} takes a dictionary of columns or a frame; got {data!r}.")
        self._check_columns(data)
        columns = {name: data[name] for name in self.features}
        single = all(np.ndim(values) == 0 for values in columns.values())
        if single:
            columns = {name: [values] for name, values in columns.items()}
        y = model(columns)
        if not single:
            return y
        return {name: row[0] for name, row in y.items()} if isinstance(y, dict) else y[0]

    # -- files

    def save(self, filepath: Path, overwrite: bool = True) -> None:
        """Save to a file, without code, as a model that turns columns into rows.

        Raises:
            FileExistsError: with ``overwrite=False``, if the file exists.
            ValueError: before `adapt`.
        """
        model = self._built()
        kept = {}
        for name, feature in self.features.items():
            layer = getattr(feature.preprocessor, "name", "")
            kept[name] = [feature.dtype, feature.output_mode, layer]
        crosses = {c.name: [c.output_mode, *c.feature_names] for c in self.crosses}
        model.trained_on = {"feature_space": kept, "crosses": crosses}
        model.save(filepath, overwrite=overwrite)

    @classmethod
    def load(cls, filepath: Path) -> FeatureSpace:
        """Load a file written by `save`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: for any other file.
        """
        model = load_model(filepath)
        stored = model.trained_on.get("feature_space")
        place = "trained_on/feature_space"
        found = ByName(Several(Text(), 3)).check(stored, place)
        check({name: Several() for name in model.input_names}, found, place)
        features = {
            name: Feature(dtype, model.get_layer(layer) if layer else None, mode)
            for name, (dtype, mode, layer) in found.items()
        }
        mode = "concat" if model._graph.output_form.kind is None else "dict"
        stored = ByName(Several(Text())).check(model.trained_on.get("crosses", {}), "crosses")
        crosses = [
            Cross(names, model.get_layer(_named(cross, "")).num_bins, kind)
            for cross, (kind, *names) in stored.items()
        ]
        space = cls(features, mode, crosses, name=model.name)
        space._model, space._adapted = model, True
        space.inputs = dict(zip(model.input_names, model.inputs, strict=True))
        return space


def _named(name: str | None, end: str = "_preprocessor") -> str | None:
    return None if name is None else name.replace("/", "_") + end


def _is_table(data: Any) -> bool:
    return isinstance(data, Mapping) or columns_of(data) is not None


def _tables(batches: Any) -> Iterator[Any]:
    by_number = hasattr(batches, "__len__") and hasattr(batches, "__getitem__")
    if by_number and not isinstance(batches, Iterable):  # a PyDataset
        batches = map(batches.__getitem__, range(len(batches)))
    if not isinstance(batches, Iterable) or hasattr(batches, "__array__"):
        raise TypeError(
            f"adapt takes a dictionary of columns, a frame, or batches of these; got "
            f"{type(batches).__name__}."
        )
    for batch in batches:
        table = batch[0] if isinstance(batch, (tuple, list)) else batch
        if not _is_table(table):
            raise TypeError(
                f"adapt: a batch must be a dictionary of columns or a frame; got {table!r:.80}."
            )
        yield table
