"""`make release`, in the repository of a small package: what it refuses, changes and checks."""

from __future__ import annotations

import datetime
import os
import re
import runpy
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.version import Version

import gpunn

pytestmark = pytest.mark.checks("tools/release.py", "Makefile")

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "release.py"
RELEASE = runpy.run_path(str(TOOL))
REFUSAL = RELEASE["Refusal"]
DAY = datetime.date(2026, 2, 3)

CHANGELOG = """# Changelog

## [Unreleased]

- It says hello.

### Details

- In one word.

[Unreleased]: https://example.org/little/commits/main
"""
FILES = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "gpunn"
dynamic = ["version"]
description = "Says hello"
readme = "README.md"

[tool.setuptools]
packages = ["gpunn"]

[tool.setuptools.dynamic]
version = { attr = "gpunn._version.__version__" }
""",
    "README.md": "# Little\n\nSays hello.\n",
    "CHANGELOG.md": CHANGELOG,
    "CITATION.cff": "cff-version: 1.2.0\ntitle: gpunn\nversion: 0.0.1.dev0\nmessage: Cite it.\n",
    "gpunn/__init__.py": "from ._version import __version__\n",
    "gpunn/_version.py": '__version__ = "0.0.1.dev0"\n',
    ".gitignore": "/dist/\n/build/\n*.egg-info/\n__pycache__/\n",
}
IDENTITY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull} | {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Somebody"), ("EMAIL", "somebody@example.org"))
}
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "GPUNN", "GIT_", "MAKE"))
} | IDENTITY
# Archives of another version, without a build: a wheel and a source archive of 0.0.7.
STALE = """
import io, pathlib, tarfile, zipfile
pathlib.Path("dist").mkdir()
text = b"Metadata-Version: 2.4\\nName: gpunn\\nVersion: 0.0.7\\n"
with zipfile.ZipFile("dist/gpunn-0.0.7-py3-none-any.whl", "w") as wheel:
    wheel.writestr("gpunn-0.0.7.dist-info/METADATA", text)
with tarfile.open("dist/gpunn-0.0.7.tar.gz", "w:gz") as sources:
    info = tarfile.TarInfo("gpunn-0.0.7/PKG-INFO")
    info.size = len(text)
    sources.addfile(info, io.BytesIO(text))
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, env=ENVIRONMENT, check=True,
                          capture_output=True, text=True)  # fmt: skip
    return done.stdout


def released(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), "--root", str(folder), *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)


