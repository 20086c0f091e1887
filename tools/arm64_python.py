"""Unpack a Python for ARM64 and QEMU, which runs it, into build/arm64: `make arm64-python`.

This installs nothing, and changes nothing outside of that folder. A packaging test trains with the
ARM64 wheel there. The folder holds Debian stable's Python, QEMU's user emulation for this machine,
and the packages that gpunn needs. It requires apt, dpkg-deb and pip, on x86-64.
"""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path

from newest_pythons import ROOT, Apt, NoPythons, run

FOLDER = ROOT / "build" / "arm64"
SUITE = "stable"
TAGS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


def main() -> int:
    try:
        unpack(FOLDER)
        print(*command(FOLDER), sep="\n")
    except NoPythons as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def command(folder: Path = FOLDER) -> list[str]:
    """Return the words that start the unpacked Python, or none if it is not there.

    PYTHONPATH must name its folder of packages, ``folder / "site"``.
    """
    emulators = sorted(folder.glob("qemu/usr/bin/qemu-aarch64"))
    pythons = [p for p in folder.glob("root/usr/bin/python3.*") if p.suffix[1:].isdigit()]
    if not (emulators and pythons and (folder / "site").is_dir()):
        return []
    return [str(emulators[0]), "-L", str(folder / "root"), str(pythons[0])]


def unpack(folder: Path) -> None:
    """Fetch and unpack Python, QEMU and packages, replacing existing ones.

    Raises:
        NoPythons: without apt, without a Debian archive, or if the archive does not answer.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise NoPythons("apt-get is needed to fetch Debian's Python for ARM64; not found.")
    shutil.rmtree(folder, ignore_errors=True)
    apt = Apt(folder / "apt-qemu", SUITE)
    apt.run("apt-get", "update", "-qq")
    fetch(apt, folder / "qemu", "qemu-user")
    for emulator in (folder / "qemu" / "usr" / "bin").glob("qemu-*"):  # each of some megabytes
        if emulator.name != "qemu-aarch64":
            emulator.unlink()
    apt = Apt(folder / "apt", SUITE, "arm64")
    apt.run("apt-get", "update", "-qq")
    named = re.search(r"Depends: (python3\.\d+)", apt.run("apt-cache", "depends", "python3"))
    if named is None:
        raise NoPythons(f"Debian {SUITE} has no Python 3.")
    fetch(apt, folder / "root", named[1], "libstdc++6")
    if not (folder / "root" / "lib").exists():  # Debian's installer makes the link
        (folder / "root" / "lib").symlink_to("usr/lib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    platforms = [word for tag in TAGS for word in ("--platform", f"{tag}_aarch64")]
    run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--only-binary=:all:", *platforms, "--python-version", named[1].removeprefix("python"),
        "--target", folder / "site", *project["dependencies"])  # fmt: skip


def fetch(apt: Apt, folder: Path, *packages: str) -> None:
    """Unpack packages and all that they depend on into a folder."""
    options = ("-qq", "-y", "--no-install-recommends", "--download-only")
    apt.run("apt-get", "install", *options, *packages)
    for deb in sorted((apt.folder / "cache" / "archives").glob("*.deb")):
        run("dpkg-deb", "--extract", deb, folder)
    shutil.rmtree(apt.folder)


if __name__ == "__main__":
    sys.exit(main())
