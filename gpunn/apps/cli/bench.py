"""Benchmark training and prediction on this machine against other frameworks.

tiers:
  operation    each operation of a step against its bound
  step, epoch  training of three networks on MNIST
  accuracy     seconds to 97.5% and 98% test accuracy
  inference    10,000 images at once, and a single one
  cold         from a fresh process to the end of an epoch, or of a first fit
  memory       peak memory of a training process
  callbacks    the cost of the progress bar and TensorBoard
  together     two trainings at once; a training beside a busy process
  shapes       sixty networks, from 1 to 65,536 rows, inputs, units and classes

examples:
  gpunn bench                       everything, in 35 minutes
  gpunn bench --instructions avx2   as on a CPU that has AVX2, not AVX-512
  gpunn bench --quick               a first look, in two minutes
  gpunn bench --tier step --against torch --against jax
  gpunn bench --json mine.json      write also mine.md, a page of the results

The command needs gpunn's source tree: an installation does not include the
benchmarks. Install the other frameworks with pip install "gpunn[bench]"; the
missing ones are listed. Results go to benchmarks/results if everything was
measured, else to runs/bench. Close other programs first.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from gpunn.common.source_root import source_root

from .arguments import positive

HELP = "benchmark this machine against other frameworks"
TIERS = (
    "operation", "step", "epoch", "accuracy", "inference", "cold", "memory", "callbacks",
    "together", "shapes",
)

ELSEWHERE = (
    "The benchmarks are not part of an installation. Get gpunn's source tree from its repository "
    'or its source archive, and run there: pip install --editable ".[bench]" && gpunn bench'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tier", action="append", choices=TIERS, metavar="TIER",
        help="measure this tier (repeatable)")
    add("--against", action="append", metavar="NAME",
        help="compare with this framework, by a part of its name (repeatable)")
    add("--json", type=Path, metavar="FILE", help="write the results to this file")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="few rows and rounds: two minutes")
    length.add_argument("--full", action="store_true",
        help="all frameworks in all tiers: 90 minutes")
    add("--instructions", choices=("avx2",),
        help="hold every library to this instruction set")
    add("--rows", type=positive, help="maximum number of training rows, for a trial run")


def run(args: argparse.Namespace) -> int:
    try:
        folder = source_root("benchmarks")
    except FileNotFoundError:
        raise RuntimeError(ELSEWHERE) from None
    sys.path.insert(0, str(folder.parent))
    return importlib.import_module("benchmarks.race.suite").run(
        args.tier or (), args.against or (), args.quick, args.full, args.json, args.rows,
        args.instructions,
    )
