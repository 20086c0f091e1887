"""What the README shows is correct."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_script_runs(tmp_path: Path, mnist: tuple) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len([line for line in script.splitlines() if line.strip()]) <= 10
    short = script.replace("epochs=5", "epochs=1")
    assert short != script
    result = subprocess.run(
        [sys.executable, "-c", short], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "val_acc" in result.stdout
    assert (tmp_path / "model.gpunn").stat().st_size > 400_000


def test_links_lead_somewhere() -> None:
    """They are absolute, since a package index shows the page too."""
    address = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]
    host, _, path = address.partition("github.com/")
    places = f"{address}/blob/main/", f"{host}raw.githubusercontent.com/{path}/main/"
    links = re.findall(r"\]\(([^)#]+)|src=\"([^\"]+)", README)
    assert len(links) > 10
    for link in map("".join, links):
        place = next((place for place in places if link.startswith(place)), None)
        assert place and (ROOT / link.removeprefix(place)).exists(), link


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 100


def test_as_many_scripts_run_as_it_says() -> None:
    results = json.loads((ROOT / "benchmarks/results/programs.json").read_text(encoding="utf-8"))
    totals = results["totals"]
    run, programs = totals["run_unchanged"], totals["trained_by_fit"]
    assert f"{run} of {programs} [programs by others]" in README
    assert f"{run} of {programs} programs" in (ROOT / "benchmarks/results/programs.md").read_text()
    outcomes = [p["outcome"]["error"] for p in results["programs"] if "hand" not in p["needs"]]
    assert (outcomes.count(None), len(outcomes)) == (run, programs)
