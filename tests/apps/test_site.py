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


def test_the_front_page_trains_in_the_colours_that_are_chosen(site: Path, chromium) -> None:
    page = chromium.new_context(offline=True, color_scheme="null").new_page()  # none pretended
    page.goto((site / "index.html").as_uri())
    frame = page.frame_locator("iframe")
    losses = frame.locator("#figures dd").filter(has_text="correct").first
    before = float(losses.inner_text().split(",")[0])
    frame.get_by_role("button", name="Epoch", exact=True).click()
    assert float(losses.inner_text().split(",")[0]) < before
    for theme, colour in {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}.items():
        page.evaluate("theme => { document.body.dataset.theme = theme; }", theme)
        page.frames[1].evaluate("""async (colour) => {
          while (getComputedStyle(document.documentElement).backgroundColor !== colour) {
            await new Promise(requestAnimationFrame);
          }
        }""", colour)


def test_the_line_that_installs_fits_a_phone(site: Path, chromium) -> None:
    page = chromium.new_context(offline=True, viewport={"width": 400, "height": 800}).new_page()
    page.goto((site / "index.html").as_uri())
    line = page.locator("pre").filter(has_text="pip install").first
    assert line.evaluate("block => block.scrollWidth <= block.clientWidth")


def test_a_button_copies_what_is_typed(site: Path, chromium) -> None:
    context = chromium.new_context(offline=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto((site / "how-to" / "install.html").as_uri())

    def copied(text: str) -> str:
        block = page.locator("div.highlight").filter(has_text=text).first
        block.hover()
        block.get_by_role("button", name="Copy").click()
        block.get_by_role("button", name="Copied").wait_for()
        return page.evaluate("navigator.clipboard.readText()")

    assert copied("Self-test  ...") == "gpunn doctor"
    assert copied("python3 -m venv").startswith("python3 -m venv .venv\n")
    assert copied(">>> import gpunn").startswith("import gpunn\ngpunn.Sequential(")


def test_only_pages_of_the_repository_link_to_their_source(site: Path) -> None:
    linked = 'rel="edit"'
    assert linked in (site / "how-to" / "install.html").read_text(encoding="utf-8")
    written = list((site / "reference" / "api").glob("*.html"))
    assert written and not [p for p in written if linked in p.read_text(encoding="utf-8")]
