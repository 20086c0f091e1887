"""Folders of files: the files, order, labels and parts of Keras for the same seed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.loaders.folders import Part, files_in, parts_of

FILES = ("cat/1.txt", "cat/2.txt", "cat/deep/3.txt", "cat-b/1.TXT", "dog/1.txt", "dog/2.txt")


@pytest.fixture(scope="module")
def dataset_utils(keras: Any) -> Any:
    return importlib.import_module("keras.src.utils.dataset_utils")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for name in (*FILES, "dog/notes.md", ".hidden/1.txt", "readme.txt"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    return str(tmp_path / "data")


def parts(folder: str, **given: Any) -> list[Part]:
    arguments: dict[str, Any] = {
        "labels": "inferred", "label_mode": "int", "class_names": None, "shuffle": True,
        "seed": 3, "validation_split": None, "subset": None, "follow_links": False,
    }  # fmt: skip
    return parts_of(folder, (".txt",), "texts", **(arguments | given))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("names", [None, ["dog", "cat"]])
def test_files_and_labels_are_those_of_keras(
    dataset_utils: Any, folder: str, shuffle: bool, names: list[str] | None
) -> None:
    theirs = dataset_utils.index_directory(
        folder, "inferred", (".txt",), names, shuffle, 3, verbose=False
    )
    (part,) = parts(folder, shuffle=shuffle, class_names=names)
    assert part.labels is not None
    assert (part.paths, part.labels.tolist(), part.class_names) == (
        theirs[0], theirs[1].tolist(), theirs[2],
    )  # fmt: skip


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_parts_are_those_of_keras_disjoint_and_complete(
    dataset_utils: Any, folder: str, share: float
) -> None:
    every = dataset_utils.index_directory(folder, "inferred", (".txt",), seed=3, verbose=False)
    for subset in ("training", "validation"):
        (part,) = parts(folder, validation_split=share, subset=subset)
        assert part.labels is not None
        theirs = dataset_utils.get_training_or_validation_split(*every[:2], share, subset)
        assert (part.paths, part.labels.tolist()) == (theirs[0], theirs[1].tolist())
    both = parts(folder, validation_split=share, subset="both", seed=None)
    assert sorted(both[0].paths + both[1].paths) == sorted(every[0])
    assert not {*both[0].paths} & {*both[1].paths}


def test_label_modes(folder: str) -> None:
    (part,) = parts(folder, label_mode="categorical", shuffle=False)
    assert part.labels is not None and part.labels.dtype == np.float32
    assert part.labels.argmax(-1).tolist() == [0, 0, 0, 1, 2, 2]
    (part,) = parts(folder, label_mode="binary", class_names=["dog", "cat"], shuffle=False)
    assert part.labels is not None and part.labels.tolist() == [[0], [0], [1], [1], [1]]
    for given in ({"labels": None}, {"label_mode": None}):  # all files anywhere
        (part,) = parts(folder, shuffle=False, **given)
        assert part.labels is None and part.class_names is None and len(part.paths) == 8 - 1
    (part,) = parts(folder, labels=[5, 4, 5, 4, 5, 4, 5], shuffle=False)
    assert part.labels is not None
    assert part.labels.tolist() == [5, 4, 5, 4, 5, 4, 5] and part.class_names == ["4", "5"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no seed": ({"validation_split": 0.5, "subset": "training", "seed": None}, "needs a seed"),
    "a share without a part": ({"validation_split": 0.5}, "given together"),
    "a part without a share": ({"subset": "both"}, "given together"),
    "a share above one": ({"validation_split": 2.0, "subset": "both"}, "between 0 and 1"),
    "an empty part": ({"validation_split": 0.1, "subset": "both"}, "leaves one part empty"),
    "no such class": ({"class_names": ["cat", "cow"]}, "must be different subfolders"),
    "a class twice": ({"class_names": ["cat", "cat"]}, "must be different subfolders"),
    "names beside own labels": ({"labels": [0] * 7, "class_names": ["a"]}, "class_names"),
    "labels of a wrong number": ({"labels": [0, 1]}, "one integer for each of the 7 files"),
    "labels of a wrong kind": ({"labels": [0.5] * 7}, "one integer for each"),
    "labels with a gap": ({"labels": [0, 2] * 3 + [0], "label_mode": "categorical"}, "from 0 to 1"),
    "a wrong mode": ({"label_mode": "float"}, "label_mode must be one of"),
    "three classes as two": ({"label_mode": "binary"}, "exactly two classes"),
    "one class": ({"class_names": ["dog"]}, "only one subfolder"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_unusable_arguments_are_refused(folder: str, case: str) -> None:
    given, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        parts(folder, **given)


def test_unusable_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        parts(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="no subfolders with texts"):
        parts(str(tmp_path))
    with pytest.raises(ValueError, match="has no texts that can be read"):
        parts(str(tmp_path), labels=None)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text("")
    (tmp_path / "b" / "1.txt").unlink()
    with pytest.raises(ValueError, match="no texts in b: remove"):
        parts(str(tmp_path))


def test_files_that_the_check_objects_to_are_named_and_left_out(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = f"{folder}/cat/2.txt"
    both = parts(
        folder, validation_split=0.4, subset="both",
        check=lambda paths: ["it is odd" if path == bad else None for path in paths],
    )  # fmt: skip
    assert [len(part.paths) for part in both] == [3, 2]
    assert not any(bad in part.paths for part in both)
    printed = capsys.readouterr().out
    assert "Found 6 files belonging to 3 classes." in printed and "left out: it is odd" in printed


def test_links_are_followed_once(folder: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "loop").symlink_to(folder, target_is_directory=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.txt").write_text("")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "other", target_is_directory=True)
    without = files_in(folder, (".txt",))
    assert sorted(files_in(folder, (".txt",), True)) == sorted([*without, f"{folder}/link/1.txt"])


def test_a_data_set_reads_each_file_once_a_pass(folder: str) -> None:
    (part,) = parts(folder)
    assert part.labels is not None
    reads: list[int] = []

    def read(numbers: np.ndarray) -> Any:
        reads.extend(numbers.tolist())
        return np.array([part.paths[n] for n in numbers]), numbers

    data = part.dataset(read, 4)
    assert (len(data), data.class_names, data.file_paths) == (
        2,
        ["cat", "cat-b", "dog"],
        part.paths,
    )
    label_of = dict(zip(part.paths, part.labels.tolist(), strict=True))
    passes = [[(*batch,) for batch in data] for _ in range(2)]
    for batches in passes:
        read_paths = [path for x, _ in batches for path in x.tolist()]
        assert sorted(read_paths) == sorted(part.paths)
        assert [label_of[path] for path in read_paths] == [
            n for _, y in batches for n in y.tolist()
        ]
    assert sorted(reads) == sorted([*range(6)] * 2) and reads[:6] != reads[6:]
    single = part.dataset(read, None)
    assert len(single) == 6 and all(x.shape == () for x, _ in single)
