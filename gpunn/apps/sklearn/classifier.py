"""A network as a scikit-learn classifier."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, cast

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from gpunn import losses
from gpunn.feeding.frames import check_known

from .estimator import GpunnEstimator
from .preparation import Targets
from .validation import check_targets

SEVERAL = ("multiclass-multioutput", "multilabel-indicator")


@dataclass(eq=False, repr=False)
class GpunnClassifier(ClassifierMixin, GpunnEstimator):
    """A neural network classifier.

    The estimator standardizes inputs: it subtracts each column's mean and divides by its standard
    deviation, in float64, weighted by ``sample_weight``. ``scale=False`` disables this.

    Weights count as repetitions, as for `GpunnRegressor`.

    Args:
        model: a function ``model(inputs, outputs)`` that replaces the arguments above. It takes
            the number of columns and of output units and returns a `gpunn.Model`, compiled or
            not. Two classes have one unit, more have one each; ``outputs`` is a list for several
            outputs. The model may end with probabilities or logits.
        loss: name or object; by default the cross-entropy that fits the targets.
        class_weight: a dictionary by class, "balanced" (total weight / (classes * weight of the
            class)), or a list of dictionaries for several outputs; multiplied into the weights.
        scale: whether to standardize inputs.

    The other arguments: as for `GpunnRegressor`; rows that ``early_stopping`` holds out are
    stratified.

    Attributes:
        classes_: the classes; a list for several outputs.
        model_: the trained `gpunn.Model`; it takes scaled inputs.

    The other attributes: as of `GpunnRegressor`.

    >>> from sklearn.datasets import load_iris
    >>> from gpunn.sklearn import GpunnClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = GpunnClassifier(16, epochs=100, learning_rate=0.02, random_state=0)
    >>> classifier.fit(X, y).score(X, y) > 0.9
    True
    """

    _: KW_ONLY
    class_weight: Any = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # scikit-learn 1.5
        return {"multilabel": True}

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Train for one epoch on these rows. The first call determines the scaling.

        Args:
            X, y, sample_weight: as for `fit`.
            classes: all classes that will occur, for the first call; by default the classes in
                ``y``.

        Returns:
            The estimator.
        """
        if not hasattr(self, "model_"):
            check_known(classes, "classes")
            self._known_classes = None if classes is None else np.unique(classes)
        try:
            return self._partial_fit(X, y, sample_weight)
        finally:
            self._known_classes = None

    # Without an annotation: annotated attributes are parameters.
    _known_classes = cast("np.ndarray | None", None)

    # -- targets

    def _targets(self, y: np.ndarray, first: bool) -> Targets:
        kind = type_of_target(y, input_name="y")
        if kind == "unknown":
            _check_one_kind(y)
        if kind.startswith("continuous") or kind == "unknown":
            check_classification_targets(y)  # raises the error
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if first:
            self._kind = kind if y.ndim == 2 else "classes"
            self.n_outputs_ = y.shape[1] if y.ndim == 2 else 1
            if self._kind == "multilabel-indicator":
                self.classes_: Any = np.arange(y.shape[1])
                self._class_lists = [np.array([0, 1])] * y.shape[1]
            else:
                columns = y.reshape(len(y), -1).T
                known = self._known_classes
                self._class_lists = [np.unique(column) if known is None else known
                                     for column in columns]
                self.classes_ = self._class_lists if y.ndim == 2 else self._class_lists[0]
        columns = y.reshape(len(y), -1).T
        if len(columns) != self.n_outputs_:
            raise ValueError(f"y has {len(columns)} columns; fit had {self.n_outputs_}.")
        values = np.stack([_numbers(c, of) for c, of in zip(columns, self._class_lists,
                                                            strict=True)], 1)
        if self._kind == "multilabel-indicator":
            return Targets(values, [values.shape[1]])
        units = [1 if len(of) <= 2 else len(of) for of in self._class_lists]
        return Targets(values, units, values[:, 0] if y.ndim == 1 else None)

    def _factors_by_class(self, targets: Targets, weights: np.ndarray) -> np.ndarray:
        given = self.class_weight
        if given is None:
            return super()._factors_by_class(targets, weights)
        several = isinstance(given, (list, tuple))
        if several and len(given) != self.n_outputs_:
            raise ValueError(
                f"class_weight has {len(given)} entries; y has {self.n_outputs_} columns."
            )
        factor = np.ones(len(weights))
        for k, (column, of) in enumerate(zip(targets.values.T, self._class_lists, strict=True)):
            by_class = given[k] if several else given
            counts = np.bincount(column.astype(np.int64), weights, len(of))
            if isinstance(by_class, str) and by_class == "balanced":
                there = counts > 0  # absent classes get weight 0
                factors = np.zeros(len(of))
                np.divide(weights.sum(), there.sum() * counts, out=factors, where=there)
            elif isinstance(by_class, Mapping):
                unknown = [key for key in by_class if key not in of.tolist()]
                if unknown and not several:
                    raise ValueError(
                        f"The classes, {unknown}, are not in class_weight's classes {of.tolist()}."
                    )
                factors = np.array([float(by_class.get(c, 1.0)) for c in of.tolist()])
            else:
                raise ValueError(
                    f"class_weight must be None, 'balanced' or a dictionary; got {by_class!r}."
                )
            factor *= factors[column.astype(np.int64)]
        return factor

    def _loss(self, output: int, linear: bool) -> Any:
        if self.loss is not None:
            return copy.deepcopy(self.loss)
        units = self._plan.output_shapes[output][-1]
        if self._kind == "multilabel-indicator" or units == 1:
            return losses.BinaryCrossentropy(from_logits=linear)
        return losses.SparseCategoricalCrossentropy(from_logits=linear)

    # -- predict

    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities of the classes, (rows, classes), or of the labels,
        (rows, labels); a list for several outputs."""
        found = []
        outputs = self._outputs(X)
        for y, linear, of in zip(outputs, self._linear(), self._class_lists, strict=False):
            if self._kind == "multilabel-indicator":
                return expit(y) if linear else y
            if y.shape[1] > 1:
                found.append(softmax(y, axis=1) if linear else y)
                continue
            second = expit(y) if linear else y
            first = expit(-y) if linear else 1.0 - y
            found.append(np.ones((len(y), 1)) if len(of) == 1 else np.hstack([first, second]))
        return found if self._kind in SEVERAL else found[0]

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row, (rows,) or (rows, outputs)."""
        found = self.predict_proba(X)
        if self._kind == "multilabel-indicator":
            return (found > 0.5).astype(np.int64)
        if self._kind not in SEVERAL:
            return self.classes_[found.argmax(axis=1)]
        columns = [of[p.argmax(axis=1)] for p, of in zip(found, self.classes_, strict=True)]
        return np.stack(columns, 1)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy; with several outputs, all of a row's must be correct."""
        check_targets(y)
        y = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
        right = self.predict(X).reshape(len(y), -1) == y.reshape(len(y), -1)
        return float(np.average(right.all(axis=1), weights=sample_weight))


def _check_one_kind(y: np.ndarray) -> None:
    """Check that all classes are of one type, such as strings.

    Raises:
        ValueError: if they are not; the message has two examples.
    """
    first = {type(value): value for value in y.ravel()[::-1]}
    if len(first) > 1:
        a, b = sorted(first.values(), key=repr)[:2]
        raise ValueError(
            f"y mixes classes of several types, such as {a!r} ({type(a).__name__}) and {b!r} "
            f"({type(b).__name__}): convert them to one type, for example with y.astype(str)."
        )


def _numbers(column: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the class index of each row.

    Raises:
        ValueError: if a value is not one of the classes.
    """
    places = np.minimum(np.searchsorted(classes, column), len(classes) - 1)
    wrong = classes[places] != column
    if wrong.any():
        unknown = np.unique(column[wrong])[:5].tolist()
        raise ValueError(f"y has classes that are not known: {unknown}; known: "
                         f"{classes.tolist()}.")
    return places