def commit(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Say more")


@pytest.fixture
def little(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    commit(tmp_path)
    return tmp_path


def test_the_changelog_gets_the_day_and_a_new_empty_section():
    text = RELEASE["dated"](CHANGELOG, Version("0.1.0"), DAY)
    assert text == CHANGELOG.replace(
        "## [Unreleased]\n", "## [Unreleased]\n\n## [0.1.0] - 2026-02-03\n"
    ).replace(
        "[Unreleased]: https://example.org/little/commits/main\n",
        "[Unreleased]: https://example.org/little/compare/v0.1.0...HEAD\n"
        "[0.1.0]: https://example.org/little/releases/tag/v0.1.0\n",
    )
    assert RELEASE["released"](text) == [Version("0.1.0")]
    with pytest.raises(REFUSAL, match="is empty"):
        RELEASE["dated"](text, Version("0.2.0"), DAY)
    text = text.replace("## [Unreleased]\n", "## [Unreleased]\n\n- It says goodbye.\n")
    text = RELEASE["dated"](text, Version("0.2.0rc1"), DAY)
    assert "## [Unreleased]\n\n## [0.2.0rc1] - 2026-02-03\n\n- It says goodbye.\n" in text
    assert text.endswith(
        "[Unreleased]: https://example.org/little/compare/v0.2.0rc1...HEAD\n"
        "[0.2.0rc1]: https://example.org/little/compare/v0.1.0...v0.2.0rc1\n"
        "[0.1.0]: https://example.org/little/releases/tag/v0.1.0\n"
    )


def test_a_changelog_without_links_gets_none():
    text = CHANGELOG.partition("[Unreleased]:")[0]
    assert "example" not in RELEASE["dated"](text, Version("0.1.0"), DAY)


def test_the_citation_has_one_version_and_one_day():
    for text in (FILES["CITATION.cff"], FILES["CITATION.cff"] + "date-released: 2020-01-01\n"):
        cited = yaml.safe_load(RELEASE["cited"](text, Version("0.1.0"), DAY))
        assert cited == yaml.safe_load(FILES["CITATION.cff"]) | {
            "version": "0.1.0", "date-released": DAY,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("changelog", "message"),
    [
        (CHANGELOG.replace("- It says hello.\n", ""), "begins with 0 items"),
        (CHANGELOG.replace("- It says hello.\n", "- It says hello.\n" * 26), "with 26 items"),
        (re.sub("^- .*\n", "", CHANGELOG, flags=re.MULTILINE), r"\[Unreleased\] is empty"),
        (CHANGELOG.replace("## [Unreleased]", "## [Next]"), r"'## \[Next\]' has no date"),
        (CHANGELOG.replace("## [Unreleased]", "## Unreleased"), "and has 0"),
        (CHANGELOG.replace("### Details", "## [0.0.1]"), r"'## \[0.0.1\]' has no date"),
        (CHANGELOG.replace("### Details", "## [0.0.1] - soon"), "has no date"),
        (CHANGELOG.replace("### Details", "## [later] - 2026-01-01"), "'later' is not a version"),
        (CHANGELOG.replace("### Details", "## [0.1.0] - 2026-01-01"), "not above the last version"),
        (CHANGELOG.replace("### Details", "## [0.9.0] - 2026-01-01"), "last version, 0.9.0"),
    ],
)
def test_a_changelog_that_is_not_ready_is_refused(little, changelog, message):
    commit(little, **{"CHANGELOG.md": changelog})
    refused(little, message, "0.1.0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say which version: make release VERSION=0.1.0"),
        (["one"], "'one' is not a version"),
        (["0.1.0.dev1"], "of a working tree"),
        (["0.1.0+mine"], "of a working tree"),
        (["v0.1.0"], "'v0.1.0' is written 0.1.0"),
        (["0.2.0-rc.1"], "is written 0.2.0rc1"),
        (["0.1.0", "--date", "2026-02-30"], "'2026-02-30' is not a date"),
        (["0.1.0", "--date", "tomorrow"], "'tomorrow' is not a date"),
        (["0.1.0", "--date", "2999-01-01"], "in the future"),
    ],
)
def test_what_is_no_version_or_day_is_refused(little, arguments, message):
    refused(little, message, *arguments)


def test_a_version_not_above_the_highest_tag_is_refused(little):
    for tag in ("v0.9.0", "v0.10.0", "v0.2.0", "very-old"):
        git(little, "tag", tag)
    for version in ("0.9.1", "0.10.0", "0.10.0rc1"):
        refused(little, f"{version} is not above the last version, 0.10.0", version)


def test_a_tree_with_uncommitted_files_is_refused(little):
    (little / "gpunn" / "more.py").write_text("")
    refused(little, "gpunn/more.py", "0.1.0", left={"?? gpunn/more.py"})
    (little / "gpunn" / "more.py").unlink()
    (little / "README.md").write_text("Says nothing.\n")
    refused(little, "M README.md", "0.1.0", left={" M README.md"})


def test_outside_of_a_repository_it_is_refused(little):
    (little / ".git").rename(little / "not-git")
    done = released(little, "0.1.0")
    assert done.returncode == 1 and "git status" in done.stderr
    assert (little / "CHANGELOG.md").read_text() == CHANGELOG


