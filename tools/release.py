"""Prepare a release: `make release VERSION=0.1.0`.

This sets the version, dates the changelog, builds the archives in dist/ and checks them. It commits
and publishes nothing: the changed files stay uncommitted, and the commands that remain are printed.

It refuses, before it changes anything: a tree with uncommitted files, a version that is not one or
is not above the last, and a changelog whose section [Unreleased] is empty or begins without a
summary. After a failure or an interrupt, the files are as they were; dist/ is kept for inspection.
"""

from __future__ import annotations

import argparse
import datetime
import email
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = "CHANGELOG.md"
CITATION = "CITATION.cff"
SUMMARY_LINES = 25  # at most
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
UNRELEASED = "## [Unreleased]"
SECTION = re.compile(r"^## \[(?P<version>[^\]]+)\](?P<rest>.*)$", re.MULTILINE)
REFERENCE = re.compile(r"^\[[^\]]+\]: \S+$", re.MULTILINE)
ITEM = re.compile(r"^- \S", re.MULTILINE)


class Refusal(Exception):
    """The release cannot be made; the message says why, and what to do."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version", nargs="?", default="", help="the version, as 0.1.0")
    parser.add_argument("--date", default="", help="the day of the release (today)")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for number in INTERRUPTS:  # also where whoever started this ignores them
        signal.signal(number, signal.default_int_handler)
    try:
        release(options.root, options.version, options.date)
    except Refusal as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("release: interrupted", file=sys.stderr)
        return 130
    return 0


def release(root: Path, wanted: str, day: str) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    name = project["project"]["name"]
    version = parsed(wanted)
    date = parsed_date(day)
    refuse_dirty(root)
    changelog = (root / CHANGELOG).read_text(encoding="utf-8")
    refuse_not_above(version, [*tagged(git(root, "tag", "--list", "v*")), *released(changelog)])
    edits = {
        root / name / "_version.py": lambda text: with_version(text, version),
        root / CHANGELOG: lambda text: dated(text, version, date),
        root / CITATION: lambda text: cited(text, version, date),
    }
    before = {path: path.read_text(encoding="utf-8") for path in edits}
    after = {path: edit(before[path]) for path, edit in edits.items()}
    try:
        for path, text in after.items():
            path.write_text(text, encoding="utf-8", newline="\n")
        archives = build(root)
        check(archives, name, version)
    except BaseException:
        restore(before)
        raise
    print(next_steps(name, version, archives, git(root, "branch", "--show-current").strip()))


# What a release requires.


def parsed(text: str) -> Version:
    """Return the version that a text names.

    Raises:
        Refusal: if it is none, or not one that an index would keep under this spelling.
    """
    if not text:
        raise Refusal("Say which version: make release VERSION=0.1.0")
    try:
        version = Version(text)
    except InvalidVersion:
        raise Refusal(f"{text!r} is not a version. Examples: 0.1.0, 0.2.0rc1.") from None
    if version.local or version.is_devrelease:
        raise Refusal(f"{text} is a version of a working tree. Examples: 0.1.0, 0.2.0rc1.")
    if str(version) != text:
        raise Refusal(f"{text!r} is written {version}: make release VERSION={version}")
    return version


def parsed_date(text: str) -> datetime.date:
    today = datetime.datetime.now(datetime.UTC).date()
    if not text:
        return today
    try:
        date = datetime.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise Refusal(f"{text!r} is not a date. Write it as {today}, or leave it out.") from None
    if date > today + datetime.timedelta(days=1):  # tomorrow has begun somewhere
        raise Refusal(f"{date} is in the future. Leave the date out, for {today}.")
    return date


def refuse_dirty(root: Path) -> None:
    files = git(root, "status", "--porcelain", "--untracked-files=all").splitlines()
    if files:
        more = [f"  and {len(files) - 10} more"] if len(files) > 10 else []
        raise Refusal(
            "\n".join(["These files are not committed. Commit, move or delete them first:",
                       *files[:10], *more])
        )  # fmt: skip


def tagged(tags: str) -> list[Version]:
    """Return the versions among the names of tags, as `v0.1.0`, one a line."""
    found = []
    for tag in tags.split():
        try:
            found.append(Version(tag.removeprefix("v")))
        except InvalidVersion:
            continue
    return found


def released(changelog: str) -> list[Version]:
    """Return the versions that have a section of the changelog.

    Raises:
        Refusal: if such a section has no date, or its version is none.
    """
    found = []
    for match in SECTION.finditer(changelog):
        if match["version"] == "Unreleased":
            continue
        if not re.fullmatch(r" - \d{4}-\d\d-\d\d", match["rest"].rstrip()):
            raise Refusal(
                f"{CHANGELOG}: the section {match[0]!r} has no date. Write "
                f"'## [{match['version']}] - YYYY-MM-DD'."
            )
        try:
            found.append(Version(match["version"]))
        except InvalidVersion:
            raise Refusal(f"{CHANGELOG}: {match['version']!r} is not a version.") from None
    return found


def refuse_not_above(version: Version, earlier: Iterable[Version]) -> None:
    last = max(earlier, default=None)
    if last is not None and version <= last:
        raise Refusal(f"{version} is not above the last version, {last}. Choose a higher one.")


# The files, as texts.


def with_version(text: str, version: Version) -> str:
    """Return the module that declares the version, with another one."""
    return _replaced(r'^__version__ = "[^"]*"$', f'__version__ = "{version}"', text, "_version.py")


def cited(text: str, version: Version, date: datetime.date) -> str:
    """Return the citation with another version and day."""
    text = re.sub(r"^date-released: .*\n", "", text, flags=re.MULTILINE)
    lines = f"version: {version}\ndate-released: {date}"
    return _replaced(r"^version: .*$", lines, text, CITATION)


def dated(text: str, version: Version, date: datetime.date) -> str:
    """Return the changelog, whose section [Unreleased] became the version's.

    An empty section for what follows is put above, and links at the end of the file are renewed.

    Raises:
        Refusal: if the section is missing, empty, or does not begin with a summary.
    """
    start, body, end = unreleased(text)
    head = f"{UNRELEASED}\n\n## [{version}] - {date}\n"
    return linked(f"{text[:start]}{head}{body}{text[end:]}", version)


def unreleased(text: str) -> tuple[int, str, int]:
    """Return the section [Unreleased]: where it begins, what stands below its title, its end."""
    titles = [match for match in SECTION.finditer(text) if match["version"] == "Unreleased"]
    if len(titles) != 1:
        raise Refusal(f"{CHANGELOG} must have one section '{UNRELEASED}', and has {len(titles)}.")
    start = titles[0].end() + 1
    ends = [match.start() for match in SECTION.finditer(text, start)]
    ends += [match.start() for match in REFERENCE.finditer(text, start)]
    end = min(ends, default=len(text))
    body = text[start:end]
    if not ITEM.search(body):
        raise Refusal(f"{CHANGELOG}: the section [Unreleased] is empty. List what users notice.")
    summary = len(ITEM.findall(re.split(r"^###", body, flags=re.MULTILINE)[0]))
    if not 1 <= summary <= SUMMARY_LINES:
        raise Refusal(
            f"{CHANGELOG}: the section [Unreleased] begins with {summary} items. Put a summary for "
            f"users, of 1 to {SUMMARY_LINES} items, before its first '###'."
        )
    return titles[0].start(), body, end


def linked(text: str, version: Version) -> str:
    """Return the changelog with the links of its titles renewed, if it has such links.

    The link of [Unreleased] compares with the version, which gets a link of its own.
    """
    match = re.search(r"^\[Unreleased\]: (?P<base>\S+)/(?P<what>compare|commits)/(?P<since>\S+)$",
                      text, re.MULTILINE)  # fmt: skip
    if match is None:
        return text
    base, since = match["base"], match["since"].removesuffix("...HEAD")
    first = match["what"] == "commits"
    link = f"releases/tag/v{version}" if first else f"compare/{since}...v{version}"
    lines = [f"[Unreleased]: {base}/compare/v{version}...HEAD", f"[{version}]: {base}/{link}"]
    return text[: match.start()] + "\n".join(lines) + text[match.end() :]


def _replaced(pattern: str, line: str, text: str, file: str) -> str:
    text, count = re.subn(pattern, lambda match: line, text, flags=re.MULTILINE)
    if count != 1:
        raise Refusal(f"{file} must have one line like {pattern!r}, and has {count}.")
    return text


def restore(before: dict[Path, str]) -> None:
    """Set files back. A second interrupt does not stop this."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTS}
    for path, text in before.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    for number, handler in handlers.items():
        signal.signal(number, handler)
    print("release: the version, the changelog and the citation are as before", file=sys.stderr)


