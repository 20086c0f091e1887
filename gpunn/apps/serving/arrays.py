"""Requests to a model of arrays or pictures, and the answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.pictures.samples import picture_shape, read_sample
from gpunn.apps.predictions import BLANK, class_entries
from gpunn.loaders.opening import LargeImage, look_at

from .bodies import MAX_PIXELS, Picture, Question, Refused, document, kind_of, only, pictures, shown


class Arrays:
    """A model that takes arrays, by name if it has several inputs; and pictures, where they fit.

    Args:
        model: a built model.
        pixels: of all pictures of a request, at most.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((2,), name="x"), gpunn.layers.Dense(1)])
    >>> Arrays(model).read(b'{"inputs": [[1, 2], [3, 4]]}', "json").inputs["x"].shape
    (2, 2)
    >>> Arrays(model).read(b'{"inputs": [[1, 2, 3]]}', "json")
    Traceback (most recent call last):
    gpunn.apps.serving.bodies.Refused: inputs must be rows of numbers, each of shape [2]
    """

    def __init__(self, model: Any, pixels: int = MAX_PIXELS) -> None:
        self._most = pixels
        self.shapes = {
            name: (tensor.shape[1:], str(tensor.dtype))
            for name, tensor in zip(model.input_names, model.inputs, strict=True)
        }
        self.outputs = {
            name: (tensor.shape[1:], str(tensor.dtype))
            for name, tensor in zip(model.output_names, model.outputs, strict=True)
        }
        self.known = trained_on.known(model)
        self.mnist = self.known.get("prepared") == "mnist"
        self.picture: tuple[int, ...] | None = None
        if len(self.shapes) == 1:
            shape = picture_shape(self.sample, self.mnist)
            if (len(shape) == 2 or shape[2:] == (3,)) and None not in shape and self._is_numeric:
                self.picture = shape

    @property
    def sample(self) -> tuple[Any, ...]:
        return next(iter(self.shapes.values()))[0]

    @property
    def _is_numeric(self) -> bool:
        return next(iter(self.shapes.values()))[1] != "string"

    def schema(self) -> dict[str, Any]:
        """Return what the model takes and gives."""
        described: dict[str, Any] = {
            "inputs": {name: _described(*one) for name, one in self.shapes.items()},
            "outputs": {name: _described(*one) for name, one in self.outputs.items()},
        }
        if self.picture is not None:
            described["pictures"] = {"shape": [*self.picture]}
        if "classes" in self.known:
            described["classes"] = self.known["classes"]
        return described

    def first(self) -> dict[str, np.ndarray] | None:
        """Return a row of zeros, with which to prepare the model; None where sizes are open."""
        if any(None in shape for shape, _ in self.shapes.values()):
            return None
        return {
            name: np.full((1, *shape), "", object) if dtype == "string" else np.zeros((1, *shape))
            for name, (shape, dtype) in self.shapes.items()
        }

    def read(self, body: bytes, kind: str) -> Question:
        """Return the question in a body of JSON or, where ``kind`` is ``"image"``, in a picture."""
        if kind == "image":
            if self.picture is None:
                raise Refused(415, "the model takes no pictures: send JSON, see GET /")
            return self._pictures([Picture("the picture", body)])
        found = document(body)
        key = only(found, "inputs", *(["pictures"] if self.picture is not None else []))
        if key == "pictures":
            return self._pictures(pictures(found[key]))
        given = found["inputs"]
        if len(self.shapes) == 1 and not isinstance(given, dict):
            name, (shape, dtype) = next(iter(self.shapes.items()))
            inputs = {name: _array("inputs", given, shape, dtype)}
        else:
            inputs = self._by_name(given)
        return Question(inputs, partial(self._answer, of_pictures=False))

    def _by_name(self, given: Any) -> dict[str, np.ndarray]:
        names = ", ".join(map(repr, self.shapes))
        if not isinstance(given, dict):
            raise Refused(400, f"inputs is {kind_of(given)}; an object with {names} is expected")
        for name in given:
            if name not in self.shapes:
                raise Refused(400, f"inputs has {shown(name)}; {names} are expected")
        for name in self.shapes:
            if name not in given:
                raise Refused(400, f"inputs lacks {name!r}; {names} are expected")
        found = {
            name: _array(f"inputs[{name!r}]", given[name], *one)
            for name, one in self.shapes.items()
        }
        counts = {name: len(values) for name, values in found.items()}
        if len({*counts.values()}) > 1:
            said = ", ".join(f"{name!r} {count}" for name, count in counts.items())
            raise Refused(400, f"inputs must have as many rows each; they have: {said}")
        return found

    def _pictures(self, sent: Sequence[Picture]) -> Question:
        try:
            self._check_pixels(sent)
            read = partial(read_sample, max_pixels=self._most)
            read_rows = [read(one, self.sample, self.known, self.mnist)[0] for one in sent]
        except LargeImage as error:
            raise Refused(413, str(error)) from None
        except ValueError as error:
            raise Refused(400, str(error)) from None
        except ImportError:
            raise Refused(415, "the server lacks Pillow, to read pictures") from None
        there = [row is not None for row in read_rows]
        rows = [np.zeros(self.sample, np.uint8) if row is None else row for row in read_rows]
        answer = partial(self._answer, of_pictures=True, there=there)
        return Question({next(iter(self.shapes)): np.stack(rows)}, answer)

    def _check_pixels(self, sent: Sequence[Picture]) -> None:
        """Refuse pictures that would take much memory, before any of them is decoded.

        What counts is the picture or the row that is made of it, whichever has more pixels.
        """
        assert self.picture is not None
        row = self.picture[0] * self.picture[1]
        total = 0
        for picture in sent:
            (width, height), _ = look_at(picture, self._most)
            total += max(width * height, row)
        if total > self._most:
            raise LargeImage(
                f"{len(sent)} pictures, of {row:,} pixels each as the model takes them, have "
                f"{total:,} pixels, but --max-pixels is {self._most:,} for a request. Send fewer "
                f"or smaller ones."
            )

    def _answer(
        self, outputs: dict[str, np.ndarray], of_pictures: bool, there: Sequence[bool] = ()
    ) -> dict[str, Any]:
        """Return the outputs, and the classes of pictures or of a model that knows their names."""
        listed = [values.tolist() for values in outputs.values()]
        made: dict[str, Any] = {
            "outputs": listed[0] if len(listed) == 1 else dict(zip(outputs, listed, strict=True))
        }
        if len(outputs) == 1 and (of_pictures or "classes" in self.known):
            # Outputs that are no probabilities of these classes have no entries.
            with suppress(ValueError):
                made["predictions"] = class_entries(next(iter(outputs.values())), self.known)
        for k in (k for k, is_there in enumerate(there) if not is_there):  # a picture without ink
            for values in listed:
                values[k] = None
            if "predictions" in made:
                made["predictions"][k] = BLANK
        return made


def _described(shape: tuple[Any, ...], dtype: str) -> dict[str, Any]:
    return {"shape": [*shape], "dtype": dtype}


def _array(place: str, values: Any, shape: tuple[Any, ...], dtype: str) -> np.ndarray:
    """Return rows of JSON as an array (rows, *shape) of the model's dtype.

    >>> _array("inputs", [["elm"]], (1,), "string"), _array("inputs", [[1], [2]], (None,), "int32")
    (array([['elm']], dtype=object), array([[1],
           [2]], dtype=int32))
    """
    if values == []:
        raise Refused(400, f"{place} has no row")
    texts, whole = dtype == "string", dtype.startswith(("int", "uint"))
    truths = dtype == "bool"
    wanted = "texts" if texts else "whole numbers" if whole else "numbers"
    wanted = "true or false, or of 0 or 1" if truths else wanted
    said = str([*shape]).replace("None", "any")
    expected = f"{place} must be rows of {wanted}, each of shape {said}"
    try:
        array = np.array(values, object if texts else None)
        if array.dtype == object and all(type(value) in (int, float, bool) for value in array.flat):
            array = array.astype(np.float64)  # whole numbers of more than 64 bits
    except (ValueError, OverflowError):  # rows of different lengths
        raise Refused(400, expected) from None
    holds_truths = not texts and _holds_truths(values, array.ndim)
    if shape == (1,) and array.ndim == 1:  # a number or a text for each row
        array = array[:, np.newaxis]
    fits = array.ndim == 1 + len(shape) and all(
        size in (None, there) for size, there in zip(shape, array.shape[1:], strict=True)
    )
    if not fits or not (texts or array.dtype.kind in "biuf") or (holds_truths and not truths):
        raise Refused(400, expected)
    if texts:
        if not all(isinstance(value, str) for value in array.flat):
            raise Refused(400, expected)
        return array
    return _numbers(place, array, dtype, expected)


def _holds_truths(values: Any, axes: int) -> bool:
    """Whether lists of so many axes hold true or false, which NumPy takes as 1 and 0.

    >>> _holds_truths([[1, 2], [3, True]], 2), _holds_truths([[1, 0]], 2)
    (True, False)
    """
    for _ in range(axes - 1):
        values = chain.from_iterable(values)
    return axes > 0 and bool in set(map(type, values))


def _numbers(place: str, array: np.ndarray, dtype: str, expected: str) -> np.ndarray:
    if dtype.startswith(("int", "uint")):
        ends = np.iinfo(dtype)
        if array.dtype.kind == "f" and not (array == np.floor(array)).all():
            raise Refused(400, expected)
        if array.size and not (ends.min <= array.min() and array.max() <= ends.max):
            raise Refused(400, f"{place} has a number beyond {dtype}")
        return array.astype(dtype)
    wide = dtype if dtype in ("float16", "float64") else "float32"
    with np.errstate(over="ignore"):
        array = array.astype(wide)
    if not np.isfinite(array).all():
        raise Refused(400, f"{place} has a number beyond {wide}")
    return array