def refused(folder: Path, message: str, *arguments: str, left: set[str] = frozenset()) -> None:
    """Check that a release ends with a message, and has changed nothing."""
    done = released(folder, *arguments)
    assert done.returncode == 1 and re.search(message, done.stderr), done.stderr
    assert done.stderr.startswith("release: ") and "Traceback" not in done.stderr
    assert set(git(folder, "status", "--porcelain").splitlines()) == left
    assert not (folder / "dist").exists()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("false", "This failed, with status 2: make wheels"),
        (f"{sys.executable} stale.py", "gpunn-0.0.7-py3-none-any.whl is gpunn 0.0.7"),
        ("mkdir dist && touch dist/a.txt dist/a.tar.gz", "a.tar.gz is no wheel"),
    ],
)
def test_after_a_failure_the_files_are_as_before_and_dist_is_kept(little, recipe, message):
    files = {"stale.py": STALE, "Makefile": f"wheels:\n\t{recipe}\n"}
    commit(little, **files)
    done = released(little, "0.1.0")
    assert done.returncode == 1 and message in done.stderr
    assert "as before" in done.stderr and "Next, by hand" not in done.stdout
    assert git(little, "status", "--porcelain") == ""
    assert (little / "dist").exists() == (recipe != "false")


@pytest.mark.skipif(os.name == "nt", reason="signals end a process there at once")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_sets_the_files_back(little, number):
    commit(little, Makefile="wheels:\n\t@cat gpunn/_version.py\n\t@cat > /dev/null\n")
    command = [sys.executable, str(TOOL), "--root", str(little), "0.1.0"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        # What is built has the new version, and the build now waits for its input.
        assert process.stdout.readline() == '__version__ = "0.1.0"\n'
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == 130 and "interrupted" in errors and "Traceback" not in errors
    assert git(little, "status", "--porcelain") == ""


@pytest.mark.more
def test_a_release_is_built_checked_and_left_uncommitted(little):
    head = git(little, "rev-parse", "HEAD")
    (little / "dist").mkdir()
    (little / "dist" / "gpunn-0.0.0.tar.gz").write_text("of another day")
    done = released(little, "0.1.0", "--date", str(DAY))
    assert done.returncode == 0, done.stderr
    assert git(little, "rev-parse", "HEAD") == head and git(little, "tag") == ""
    changed = {" M CHANGELOG.md", " M CITATION.cff", " M gpunn/_version.py"}
    assert set(git(little, "status", "--porcelain").splitlines()) == changed
    archives = {"gpunn-0.1.0-py3-none-any.whl", "gpunn-0.1.0.tar.gz"}
    assert {path.name for path in (little / "dist").iterdir()} == archives
    with zipfile.ZipFile(little / "dist" / "gpunn-0.1.0-py3-none-any.whl") as wheel:
        assert wheel.read("gpunn/_version.py") == b'__version__ = "0.1.0"\n'
    assert done.stdout.count("PASSED") == 2  # twine's
    assert "installs, and is 0.1.0" in done.stdout
    # The printed commands make the release; the same version is then not above the last.
    (step,) = re.findall("^  (git commit .*)$", done.stdout, re.MULTILINE)
    (tag,) = re.findall("^  (git tag .*)$", done.stdout, re.MULTILINE)
    for command in (step, tag):
        subprocess.run(command, shell=True, cwd=little, env=ENVIRONMENT, check=True)
    assert git(little, "describe") == "v0.1.0\n"
    done = released(little, "0.1.0")
    assert done.returncode == 1 and "not above the last version, 0.1.0" in done.stderr


def test_the_changelog_of_this_tree_can_be_released_or_was():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    try:
        assert "## [99.0.0] - 2026-02-03\n" in RELEASE["dated"](text, Version("99.0.0"), DAY)
    except REFUSAL as error:  # nothing is there yet that is newer than the last release
        assert "is empty" in str(error) and RELEASE["released"](text)


def test_the_version_and_the_address_are_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == gpunn.__version__
    assert cited["license"] == project["license"]
    home = project["urls"]["Homepage"]
    assert cited["url"] == cited["repository-code"] == home
    texts = [ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", *(ROOT / ".github").rglob("*.yml")]
    for path in texts:
        for address in re.findall(
            r"https://github\.com/[\w.-]*gpunn[^\s)]*", path.read_text("utf-8")
        ):
            assert address.startswith(f"{home}/"), path


def test_what_the_changelog_the_security_page_and_the_issue_forms_link_to_is_there():
    for path in [ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *(ROOT / ".github").rglob("*.yml")]:
        text = path.read_text(encoding="utf-8")
        for file in re.findall(r"(?:blob/main/|\]\()((?:docs|benchmarks)/[\w/.-]+\.md)", text):
            assert (ROOT / file).exists(), file