# Building and checking.


def build(root: Path) -> list[Path]:
    """Build the archives in an empty dist/, and return them."""
    shutil.rmtree(root / "dist", ignore_errors=True)
    makefile = root / "Makefile"
    has_wheels = makefile.exists() and re.search(r"^wheels:", makefile.read_text("utf-8"), re.M)
    run(*(["make", "wheels"] if has_wheels else [sys.executable, "-m", "build"]), cwd=root)
    if not list((root / "dist").glob("*.tar.gz")):
        run(sys.executable, "-m", "build", "--sdist", cwd=root)
    return sorted((root / "dist").iterdir())


def check(archives: list[Path], name: str, version: Version) -> None:
    """Check the archives: their metadata, by twine, and the wheel for this Python in a new `venv`.

    Raises:
        Refusal: if one does not pass.
    """
    wheels = [path for path in archives if path.suffix == ".whl"]
    for archive in archives:
        found = metadata(archive)
        if found != (name, str(version)):
            raise Refusal(f"{archive.name} is {' '.join(found)} by its metadata.")
    best = [
        path for tag in sys_tags() for path in wheels if tag in parse_wheel_filename(path.name)[3]
    ]
    if not best:
        raise Refusal(f"No wheel in dist/ is for this Python: {[path.name for path in wheels]}")
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        new = Path(folder)
        run(sys.executable, "-m", "venv", new / "venv", cwd=new)
        python = new / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        install = (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        run(*install, best[0].resolve(), cwd=new)
        script = f"import {name}; print({name}.__version__)"
        imported = run(python, "-c", script, cwd=new, capture=True).strip()
        run(*install, "twine", cwd=new)
        files = [archive.resolve() for archive in archives]
        run(python, "-m", "twine", "check", "--strict", *files, cwd=new)
    if imported != str(version):
        raise Refusal(f"{best[0].name}, installed, says that it is {imported}.")
    print(f"release: {best[0].name} installs, and is {imported}", flush=True)


def metadata(archive: Path) -> tuple[str, str]:
    """Return the name and the version of a wheel or a source archive."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                (member,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
                text = wheel.read(member)
        else:
            with tarfile.open(archive) as sources:
                file = sources.extractfile(archive.name.removesuffix(".tar.gz") + "/PKG-INFO")
                text = file.read() if file else b""
    except (ValueError, KeyError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise Refusal(f"dist/{archive.name} is no wheel and no source archive: {error}") from None
    message = email.message_from_bytes(text)
    return str(message["Name"]), str(message["Version"])


def next_steps(name: str, version: Version, archives: list[Path], branch: str) -> str:
    tag = f"v{version}"
    lines = [f"{name} {version} is built and checked. Nothing is committed or published. In dist/:"]
    lines += [f"  {archive.name}" for archive in archives]
    if any(re.search(r"-linux_\w+\.whl$", archive.name) for archive in archives):
        lines += ["A package index rejects wheels for linux_*, without a C library in their name."]
    lines += [
        "Next, by hand:",
        "  git diff",
        f'  git commit --all --message "Release {version}"',
        f'  git tag --annotate {tag} --message "{name} {version}"',
        f"  git push origin {branch or 'HEAD'} {tag}",
        "  twine upload dist/*",
        "To discard it: git restore .",
    ]
    return "\n".join(lines)


def git(root: Path, *arguments: str) -> str:
    return run("git", *arguments, cwd=root, capture=True)


def run(*command: str | Path, cwd: Path, capture: bool = False) -> str:
    """Run a command outside of the Make that runs this, and return what it prints if asked to.

    Raises:
        Refusal: if it fails.
    """
    made = ("MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS", "VERSION", "DATE", "PYTHONPATH")
    given = {key: value for key, value in os.environ.items() if key not in made}
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=cwd, env=given, text=True,
                              stdout=subprocess.PIPE if capture else None)  # fmt: skip
    except FileNotFoundError:
        raise Refusal(f"{words[0]} is not installed.") from None
    if done.returncode != 0:
        raise Refusal(f"This failed, with status {done.returncode}: {' '.join(words)}")
    return done.stdout or ""


if __name__ == "__main__":
    sys.exit(main())
