"""Lookup of values in a vocabulary: the common part of the string and the integer lookup."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gpunn.common.arguments import check_flag, optional
from gpunn.common.fields import field
from gpunn.common.names import counted, first_few

from ..arguments import MOST_CODES
from .encoding import MODES, OfCodes, check_codes, encoded, mode_check, refuse_sparse
from .on_host import HostLayer, batches

UNKNOWN, DROPPED = -2, -1
"""Codes of out-of-vocabulary values, before they get their final code, and of masked values, which
are not counted."""


def refuse_salt(name: str, value: Any) -> None:
    if value is not None:
        raise ValueError(f"{name}: salted hashing is not supported; leave it out.")


class IndexLookup(OfCodes, HostLayer):
    """Base class of lookups, which handles the vocabulary; see subclasses for the arguments."""

    _abstract = True
    _given: ClassVar[Any]
    _given_weights: ClassVar[Any]

    max_tokens: int | None = field(default=None, check=optional(partial(check_codes, least=2)))
    num_oov_indices: int = field(default=1, check=partial(check_codes, least=0))
    mask_token: Any = field(default=None)
    oov_token: Any = field(default=None)
    vocabulary: Any = field(
        default=None, attribute="_given",
        managed=property(lambda layer: list(layer._tokens) or None),
    )
    idf_weights: Any = field(
        default=None, attribute="_given_weights",
        managed=property(lambda layer: list(layer._weights[layer._token_start :]) or None),
    )
    invert: bool = field(default=False, check=check_flag)
    output_mode: str = field(default="int", check=mode_check(*MODES))
    pad_to_max_tokens: bool = field(default=False, check=check_flag)
    sparse: bool = field(default=False, check=refuse_sparse)
    salt: Any = field(default=None, check=refuse_salt, attribute=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.invert and self.output_mode != "int":
            raise ValueError(
                f"{self.name}: invert=True requires output_mode='int'; got {self.output_mode!r}."
            )
        if self.pad_to_max_tokens and self.max_tokens is None:
            raise ValueError(f"{self.name}: pad_to_max_tokens=True needs max_tokens.")
        if self._given_weights is not None and self.output_mode != "tf_idf":
            raise ValueError(
                f"{self.name}: idf_weights require output_mode='tf_idf'; it is "
                f"{self.output_mode!r}."
            )
        self._tokens: list[Any] = []
        self._weights: tuple[float, ...] = ()
        given, weights = self._given, self._given_weights
        del self._given, self._given_weights
        self._is_given = given is not None  # so there is nothing to learn, as in Keras
        if given is not None:
            self.set_vocabulary(given, weights)

    # -- what a subclass implements

    def as_tokens(self, values: Any) -> list[Any]:
        """Return entries of a vocabulary as they are stored."""
        raise TypeError(f"{type(self).__name__} must define as_tokens(values).")

    def of_lines(self, lines: list[str], path: str) -> list[Any]:
        """Return entries of a vocabulary from the lines of a file."""
        return lines

    def found(self, x: Any, argument: str) -> tuple[np.ndarray, Any]:
        """Return the codes of an array, `UNKNOWN` for unknown values, and the values."""
        raise TypeError(f"{type(self).__name__} must define found(x, argument).")

    def buckets(self, values: list[Any]) -> list[int]:
        """Return which of several codes for unknown values each value gets."""
        raise TypeError(f"{type(self).__name__} must define buckets(values).")

    def rows_of(self, x: Any, argument: str, apart: bool) -> list[list[Any]]:
        """Return the values of an array without missing ones: row by row, or in one list."""
        raise TypeError(f"{type(self).__name__} must define rows_of(x, argument, apart).")

    def key(self, value: Any) -> Any:
        """Return what all values have in common that have the code of this one."""
        return value

    def _changed(self) -> None:
        """Called when the vocabulary has changed."""

    # -- the vocabulary

    @property
    def _oov_start(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _token_start(self) -> int:
        return self._oov_start + self.num_oov_indices

    def vocabulary_size(self) -> int:
        """Return the size of the vocabulary, including entries for masks and unknown values.

        >>> from gpunn.layers import StringLookup
        >>> StringLookup(vocabulary=["oak", "elm"]).vocabulary_size()
        3
        """
        return len(self._tokens) + self._token_start

    @property
    def depth(self) -> int:
        """Length of a row of the output, unless the output is a code."""
        if self.pad_to_max_tokens:
            assert self.max_tokens is not None
            return self.max_tokens
        self._require()
        return self.vocabulary_size()

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Return the vocabulary: an entry's index is its code.

        Args:
            include_special_tokens: whether to include the entries for masks and unknown values.

        Returns:
            A list of strings or integers.

        >>> from gpunn.layers import StringLookup
        >>> layer = StringLookup(vocabulary=["oak", "elm"])
        >>> layer.get_vocabulary(), layer.get_vocabulary(include_special_tokens=False)
        (['[UNK]', 'oak', 'elm'], ['oak', 'elm'])
        """
        special = [self.mask_token] * self._oov_start + [self.oov_token] * self.num_oov_indices
        return [*special, *self._tokens] if include_special_tokens else list(self._tokens)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the vocabulary, in the order of the codes.

        Args:
            vocabulary: an array or a list, with or without the entries for masks and unknown
                values at its start; or the path of a text file with one entry per line. Lines
                end at newlines, and at no other character; the file is in the layer's encoding.
            idf_weights: with ``output_mode="tf_idf"``, a weight for each entry.

        Raises:
            ValueError: for an empty vocabulary, for entries that occur twice or are reserved for
                masks, for more than max_tokens, for missing or too many weights, if the number of
                entries would change in a model that was built, and for a file that is no such text.

        >>> from gpunn.layers import StringLookup
        >>> layer = StringLookup()
        >>> layer.set_vocabulary(["oak", "elm"])
        >>> layer(["elm", "oak"]).tolist()
        [2, 1]
        """
        if isinstance(vocabulary, (str, os.PathLike)):
            from .vocabulary_files import lines_of

            lines = lines_of(vocabulary, getattr(self, "encoding", "utf-8"))
            vocabulary = self.of_lines(lines, os.fspath(vocabulary))
        entries = self.as_tokens(vocabulary)
        if not entries:
            raise ValueError(f"{self.name}: the vocabulary is empty.")
        special = self.get_vocabulary()[: self._token_start]
        has_special = bool(special) and entries[: len(special)] == special
        tokens = entries[len(special) :] if has_special else entries
        if not tokens:
            raise ValueError(
                f"{self.name}: the vocabulary holds nothing but {special!r}, the entries for "
                f"masks and unknown values."
            )
        twice = [token for token, count in Counter(map(self.key, tokens)).items() if count > 1]
        if twice:
            raise ValueError(f"{self.name}: the vocabulary holds {twice[0]!r} more than once.")
        for reserved in (self.mask_token, self.oov_token if self.invert else None):
            if reserved is not None and reserved in tokens:
                raise ValueError(
                    f"{self.name}: {reserved!r} is reserved, but occurs inside the vocabulary; it "
                    f"may be at its start, as in {special!r}, or be left out."
                )
        weights: tuple[float, ...] = ()
        if self.output_mode == "tf_idf":
            weights = self._checked_weights(idf_weights, len(entries))
            if not has_special:
                weights = (float(np.mean(weights)),) * self._token_start + weights
        elif idf_weights is not None:
            raise ValueError(f"{self.name}: idf_weights require output_mode='tf_idf'.")
        self._take(tokens, weights)

    def _checked_weights(self, given: Any, count: int) -> tuple[float, ...]:
        if given is None:
            raise ValueError(f"{self.name}: output_mode='tf_idf' needs idf_weights.")
        array = np.asarray(given)
        if array.shape != (count,) or array.dtype.kind not in "iuf":
            raise ValueError(
                f"{self.name}: idf_weights must be {count} numbers, one for each entry of the "
                f"vocabulary; got an array of shape {array.shape}."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{self.name}: idf_weights must be finite.")
        return tuple(array.astype(np.float64).tolist())

    def _take(self, tokens: list[Any], weights: tuple[float, ...]) -> None:
        size = len(tokens) + self._token_start
        if self.max_tokens is not None and size > self.max_tokens:
            raise ValueError(
                f"{self.name}: the vocabulary has {size} entries, but max_tokens is "
                f"{self.max_tokens}."
            )
        if size > MOST_CODES:
            raise ValueError(
                f"{self.name}: {size:,} entries are more than float32 can index, {MOST_CODES:,}."
            )
        fixed = self.output_mode != "int" and not self.pad_to_max_tokens
        if fixed and self.input_shape is not None and self._tokens and size != self.depth:
            raise ValueError(
                f"{self.name}: the vocabulary would have {size} entries, but the layer is part of "
                f"a model that was built for {self.depth}. Rebuild the model."
            )
        self._tokens, self._weights = tokens, weights
        self._changed()

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Set the vocabulary to the values of data, the most frequent first. Equally frequent
        values are in descending order. Missing values are left out.

        Args:
            data: values of any shape: an array, a list, a column of a frame, or batches of them;
                for ``"tf_idf"`` a row is a document.
            steps: how many batches are read; all by default.

        Raises:
            TypeError: for values of another kind.
            ValueError: for no values at all, if the layer was made with a vocabulary, and as in
                `set_vocabulary`.

        >>> from gpunn.layers import StringLookup
        >>> layer = StringLookup()
        >>> layer.adapt(["elm", "oak", "oak"])
        >>> layer.get_vocabulary()
        ['[UNK]', 'oak', 'elm']
        """
        if self._is_given:
            raise ValueError(
                f"{self.name}.adapt: the vocabulary was given to the layer. Make the layer without "
                f"one, or leave adapt out."
            )
        counts: Counter[Any] = Counter()
        in_documents: Counter[Any] = Counter()
        documents = 0
        for batch in batches(data, steps):
            weighs = self.output_mode == "tf_idf"
            for row in self.rows_of(batch, f"{self.name}.adapt: the data", weighs):
                counts.update(row)
                if weighs:
                    in_documents.update(set(row))
                    documents += 1
        for special in (self.mask_token, self.oov_token):
            counts.pop(special, None)
        if not counts:
            raise ValueError(f"{self.name}.adapt: the data hold no values for the vocabulary.")
        tokens = sorted(counts, key=lambda token: (counts[token], token), reverse=True)
        if self.max_tokens is not None:
            tokens = tokens[: max(self.max_tokens - self._token_start, 0)]
        weights: tuple[float, ...] = ()
        if self.output_mode == "tf_idf":
            of_tokens = [np.log(1 + documents / (1 + in_documents[token])) for token in tokens]
            weights = (float(np.mean(of_tokens)),) * self._token_start
            weights += tuple(map(float, of_tokens))
        self._take(tokens, weights)

    def _require(self) -> None:
        if not self._tokens:
            raise ValueError(
                f"{self.name} has no vocabulary yet: call {self.name}.adapt(data) first, or pass "
                f"vocabulary=[...]."
            )

    # -- codes

    @property
    def gives_integers(self) -> bool:
        return not self._gives_text

    def encode(self, x: Any, argument: str = "x") -> np.ndarray:
        self._require()
        if self.invert:
            return self._decoded(x, argument)
        codes, values = self.found(x, argument)
        unknown = codes == UNKNOWN
        if unknown.any():
            if not self.num_oov_indices:
                at = np.argwhere(unknown)[0].tolist()
                raise ValueError(
                    f"{argument} holds {values[tuple(at)]!r} at {at}, which is not in the "
                    f"vocabulary of {self.name}, and num_oov_indices is 0. With "
                    f"num_oov_indices=1 all such values get one code."
                )
            codes[unknown] = self._oov_start
            if self.num_oov_indices > 1:
                codes[unknown] += np.asarray(self.buckets(values[unknown].tolist()), codes.dtype)
        return codes if self._gives_on_host else np.atleast_1d(codes)

    def _decoded(self, x: Any, argument: str) -> np.ndarray:
        codes = np.asarray(x)
        if codes.dtype.kind not in "biuf" or (np.floor(codes) != codes).any():
            raise TypeError(
                f"{argument} must hold codes, which are whole numbers; its dtype is {codes.dtype}."
            )
        entries = np.asarray([*self.get_vocabulary(), self.oov_token])
        inside = (codes >= 0) & (codes < len(entries) - 1)
        return entries[np.where(inside, codes, len(entries) - 1).astype(np.int64)]

    def masked_code(self) -> int:
        """Return the code of the mask token."""
        return 0 if self.output_mode == "int" else DROPPED

    def missing_code(self, argument: str, place: list[int]) -> int:
        """Return the code of a missing value: the mask token's code, or the code of unknown
        values."""
        if self.mask_token is not None:
            return self.masked_code()
        if self.num_oov_indices:
            return self._oov_start
        raise ValueError(
            f"{argument} holds no value at {place}, and {self.name} has neither a mask_token nor "
            f"codes for unknown values. Fill in the value, or remove its row."
        )

    def call(self, x: Any) -> Any:
        mode = self.output_mode
        if mode == "int":
            return x
        return self._as_asked(encoded(x, mode, self.depth, self._padded_weights()))

    def _padded_weights(self) -> Any:
        if self.output_mode != "tf_idf":
            return None
        return np.pad(np.asarray(self._weights), (0, self.depth - len(self._weights)))

    # -- files

    def data_held(self) -> dict[str, str]:
        """Describe what the layer stores of the data's values, and so what a saved model tells
        about them.

        >>> from gpunn.layers import StringLookup
        >>> StringLookup(vocabulary=["oak", "elm"]).data_held()
        {'vocabulary': "2 categories: 'oak', 'elm'"}
        """
        if not self._tokens:
            return {}
        count = counted(len(self._tokens), "category", "categories")
        return {"vocabulary": f"{count}: {first_few(map(repr, self._tokens), 3)}"}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self._weights:
            config["vocabulary"] = self.get_vocabulary()
            config["idf_weights"] = list(self._weights)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        if isinstance(config.get("vocabulary"), str):
            raise ValueError("'vocabulary' names a file; a stored layer must hold its vocabulary.")
        layer = cls(**config)
        layer._is_given = False  # it may have been learned
        return layer
