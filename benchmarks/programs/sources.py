"""Read programs from repositories: a file of a commit, and the Python code of a notebook."""

from __future__ import annotations

import ast
import fnmatch
import json
import re
import subprocess
import warnings
from pathlib import Path


class NotThere(Exception):
    """A repository, a commit or a file is not in the folder."""


def git_directory(folder: Path, repository: str) -> Path:
    """Return a repository's git directory in ``folder/owner+name`` or ``folder/owner/name``."""
    for name in (repository.replace("/", "+"), repository):
        for inside in ("", ".git", "repo", "repo/.git"):
            if (folder / name / inside / "objects").is_dir():
                return folder / name / inside
    raise NotThere(f"{folder} has no repository {repository}")


def git(folder: Path, repository: str, *words: str) -> str:
    directory = git_directory(folder, repository)
    command = ["git", f"--git-dir={directory}", *words]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise NotThere(f"{repository}: {done.stderr.decode().strip().splitlines()[0]}")
    return done.stdout.decode("utf-8", "replace")


def files(folder: Path, repository: str, commit: str, patterns: list[str]) -> list[str]:
    """Return a commit's notebooks and Python files whose paths match one of the patterns."""
    paths = git(folder, repository, "ls-tree", "-r", "-z", "--name-only", commit).split("\0")
    return [
        path
        for path in paths
        if path.endswith((".py", ".ipynb")) and any(fnmatch.fnmatch(path, p) for p in patterns)
    ]


def read(folder: Path, repository: str, commit: str, path: str) -> str:
    """Return the Python code of a file, with a notebook's cells joined."""
    text = git(folder, repository, "show", f"{commit}:{path}")
    if not path.endswith(".ipynb"):
        return text
    try:
        return from_notebook(text)
    except (ValueError, LookupError) as error:
        raise NotThere(f"{repository}: {path} is no notebook: {error}") from None


def from_notebook(text: str) -> str:
    """Return the code cells of a notebook, in order, without notebook-only syntax."""
    notebook = json.loads(text)
    cells = notebook.get("cells") or notebook["worksheets"][0]["cells"]
    sources = [c.get("source", c.get("input", "")) for c in cells if c["cell_type"] == "code"]
    return "\n\n".join(map(from_cell, ("".join(source) for source in sources)))


def from_cell(source: str) -> str:
    """Return a cell without magics and shell commands; a cell in another language is empty."""
    first = source.lstrip().split("\n", 1)[0]
    if first.startswith("%%"):
        if not re.match(r"%%(time|timeit|capture)\b", first):
            return ""
        source = source.lstrip().partition("\n")[2]
    lines = source.split("\n")
    for number, line in enumerate(lines):
        bare = line.strip()
        if (bare.startswith(("!", "%")) and not starts_inside(lines[:number])) or re.fullmatch(
            r"\?{1,2}[\w.]+|[\w.]+\?{1,2}", bare
        ):
            lines[number] = line[: len(line) - len(line.lstrip())] + "pass"
            for following in range(number + 1, len(lines)):  # lines of a multi-line command
                if not (bare.startswith("!") and bare.endswith("\\")):
                    break
                bare = "!" + lines[following].strip()
                lines[following] = ""
    return "\n".join(lines)


def starts_inside(lines: list[str]) -> bool:
    """Whether these lines end inside brackets or a string."""
    text = "\n".join(lines)
    try:
        ast.parse(text)
    except SyntaxError as error:
        return "never closed" in str(error) or "unterminated triple" in str(error)
    return False


def parse(source: str) -> ast.Module | None:
    """Return the syntax tree of a program, or None if it is not Python 3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in their strings
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError):
            return None
