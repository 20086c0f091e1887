"""The folder of cached files, and the cache in it: what it returns was made for the same key."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpunn.common.cache import cache_folder, cached


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "{home}/.cache/gpunn"),
        ("linux", {"XDG_CACHE_HOME": "{home}/xdg"}, "{home}/xdg/gpunn"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "{home}/.cache/gpunn"),
        ("darwin", {}, "{home}/Library/Caches/gpunn"),
        ("win32", {"LOCALAPPDATA": "{home}/Local"}, "{home}/Local/gpunn/cache"),
        ("linux", {"GPUNN_CACHE": "~/mine", "XDG_CACHE_HOME": "{home}/xdg"}, "{home}/mine"),
    ],
)
def test_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str],
    expected: str,
) -> None:  # fmt: skip
    for name in ("GPUNN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(home=tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == Path(expected.format(home=tmp_path))


class Making:
    """Makes bytes for a key, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path, *key: str) -> bytes:
        def make() -> bytes:
            self.times += 1
            return "/".join(key).encode() * 100

        return cached(folder, key, make)


def test_the_same_key_is_made_once(tmp_path: Path) -> None:
    make, folder = Making(), tmp_path / "new" / "folder"
    assert {make(folder, "a", "b") for _ in range(3)} == {b"a/b" * 100}
    assert make.times == 1
    assert make(folder, "ab") == b"ab" * 100 and make(folder, "b", "a") == b"b/a" * 100
    assert make.times == 3


DAMAGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "empty": lambda own, other: b"",
    "truncated": lambda own, other: own[:-1],
    "longer": lambda own, other: own + b" ",
    "another": lambda own, other: b"something else",
    "of another key": lambda own, other: other,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_again(damage: str, tmp_path: Path) -> None:
    make = Making()
    make(tmp_path / "other", "b")
    make(tmp_path, "a")
    (other,) = (tmp_path / "other").iterdir()
    (own,) = (file for file in tmp_path.iterdir() if file.is_file())
    own.write_bytes(DAMAGES[damage](own.read_bytes(), other.read_bytes()))
    assert make(tmp_path, "a") == b"a" * 100 and make.times == 3
    assert make(tmp_path, "a") == b"a" * 100 and make.times == 3


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    make = Making()
    assert make(tmp_path / "file" / "folder", "a") == b"a" * 100
    assert make(tmp_path / "file" / "folder", "a") == b"a" * 100 and make.times == 2


def test_nothing_is_stored_of_an_error(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise ValueError("no result")

    with pytest.raises(ValueError, match="no result"):
        cached(tmp_path, "a", fail)
    assert Making()(tmp_path, "a") == b"a" * 100
