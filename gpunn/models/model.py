"""`Model`: layers between inputs and outputs, which can be trained and saved to files."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from gpunn import saving
from gpunn.backends.contract.backend import Backend
from gpunn.common import registry
from gpunn.common.names import closest, snake_case, unique_name
from gpunn.common.overrides import PAGE
from gpunn.core.plan import Plan
from gpunn.core.storage import ParameterStorage
from gpunn.layers.parameters import track, track_in, untrack
from gpunn.layers.symbolic import SymbolicTensor
from gpunn.structure.builder import Builder, Source
from gpunn.structure.graph import Graph, restore_graph
from gpunn.structure.nested import STEPS
from gpunn.training.training import Training

from .trainable import TrainableModel


class Model(TrainableModel):
    """A model: an acyclic graph of layers between inputs and outputs.

    Each layer is called on the outputs of `gpunn.Input` or of other layers. The model consists of
    the layers between ``inputs`` and ``outputs``. A layer that is called twice is shared, and a
    model can be called like a layer. `gpunn.Sequential` is a model whose graph is a chain.

    A subclass that defines ``call(self, inputs)`` is created without inputs and outputs.

    Args:
        inputs: A symbolic tensor, or a list, tuple or dictionary of them.
        outputs: Likewise; data and predictions have the same structure.
        name: Name of the model.
        trainable: Whether training updates the layers' parameters.
        dtype: ``"float32"`` or ``"float64"``; default `gpunn.config.floatx`.
        backend: ``"numpy"``, ``"compiled"``, ``"cupy"`` or ``"auto"``; default
            `gpunn.use_backend`.

    Raises:
        ValueError: if the outputs depend on an input that is not among ``inputs``, or if two
            layers have the same name.
        TypeError: without inputs and outputs.

    A residual network, whose layers add to their input:

    >>> import gpunn
    >>> from gpunn import layers
    >>> x = inputs = gpunn.Input((8,))
    >>> for _ in range(3):
    ...     x = layers.add([x, layers.Dense(8, activation="relu")(x)])
    >>> model = gpunn.Model(inputs, layers.Dense(1)(x))
    >>> model.count_params(), model.output_shape
    (225, (None, 1))
    """

    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = {"build": ("call",)}

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        backend: Any = None,
    ) -> None:
        if inputs is None and outputs is None and "train_step" in self._own_steps:
            self._has_call = True  # it need not have one: its steps use what it holds
        if self._has_call and (inputs is not None or outputs is not None):
            raise TypeError(
                f"{type(self).__name__} defines call, but was also given inputs or outputs. "
                f"Pass none of them, or remove call."
            )
        if not self._has_call and (inputs is None or outputs is None):
            raise TypeError(
                f"{type(self).__name__} needs inputs and outputs: x = gpunn.Input(shape), "
                f"y = layers.Dense(1)(x), gpunn.Model(x, y); or a method call(self, inputs)"
                f"{', to which forward is to be renamed' if hasattr(self, 'forward') else ''}."
            )
        if self._has_call:
            from gpunn.structure.calls import ModelCall

            source: Source = ModelCall(self, dtype)
        else:
            source = Graph(inputs, outputs)
        self._create(source, name, trainable, dtype, backend)

    def _create(
        self, source: Source, name: str | None, trainable: bool, dtype: Any, backend: Any
    ) -> None:
        """Create what every model owns: its builder, and its training."""
        if not isinstance(trainable, (bool, int, np.bool_)):
            raise TypeError(
                f"trainable must be True or False; got {trainable!r}. A Sequential model takes its "
                f"layers as one list: Sequential([...])."
            )
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"name must be a non-empty string without '/'; got {name!r}.")
        default = "functional" if type(self) is Model else snake_case(type(self).__name__)
        name = name or unique_name(default)
        self._builder = Builder(name, source, dtype, backend)
        self._training = Training(self._builder)
        self._applications = []
        self._trainable = bool(trainable)
        if self._has_call:
            track(self)  # what was set before it was created
        if not trainable:
            self.trainable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_builder" not in state:
            from .earlier import restored  # which pickles of this version do not need

            state = restored(state)
        super().__setstate__(state)
        if not self._has_call and self._builder.has_call:
            self._has_call = True  # see `__init__`; a pickle of an earlier version lacks it

    def __copy__(self) -> Any:
        """Return a model of the same layers, which is built and trained by itself."""
        made = type(self).__new__(type(self))
        made.__setstate__(self.__getstate__())
        made._builder = builder = copy.copy(self._builder)
        made._training = self._training.copy_for(builder)
        if self._has_call:
            builder.source = copy.copy(builder.source)
            builder.source.model = made
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "call" and not self._has_call:
            raise TypeError(
                f"{type(self).__name__}.call would be ignored on an object. Write a subclass of "
                f"gpunn.Model with call(self, inputs). See {PAGE}."
            )
        if name in STEPS:
            raise TypeError(
                f"{type(self).__name__}.{name} would be ignored on an object. Write a subclass of "
                f"{type(self).__name__} with {name}. See docs/reference/own-training.md."
            )
        if self._has_call and "_training" in vars(self):
            track_in(self, name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        """Delete an attribute; a weight is no longer one, as in Keras."""
        if self._has_call and "_training" in vars(self):
            untrack(self, name)
        super().__delattr__(name)

    # -- what it is built of

    @property
    def operations(self) -> list[Any]:
        """The layers, and the operations created by symbolic expressions such as ``a + b``.

        >>> import gpunn
        >>> x = gpunn.Input((3,))
        >>> model = gpunn.Model(x, gpunn.ops.exp(x))
        >>> len(model.operations)
        2
        """
        return list(self._builder.source.layers)

    @property
    def _graph(self) -> Graph:
        """The graph from inputs to outputs; raises AttributeError before it is known."""
        return self._builder.known_graph("graph")

    @property
    def _plan(self) -> Plan | None:
        """The nodes in execution order; None as long as the input shape is not known."""
        return self._builder.plan

    @property
    def _storage(self) -> ParameterStorage | None:
        """The storage that holds the parameters; None as long as the input shape is not known."""
        return self._builder.storage if self._builder.plan else None

    @property
    def backend(self) -> Backend:
        """The backend that the model runs on, see `gpunn.get_backend`.

        >>> import gpunn
        >>> gpunn.Sequential([gpunn.layers.Dense(1)], backend="numpy").backend.name
        'numpy'
        """
        return self._builder.backend

    @property
    def dtype(self) -> str:
        """Dtype of parameters and computation.

        Raises:
            ValueError: if layers of the model request different ones.

        >>> import gpunn
        >>> gpunn.Sequential([gpunn.layers.Dense(1)], dtype="float64").dtype
        'float64'
        """
        return self._builder.dtype

    @property
    def built(self) -> bool:
        """Whether the parameters exist, because the input shape is known.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.layers.Dense(1)])
        >>> before = model.built
        >>> model.build((None, 3))
        >>> before, model.built
        (False, True)
        """
        return self._training.built_as_seen()

    @built.setter
    def built(self, value: bool) -> None:
        """Ignored: Keras's models set it at the end of `build`; here it is known."""

    def build(self, input_shape: Any = None) -> None:
        """Create the parameters.

        Args:
            input_shape: (batch or None, ...), or a list or dictionary of such shapes.

        Raises:
            ValueError: without a shape, if none is known, and for a shape that a layer does not
                accept.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.layers.Dense(2)])
        >>> model.build((None, 3))
        >>> model.count_params()  # 3 * 2 + 2
        8
        """
        builder = self._builder
        if self._has_call and builder.source.building:
            return  # called by the model's own build with super()
        if input_shape is None:
            self._require_values("build")
        else:
            builder.build(builder.samples(input_shape))

    def _shape_of_build(self) -> Any:
        return self.input_shape if self.built else None

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic inputs; raises AttributeError before they are known.

        >>> import gpunn
        >>> x = gpunn.Input((3,))
        >>> gpunn.Model(x, gpunn.layers.Dense(2)(x)).inputs == [x]
        True
        """
        return list(self._builder.known_graph("inputs").inputs)

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The symbolic outputs; raises AttributeError before they are known.

        >>> import gpunn
        >>> x = gpunn.Input((3,))
        >>> [t.shape for t in gpunn.Model(x, gpunn.layers.Dense(2)(x)).outputs]
        [(None, 2)]
        """
        return list(self._builder.known_graph("outputs").outputs)

    @property
    def input(self) -> Any:
        """The symbolic inputs in their given structure: one tensor, or a list or dictionary of
        them.

        >>> import gpunn
        >>> x = gpunn.Input((3,))
        >>> gpunn.Model(x, gpunn.layers.Dense(2)(x)).input is x
        True
        """
        return self._builder.known_graph("input").input_form.pack(self.inputs)

    @property
    def output(self) -> Any:
        """The symbolic outputs in their given structure: one tensor, or a list or dictionary of
        them.

        >>> import gpunn
        >>> x = gpunn.Input((3,))
        >>> gpunn.Model(x, gpunn.layers.Dense(2)(x)).output.shape
        (None, 2)
        """
        return self._builder.known_graph("output").output_form.pack(self.outputs)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs in dictionaries of data.

        >>> import gpunn
        >>> x = gpunn.Input((3,), name="table")
        >>> gpunn.Model(x, gpunn.layers.Dense(2)(x)).input_names
        ['table']
        """
        return self._builder.known_graph("input_names").input_names

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs in logs and in dictionaries of data.

        >>> import gpunn
        >>> x = gpunn.Input((3,))
        >>> gpunn.Model(x, gpunn.layers.Dense(2, name="price")(x)).output_names
        ['price']
        """
        return self._builder.known_graph("output_names").output_names

    @property
    def input_shape(self) -> Any:
        """(None, ...) with the shape of one sample, or several shapes in the structure of the
        inputs; raises AttributeError before it is known.

        >>> import gpunn
        >>> gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)]).input_shape
        (None, 3)
        """
        graph = self._builder.known_graph("input_shape")
        return graph.input_form.pack([t.shape for t in graph.inputs])

    @property
    def output_shape(self) -> Any:
        """(None, ...) with the shape of one prediction, or several shapes; raises
        AttributeError before it is known.

        >>> import gpunn
        >>> gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)]).output_shape
        (None, 2)
        """
        graph = self._builder.known_graph("output_shape")
        return graph.output_form.pack([t.shape for t in graph.outputs])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs (batch or None, ...) for inputs of that shape.

        The model is built for this shape, if it is not built yet.

        Args:
            input_shape: (batch or None, ...), or a list or dictionary of such shapes.

        >>> import gpunn
        >>> gpunn.Sequential([gpunn.layers.Dense(2)]).compute_output_shape((32, 3))
        (32, 2)
        """
        builder = self._builder
        builder.build(builder.samples(input_shape))
        first = input_shape
        while isinstance(first, Mapping) or isinstance(first[0], (tuple, list, Mapping)):
            first = next(iter(first.values() if isinstance(first, Mapping) else first))
        batch = first[0]
        shapes = builder.known_plan("output_shape").output_shapes
        return self._graph.output_form.pack([(batch, *shape) for shape in shapes])

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Return a layer by name or index.

        Args:
            name: Name of the layer.
            index: Its number in `layers`, from 0. Exactly one of the two must be given.

        Raises:
            ValueError: if there is none; the message suggests the closest name.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2, name="scores")])
        >>> model.get_layer("scores") is model.get_layer(index=0)
        True
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer needs either name or index.")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(f"index {index} is out of range: {len(self.layers)} layers.")
            return self.layers[index]
        names = [layer.name for layer in self.layers]
        if name not in names:
            raise ValueError(
                f"No layer named {name!r}.{closest(str(name), names)} Layers: {', '.join(names)}."
            )
        return self.layers[names.index(name)]

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Print layers, output shapes and parameter counts.

        Args:
            line_length: Width in columns, 80 by default.
            positions: Accepted for compatibility with Keras and ignored.
            print_fn: Function called with the text instead of ``print``.
            expand_nested: Whether to show the layers of models used as layers.
            show_trainable: Whether to add a column that shows which layers are trained.
            layer_range: Accepted for compatibility with Keras and ignored.

        >>> import gpunn
        >>> dense = gpunn.layers.Dense(2, name="dense")
        >>> gpunn.Sequential([gpunn.Input((3,)), dense], name="small").summary()
        Model: "small"
        ...
        dense (Dense)                       (None, 2)               8
        ...
        Total params: 8 (32.00 B)
        ...
        """
        from gpunn.structure.summary import summary_text

        text = summary_text(self, line_length or 80, show_trainable, expand_nested)
        (print_fn or print)(text)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"

    def __str__(self) -> str:
        """The text of `summary`."""
        from gpunn.structure.summary import summary_text

        return summary_text(self, 80, False)

    def _repr_html_(self) -> str:
        """Return the view in a notebook: layers, shapes, parameters and a drawing."""
        from gpunn.structure.summary import summary_html

        return summary_html(self)

    def data_held(self) -> dict[str, str]:
        """Describe the data values that the model, and so its file, contains besides its weights.

        These are vocabularies, boundaries, means and variances of preprocessing layers, and
        entries of `trained_on` such as class names, described in words by their path.

        Returns:
            Descriptions by path; empty if there are no such values.

        >>> import gpunn
        >>> lookup = gpunn.layers.StringLookup(vocabulary=["oak", "elm"], name="tree")
        >>> gpunn.Sequential([gpunn.Input((1,), dtype="string"), lookup]).data_held()
        {'tree/vocabulary': "2 categories: 'oak', 'elm'"}
        """
        from gpunn.structure.data_held import data_held  # which only files need

        return data_held(self)

    def _check_kept(self) -> None:
        """Check that a file would hold what layers have learnt besides weights."""
        from gpunn.structure.data_held import check_kept

        check_kept(self)

    def weights_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters by their path, ``"dense/kernel"``.

        Raises:
            ValueError: if the input shape is not known yet.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(2, "relu", name="d")])
        >>> {path: array.shape for path, array in model.weights_dict().items()}
        {'d/kernel': (1, 2), 'd/bias': (2,)}
        """
        self._require_values("weights_dict")
        parameters = self._by_path()
        read = self._access().read
        return read(lambda: {path: p.numpy() for path, p in parameters.items()})

    def load_weights_dict(self, weights: Mapping[str, Any]) -> None:
        """Set all parameters by their path.

        Args:
            weights: An array for each path of `weights_dict`.

        Raises:
            ValueError: naming a missing or surplus path, or a different shape.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1, name="d")])
        >>> model.load_weights_dict({"d/kernel": [[2.0]], "d/bias": [1.0]})
        >>> model([[5.0]]).tolist()  # 2 * 5 + 1
        [[11.0]]
        """
        self._require_values("load_weights_dict")
        paths = self._by_path()
        for path in paths:
            if path not in weights:
                raise ValueError(f"Weights: {path!r} is missing.")
        for path in weights:
            if path not in paths:
                raise ValueError(
                    f"Weights: {path!r} is not in the model.{closest(path, list(paths))}"
                )
        self.set_weights([weights[path] for path in paths])

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the last training step by path, without frozen parameters.

        Raises:
            ValueError: if the input shape is not known yet.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="line")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse")
        >>> loss = model.train_on_batch([[3.0]], [[1.0]])
        >>> model.gradients()["line/kernel"].tolist()  # 2 (0 * 3 - 1) 3
        [[-6.0]]
        """
        self._require_values("gradients")
        parameters = self._builder.known_plan("gradients").parameters
        from gpunn.core.by_rows import complete_gradients  # which most trainings do not need

        assert self._storage is not None
        complete_gradients(self._storage)
        return {
            path: self.backend.read(p.gradient) for path, p in parameters.items() if p.trainable
        }

    # -- configuration and files

    @registry.sharing
    def get_config(self) -> dict[str, Any]:
        """Return the name, dtype, layers and their connections as JSON-serializable values.

        For a model with a custom call, return its constructor arguments.

        >>> import gpunn
        >>> x = gpunn.Input((3,))
        >>> sorted(gpunn.Model(x, gpunn.layers.Dense(2)(x)).get_config())
        ['dtype', 'forms', 'inputs', 'layers', 'name', 'outputs']
        """
        if self._has_call:
            from gpunn.structure.calls import arguments_of

            return arguments_of(self)
        config: dict[str, Any] = {"name": self.name, **self._graph.get_config()}
        if self._dtype_given is not None or self.built:
            config["dtype"] = self._dtype_given or self.dtype
        return config

    @classmethod
    @registry.sharing
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Return the model described by a `get_config` dictionary, with new initial weights.

        Args:
            config: A dictionary of `get_config`.
            custom_objects: Classes and functions by their names in ``config``.

        Raises:
            ValueError: if the layers of a `Sequential` are not a list.

        >>> import gpunn
        >>> x = gpunn.Input((3,))
        >>> model = gpunn.Model(x, gpunn.layers.Dense(2)(x))
        >>> gpunn.Model.from_config(model.get_config()).count_params()
        8
        """
        return registry.also(custom_objects or {}, lambda: cls._of_config(dict(config)))

    @classmethod
    def _of_config(cls, config: dict[str, Any]) -> Any:
        if "layers" not in config:
            return cls(**registry.with_parts(cls, config))
        graph = {key: config.pop(key) for key in ("layers", "inputs", "outputs", "forms")}
        inputs, outputs = restore_graph(graph)
        return cls(inputs, outputs, **config)

    def save(
        self,
        filepath: Any,
        overwrite: bool = True,
        include_optimizer: bool = True,
        save_format: Any = None,
        *,
        announce: bool = True,
    ) -> None:
        """Save architecture, weights and training state; see `gpunn.saving.save_model`.

        ``save_format`` is accepted for compatibility with Keras and ignored: there is one format.

        Args:
            filepath: A file (``.gpunn``, ``.keras``, or without a suffix), or a folder.
            overwrite: Whether to replace an existing file.
            include_optimizer: Whether to store the optimizer's state.
            announce: Whether to print which data values the file contains, see `data_held`.

        Raises:
            FileExistsError: with ``overwrite=False``, if the file exists.
            ValueError: for the suffix of another kind of file, such as ``.png``, and for a part
                that no file can name, such as a lambda. One that is not registered is loaded with
                ``custom_objects``.

        >>> import gpunn, tempfile
        >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(folder + "/model.gpunn")
        ...     gpunn.models.load_model(folder + "/model.gpunn").count_params()
        8
        """
        saving.save_model(
            self,
            filepath,
            overwrite=overwrite,
            include_optimizer=include_optimizer,
            announce=announce,
        )

    def export(
        self, filepath: Any, format: str | None = None, verbose: Any = None, **options: Any
    ) -> None:
        """Export the model to an ONNX file (opset 17, float32) that other programs can run.

        The exported model takes raw data as this model does: it includes the preprocessing of
        numbers, and looks up strings with ``ai.onnx.ml`` (opset 2). Inputs and outputs keep the
        model's names and accept any number of rows. Values of a float64 model are rounded.

        Args:
            filepath: Path of the file.
            format: ``"onnx"`` or None; Keras's other formats are rejected.
            verbose: Accepted for compatibility with Keras and ignored.

        Raises:
            ImportError: without the package onnx (``pip install 'gpunn[onnx]'``).
            TypeError: for further options.
            ValueError: for another format, for a model that is not built, and for layers and
                operations without an ONNX counterpart, naming all of them. Nothing is written.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
        >>> model.export("model", format="tf_saved_model")
        Traceback (most recent call last):
        ValueError: export: format must be 'onnx'; got 'tf_saved_model'.
        """
        from gpunn.saving.onnx.export import export_onnx

        if format not in (None, "onnx"):
            raise ValueError(f"export: format must be 'onnx'; got {format!r}.")
        if options:
            raise TypeError(f"export takes no {', '.join(options)}: any batch size can be run.")
        export_onnx(self, filepath)

    def to_json(self, **options: Any) -> str:
        """Return the layers without weights as a JSON string; see `gpunn.saving.model_to_json`.

        Args:
            options: Options of ``json.dumps``, such as ``indent``.

        >>> import gpunn
        >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
        >>> gpunn.models.model_from_json(model.to_json()).count_params()
        8
        """
        return saving.model_to_json(self, **options)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Save only the weights; see `gpunn.saving.save_weights`.

        Args:
            filepath: A file (``.gpunn``, ``.weights.h5``, or without a suffix), or a folder.
            overwrite: Whether to replace an existing file.

        Raises:
            FileExistsError: with ``overwrite=False``, if the file exists.
            ValueError: for the suffix of another kind of file, such as ``.png``.

        >>> import gpunn, tempfile
        >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(1)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save_weights(folder + "/weights.gpunn")
        ...     model.load_weights(folder + "/weights.gpunn")
        """
        saving.save_weights(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **options: Any) -> None:
        """Load weights from a file of `save_weights` or `save`; see `gpunn.saving.load_weights`.

        Args:
            filepath: The file or folder.
            skip_mismatch: Whether weights of other shapes than in the file stay as they are.
            options: ``by_name``, ``allow_nan`` and ``max_header``, as in
                `gpunn.saving.load_weights`.

        Raises:
            FileNotFoundError: if the file does not exist.
            ValueError: naming the file and the weight that does not fit, or is not finite.

        >>> import gpunn, tempfile
        >>> dense = [gpunn.layers.Dense(1, kernel_initializer=name) for name in ("ones", "zeros")]
        >>> ones, zeros = (gpunn.Sequential([gpunn.Input((1,)), layer]) for layer in dense)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ones.save_weights(folder + "/weights.gpunn")
        ...     zeros.load_weights(folder + "/weights.gpunn")
        >>> zeros([[5.0]]).tolist()
        [[5.0]]
        """
        saving.load_weights(self, filepath, skip_mismatch, **options)
