"""The site builds without a warning, loads nothing from elsewhere, and is searched offline."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.more
LOADS = re.compile(
    r"<(?:img|script|iframe|source)[^>]*\ssrc=\"([^\"]+)|<link[^>]*\shref=\"([^\"]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", str(ROOT / "docs")]
    done = subprocess.run([*command, str(built)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


def test_a_page_loads_only_files_of_the_site(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        for found in LOADS.findall(page.read_text(encoding="utf-8")):
            address = "".join(found).partition("?")[0].partition("#")[0]
            assert address.startswith("data:") or (page.parent / address).exists(), (page, address)


def test_formulas_are_mathml(site: Path) -> None:
    page = (site / "course" / "mathematics.html").read_text(encoding="utf-8")
    assert page.count("<math ") > 5 and "$" not in re.sub(
        r"<code.*?</code>|<pre.*?</pre>", "", page, flags=re.S
    )


def test_the_reference_has_what_a_beginner_looks_for(site: Path) -> None:
    api = site / "reference" / "api"
    for page, names in {
        "gpunn.layers": ["gpunn.layers.Dense", "gpunn.layers.Layer.add_weight"],
        "gpunn.models": ["gpunn.models.Model.fit"],
        "gpunn.callbacks": ["gpunn.callbacks.EarlyStopping"],
        "gpunn.ops": ["gpunn.ops.matmul"],
        "gpunn": ["gpunn.GradientTape"],
    }.items():
        text = (api / f"{page}.html").read_text(encoding="utf-8")
        for name in names:
            assert f'id="{name}"' in text, name


@pytest.mark.parametrize("words", ["early stopping", "sparse categorical", "float64"])
def test_search_works_offline(site: Path, words: str, chromium) -> None:
    page = chromium.new_context(offline=True).new_page()
    page.goto((site / "search.html").as_uri() + "?q=" + words.replace(" ", "+"))
    page.wait_for_selector("#search-results li a", timeout=30_000)
    found = " ".join(page.locator("#search-results li a").all_text_contents()).lower()
    assert words != "early stopping" or "stop early" in found, found
