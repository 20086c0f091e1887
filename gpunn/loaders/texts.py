"""Texts in folders as data sets, and sequences padded to one length."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice, check_integer

from .batching import check_format
from .folders import FilesDataset, parts_of


def text_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> FilesDataset | list[FilesDataset]:
    """Read the texts in a folder, which has a subfolder for each class, into batches for `fit`.

    Texts are the contents of files ``*.txt``, in UTF-8, with their ends of lines as they are; bytes
    that are not UTF-8 become U+FFFD. They are read beside the step.
    `gpunn.layers.TextVectorization` makes numbers of them.

    Args:
        max_length: Number of characters at which texts are cut off.

    The other arguments, and errors: as of `image_dataset_from_directory`.

    Returns:
        A data set of ``(texts, labels)``, or of texts: arrays (batch,) of strings. It has the
        methods of ``tf.data.Dataset``, and ``class_names`` and ``file_paths``.

    >>> import pathlib, tempfile
    >>> from gpunn.utils import text_dataset_from_directory
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, text in (("bad/1.txt", "Dull."), ("good/1.txt", "Fine!")):
    ...         path = pathlib.Path(folder, name)
    ...         path.parent.mkdir()
    ...         _ = path.write_text(text)
    ...     data = text_dataset_from_directory(folder, shuffle=False)
    ...     [(x.tolist(), y.tolist()) for x, y in data], data.class_names
    Found 2 files belonging to 2 classes.
    ([(['Dull.', 'Fine!'], [0, 1])], ['bad', 'good'])
    """
    check_format("format", format)
    most = check_integer("max_length", max_length, 1, None)
    parts = parts_of(
        directory, (".txt",), "texts", labels, label_mode, class_names, shuffle, seed,
        validation_split, subset, follow_links, verbose,
    )

    def read(paths: list[str], numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        files = (Path(paths[number]) for number in numbers)
        texts = [file.read_bytes().decode("utf-8", "replace")[:most] for file in files]
        return np.array(texts, object), numbers

    made = [part.dataset(partial(read, part.paths), batch_size) for part in parts]
    return made if subset == "both" else made[0]


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Return sequences as one array (sequences, maxlen, ...), padded or cut off to one length.

    Args:
        sequences: Lists or arrays of any lengths, of numbers or of entries of one shape.
        maxlen: The length; by default the longest's.
        dtype: Of the array; object for strings.
        padding: "pre" or "post": where values are added.
        truncating: "pre" or "post": where entries are cut off.
        value: Is added.

    Raises:
        ValueError: for entries of different shapes, for fractions or a string that the dtype
            cannot hold, and for something that is no sequence.

    >>> from gpunn.utils import pad_sequences
    >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2).tolist()
    [[0, 1], [2, 3], [5, 6]]
    """
    for name, given in (("padding", padding), ("truncating", truncating)):
        check_choice(name, given, ("pre", "post"))
    maxlen, kind = check_integer("maxlen", maxlen, 0, None), np.dtype(dtype)
    if isinstance(value, str) and kind.kind not in "OSU":
        raise ValueError(f"value={value!r} is a string: give dtype=object.")
    rows: list[np.ndarray] = []
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"sequences must be a list of sequences; got {sequences!r}.")
    for number, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise ValueError(f"sequences[{number}] is no sequence, but {sequence!r}.")
        cut = len(sequence) if maxlen is None else maxlen
        start = max(len(sequence) - cut, 0) if truncating == "pre" else 0
        rows.append(_as(kind, sequence[start : start + cut], f"sequences[{number}]"))
    inner = next((row.shape[1:] for row in rows if len(row)), ())
    longest = max(map(len, rows), default=0) if maxlen is None else maxlen
    fill = _as(kind, value, "value")
    made = np.full((len(rows), longest, *inner), fill, kind)
    for number, row in enumerate(rows):
        if len(row) and row.shape[1:] != inner:
            raise ValueError(
                f"sequences[{number}] has entries of shape {row.shape[1:]}, those before {inner}."
            )
        at = longest - len(row) if padding == "pre" else 0
        if len(row):
            made[number, at : at + len(row)] = row
    return made


def _as(dtype: np.dtype, values: Any, what: str) -> np.ndarray:
    """Return values in this dtype; fractions are refused where it holds integers."""
    given = np.asarray(values, dtype) if dtype.kind in "OSU" else np.asarray(values)
    if dtype.kind in "iu" and given.dtype.kind in "iuf" and given.size:
        if (given != np.trunc(given)).any():
            raise ValueError(f"{what} holds fractions, which {dtype} cannot: give dtype='float32'.")
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        if not (low <= given.min() and given.max() <= high):
            raise ValueError(f"{what} holds numbers that {dtype} cannot: give another dtype.")
    return given.astype(dtype)
