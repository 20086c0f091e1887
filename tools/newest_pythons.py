"""Unpack the Pythons of Debian testing into build/pythons: `make newest-pythons`.

This installs nothing, and changes nothing outside of that folder. The packaging tests use
build/pythons/usr/bin/python3.*, which come with the C library that they need, `venv` and headers.
It requires apt, dpkg-deb, and a package archive in this machine's apt configuration.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ROOT / "build" / "pythons"
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEWEST = 2  # how many of the available Pythons
WHEELS = "/usr/share/python-wheels"  # where Debian's `venv` looks for pip

# The script of this name starts the program with the loader and libraries beside it.
WRAPPER = """#!/bin/sh
exec '{loader}' --library-path '{libraries}' --argv0 "$0" '{program}' "$@"
"""


class NoPythons(Exception):
    """The Pythons cannot be fetched on this machine."""


def main() -> int:
    try:
        unpack(PYTHONS)
    except NoPythons as error:
        print(error, file=sys.stderr)
        return 1
    print(*pythons(PYTHONS), sep="\n")
    return 0


def pythons(folder: Path = PYTHONS) -> list[Path]:
    """Return the unpacked Pythons, the newest last."""
    found = [p for p in folder.glob("usr/bin/python3.*") if re.fullmatch(r"python3\.\d+", p.name)]
    return sorted(found, key=lambda path: int(path.suffix[1:]))


def unpack(folder: Path) -> None:
    """Fetch and unpack the newest Pythons of Debian testing, replacing existing ones.

    Raises:
        NoPythons: without apt, without a Debian archive, or if the archive does not answer.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise NoPythons("apt-get is needed to fetch the Pythons of Debian testing; not found.")
    shutil.rmtree(folder, ignore_errors=True)
    apt = Apt(folder / "apt")
    apt.run("apt-get", "update", "-qq")
    names = apt.run("apt-cache", "pkgnames", "python3.").split()
    versions = sorted(n for n in names if re.fullmatch(r"python3\.\d+", n))[-NEWEST:]
    wanted = [w for v in versions for w in (f"{v}-venv", f"lib{v}-dev")]
    if not wanted:
        raise NoPythons("Debian testing has no Python 3.")
    options = ("-qq", "-y", "--no-install-recommends", "--download-only")
    apt.run("apt-get", "install", *options, *wanted)
    for package in sorted((apt.folder / "cache" / "archives").glob("*.deb")):
        run("dpkg-deb", "--extract", package, folder)
    shutil.rmtree(apt.folder)
    for version in versions:
        make_movable(folder, version)


class Apt:
    """apt with separate lists, packages and status, in a folder."""

    def __init__(self, folder: Path, suite: str = "testing", machine: str | None = None) -> None:
        self.folder = folder
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        signed = f"Signed-By: {KEYS}\n" if KEYS.exists() else ""
        sources = folder / "testing.sources"
        sources.write_text(
            f"Types: deb\nURIs: {archive()}\nSuites: {suite}\nComponents: main\n{signed}"
        )
        settings = {
            "Dir::State": folder, "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache", "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "-", "APT::Sandbox::User": "", "Acquire::Retries": "3",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
        }  # fmt: skip
        if machine:
            settings |= {"APT::Architecture": machine, "APT::Architectures": machine}
        self.options = [word for n, v in settings.items() for word in ("-o", f"{n}={v}")]

    def run(self, command: str, *arguments: str) -> str:
        return run(command, *self.options, *arguments)


def archive() -> str:
    """Return the address from which this machine's apt gets Debian's packages."""
    form = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    for attempt in range(2):
        found = run("apt-get", "indextargets", "--format", form).splitlines()
        places = [line.split("|")[2] for line in found if line.startswith("Debian|Debian|")]
        if places:
            return places[0]
        if attempt == 0 and os.geteuid() == 0:  # its lists were never fetched
            run("apt-get", "update", "-qq")
    raise NoPythons("apt has no Debian archive: on Debian, run apt-get update.")


def make_movable(folder: Path, version: str) -> None:
    """Make a Python find its files where it was unpacked."""
    program = folder / "usr" / "bin" / version
    real = program.rename(program.with_name(f"{version}.real"))
    (libraries,) = {path.parent for path in folder.glob("usr/lib/*/libc.so.6")}
    (loader,) = libraries.glob("ld-linux-*.so.*")
    program.write_text(WRAPPER.format(loader=loader, libraries=libraries, program=real))
    program.chmod(0o755)
    library = folder / "usr" / "lib" / version
    for settings in {path.resolve() for path in library.glob("_sysconfig*")}:
        text = settings.read_text(encoding="utf-8")
        settings.write_text(text.replace(WHEELS, f"{folder}{WHEELS}"), encoding="utf-8")
    headers = folder / "usr" / "include" / version
    # pyconfig.h there includes <ARCHITECTURE/python3.x/pyconfig.h>.
    (headers / libraries.name).symlink_to(Path("..") / libraries.name)


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        output = (done.stdout + done.stderr).strip().splitlines()[-5:]
        raise NoPythons("\n".join([f"{command[0]} failed:", *output]))
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
