"""The layer that turns running text into codes of its words, or into counts of them."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from gpunn.common.arguments import check_choice, check_integer
from gpunn.common.numeric import is_missing
from gpunn.common.registry import FUNCTION, Examples, lookup, name_of
from gpunn.layers.shapes import sample_of
from gpunn.layers.symbolic import SampleShape

from .encoding import refuse_sparse
from .lookups import StringLookup, _as_array

__all__ = ["TextVectorization"]

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_BARE = str.maketrans("", "", string.punctuation)
_WORD = re.compile(r"[^ \t\n\r\f\v]+")
STANDARDS: dict[str, Callable[[str], str]] = {
    "lower_and_strip_punctuation": lambda text: text.translate(_LOWER).translate(_BARE),
    "lower": lambda text: text.translate(_LOWER),
    "strip_punctuation": lambda text: text.translate(_BARE),
}
SPLITS: dict[str, Callable[[str], list[str]]] = {"whitespace": _WORD.findall, "character": list}
_SETTLED = {"num_oov_indices", "mask_token", "oov_token", "invert", "salt", "fold"}
MODES = ("int", "multi_hot", "count", "tf_idf")


def _function(name: str, value: Any, known: dict[str, Any]) -> Any:
    """Return one of the known names, None, or a function; a file names registered functions."""
    if isinstance(value, str) and value not in known and ">" in value:
        return lookup(FUNCTION, value)
    return value if value is None or callable(value) else check_choice(name, value, [*known])


def _lengths(ngrams: Any) -> tuple[int, ...] | None:
    """Return the lengths of n-grams: for a number all up to it."""
    if ngrams is None:
        return None
    if isinstance(ngrams, (tuple, list)):
        return tuple(check_integer("ngrams", n, 1) for n in ngrams)
    return tuple(range(1, check_integer("ngrams", ngrams, 1) + 1))


class TextVectorization(StringLookup):
    """Turn texts into the codes of their words, or into rows that count the words.

    Each text is standardized and split into words, of which n-grams may be made. A vocabulary gives
    each of these its code, as in `StringLookup`: 0 pads, 1 stands for unknown words. In rows there
    is no padding, and unknown words come first. Texts are encoded on the host while data are fed.
    The layer therefore follows an input: ``gpunn.Input((1,), dtype="string")``.

    Shapes: texts ``(batch,)`` or ``(batch, 1)`` -> codes ``(batch, output_sequence_length)``, or
    rows ``(batch, size of the vocabulary)``. Without a split, strings ``(batch, n)`` are n words.

    Args:
        max_tokens: maximum size of the vocabulary, with the entries for padding and unknown words.
        standardize: ``"lower_and_strip_punctuation"``, ``"lower"``, ``"strip_punctuation"``, all of
            ASCII characters as in Keras; None; or a function of an array of texts that returns an
            array of its shape.
        split: ``"whitespace"``, ``"character"``, None, or a function of an array of texts that
            returns a list of words for each.
        ngrams: also take runs of up to this many words, joined by spaces; or a tuple of lengths.
        output_mode: ``"int"``: codes, in the order of the words; ``"multi_hot"``, ``"count"``,
            ``"tf_idf"``: rows, as in `StringLookup`.
        output_sequence_length: codes are padded with 0, or cut off, to this length. By default the
            longest text gives it, at least 1: of a batch, or of an array passed to `fit` at once.
        ragged: accepted as in Keras; must be False.

    The other arguments, and errors: as for `StringLookup`.

    >>> layer = TextVectorization(output_sequence_length=4)
    >>> layer.adapt(["foo bar", "bar baz", "baz, bada boom"])
    >>> layer.get_vocabulary()
    ['', '[UNK]', 'baz', 'bar', 'foo', 'boom', 'bada']
    >>> layer(["Foo qux bar!", "qux baz"]).tolist()
    [[4, 1, 3, 0], [1, 2, 0, 0]]
    """

    _undescribed = _SETTLED
    examples: ClassVar[Examples] = (
        {"vocabulary": ["a", "b"], "output_sequence_length": 4},
        {"vocabulary": ["a", "b", "a b"], "output_mode": "count", "ngrams": 2},
    )

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: Any = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        **options: Any,
    ) -> None:
        output_mode = check_choice(
            "output_mode", "tf_idf" if output_mode == "tf-idf" else output_mode, MODES
        )
        if unknown := sorted(_SETTLED & options.keys()):
            raise TypeError(f"TextVectorization takes no argument {unknown[0]!r}.")
        if output_sequence_length is not None and output_mode != "int":
            raise ValueError(
                f"output_sequence_length requires output_mode='int'; it is {output_mode!r}."
            )
        self.standardize = _function("standardize", standardize, STANDARDS)
        self.split = _function("split", split, SPLITS)
        self.ngrams, self._lengths = ngrams, _lengths(ngrams)
        self.output_sequence_length = check_integer(
            "output_sequence_length", output_sequence_length, 1, None
        )
        self.ragged = refuse_sparse("ragged", ragged)
        super().__init__(
            max_tokens, mask_token="", vocabulary=vocabulary, idf_weights=idf_weights,
            output_mode=output_mode, pad_to_max_tokens=pad_to_max_tokens, sparse=sparse,
            encoding=encoding, **options,
        )
        if self._whole and output_mode != "int":
            raise ValueError(
                f"{self.name}: dtype={self._whole!r} requires output_mode='int'; it is "
                f"{output_mode!r}."
            )

    _gives_on_host = True

    @property
    def gives_integers(self) -> bool:
        return self.output_mode == "int"

    # -- words

    def rows_of(self, x: Any, argument: str, apart: bool = True) -> list[list[Any]]:
        """Return the words of each text."""
        array = _as_array(x)
        array = array.reshape(1) if array.ndim == 0 else array
        if self.split is not None and array.size != len(array):
            raise ValueError(
                f"{argument} has the shape {array.shape}; {self.name} splits texts (batch,) or "
                f"(batch, 1)."
            )
        rows = array.reshape(len(array), math.prod(array.shape[1:])).tolist()
        texts = [
            ["" if is_missing(v) else self._checked(v, argument, [k]) for v in row]
            for k, row in enumerate(rows)
        ]
        texts = self._standardized(texts)
        words = texts if self.split is None else self._split([text for (text,) in texts])
        if self._lengths is None:
            return words
        return [
            [" ".join(row[k : k + n]) for n in self._lengths for k in range(len(row) - n + 1)]
            for row in words
        ]

    def _standardized(self, texts: list[list[str]]) -> list[list[str]]:
        if self.standardize is None or not texts:
            return texts
        if isinstance(self.standardize, str):
            change = STANDARDS[self.standardize]
            return [list(map(change, row)) for row in texts]
        given = np.asarray(texts, str)
        given = given[:, 0] if self.split is not None else given
        found = np.asarray(self.standardize(given))
        if found.shape != given.shape:
            raise ValueError(
                f"{self.name}: standardize must return an array of the shape of its argument, "
                f"{given.shape}; got {found.shape}."
            )
        return [list(map(self._text, row)) for row in found.reshape(len(texts), -1).tolist()]

    def _split(self, texts: list[str]) -> list[list[str]]:
        if isinstance(self.split, str):
            return list(map(SPLITS[self.split], texts))
        found = [list(map(self._text, row)) for row in self.split(np.asarray(texts, str))]
        if len(found) != len(texts):
            raise ValueError(
                f"{self.name}: split must return a list of words for each of {len(texts)} texts; "
                f"got {len(found)}."
            )
        return found

    # -- codes

    def encode(self, x: Any, argument: str = "x") -> np.ndarray:
        self._require()
        if (array := _as_array(x)).ndim == 0:
            return self.encode(array[None], argument)[0]
        rows = self.rows_of(x, argument)
        mask, unknown = self.masked_code(), self._oov_start
        table = {**self._codes, "": mask}
        codes = [[table.get(word, unknown) for word in row] for row in rows]
        if self.output_mode == "int":
            width = self.output_sequence_length or max(map(len, codes), default=1) or 1
            found = np.zeros((len(codes), width), np.int32)
            for k, row in enumerate(codes):
                found[k, : len(row)] = row[:width]
            return found
        counts = np.zeros((len(codes), self.depth), np.float32)
        for k, row in enumerate(codes):
            np.add.at(counts[k], [code for code in row if code != mask], 1)
        if self.output_mode == "multi_hot":
            return np.minimum(counts, 1)
        weights = self._padded_weights()
        return counts if weights is None else counts * weights.astype(np.float32)

    def call(self, x: Any) -> Any:
        return x

    # -- shapes

    def _width(self) -> int | None:
        return self.output_sequence_length if self.output_mode == "int" else self.depth

    def _encoded_shapes(self, shapes: Sequence[SampleShape], found: Any) -> list[SampleShape]:
        if self.split is not None and np.prod(shapes[0]) != 1:
            raise ValueError(
                f"{self.name} splits one text of each row, such as of an input of shape (1,); got "
                f"the shape {tuple(shapes[0])}."
            )
        return [sample_of((self._width(),), "int32" if self.gives_integers else None)]

    @property
    def output_shape(self) -> Any:
        return (*super().output_shape[:1], self._width())  # `call` passes on what is encoded

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self._width())

    # -- files

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("standardize", "split"):
            if callable(value := config[name]):
                config[name] = name_of(FUNCTION, value)
                if config[name] is None:
                    raise ValueError(
                        f"{self.name}: {name} is a function, which no file can hold. Register it: "
                        f"@gpunn.saving.register_serializable()."
                    )
        return config
