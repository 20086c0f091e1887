"""The command line in separate processes that can be stopped; a short run, a table for it."""

import csv
import subprocess
import sys

SMALL = ["--hidden", "16", "--batch-size", "128", "--epochs", "6", "--backend", "numpy"]
# A shell that starts this process in the background makes it ignore Ctrl-C.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from gpunn.apps.cli import main
sys.exit(main())
"""


def start(*arguments):
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments):
    process = start(*arguments)
    printed, complained = process.communicate()
    return process.returncode, printed, complained


def stop(process, line, sent):
    """Send a signal as soon as a line begins with this; return what was on stderr."""
    while not process.stdout.readline().startswith(line):
        assert process.poll() is None
    process.send_signal(sent)
    return process.communicate()[1]


def result(folder):
    return {name: (folder / name).read_bytes() for name in ("model.gpunn", "history.csv")}


def table_at(path, columns):
    """Write a CSV file of these columns; return its path."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return str(path)
