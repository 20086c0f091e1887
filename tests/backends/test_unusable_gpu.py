"""The messages on a machine without a usable GPU."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from machines import COMPLETE, INSTALL_12, LACKING

from gpunn.backends.cupy.driver import gpu


def _forget() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.split(".")[0] in ("cupy", "cuda")]
    return {name: sys.modules.pop(name) for name in names}


@pytest.mark.parametrize("name", LACKING | COMPLETE)
def test_one_line_says_what_is_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = (LACKING | COMPLETE)[name]
    machine.write(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.syspath_prepend(tmp_path)
    kept = _forget()
    try:
        assert gpu.why_not.__wrapped__() == machine.line
    finally:
        _forget()
        sys.modules.update(kept)


def test_a_cupy_without_metadata_is_reported_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(LACKING["CuPy broken"], distributions=()).write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    reason = gpu.why_not.__wrapped__()
    assert reason is not None and reason.endswith(f"): {INSTALL_12}.")


@pytest.mark.parametrize(
    ("vendor", "kind", "there"),
    [("0x10de", "0x030000", True), ("0x10de", "0x040300", False), ("0x8086", "0x030000", False)],
)
def test_a_gpu_on_the_bus(vendor: str, kind: str, there: bool, tmp_path: Path) -> None:
    """Neither the sound device of an NVIDIA GPU counts, nor another maker's GPU."""
    assert not gpu.is_on_bus(tmp_path / "nothing such")
    (tmp_path / "0000:00:00.0").mkdir()  # removed before it is read
    device = tmp_path / "0000:01:00.0"
    device.mkdir()
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    assert gpu.is_on_bus(tmp_path) is there
