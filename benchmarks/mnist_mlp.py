"""An epoch of 784-128(relu)-dropout 0.2-10 with Adam, batch 32: gpunn and its neighbours.

    python benchmarks/mnist_mlp.py [--rounds 11]

Each neighbour runs the way most people write it and the way its documentation calls
fast, at the number of threads (1 or all) that is better for it; gpunn through ``fit``
with nothing switched off but the output.
"""

from __future__ import annotations

import argparse
import importlib.util
import os

import race


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11, help="counted epochs of each")
    arguments = parser.parse_args()
    cores = os.cpu_count() or 1
    contestants = {"gpunn, NumPy backend": ("gpunn_fit.py", cores)}
    if importlib.util.find_spec("torch"):
        contestants |= {
            "PyTorch eager, data in memory": ("torch_eager.py", 1),
            "PyTorch eager, fused Adam": ("torch_fused.py", 1),
            "PyTorch eager, DataLoader": ("torch_dataloader.py", 1),
        }
        if cores > 1:
            contestants["PyTorch eager, fused Adam, all threads"] = ("torch_fused.py", cores)
    else:
        print("PyTorch is not installed: it is left out.")
    result = race.race(contestants, arguments.rounds)
    race.write(
        "mnist_mlp",
        "An epoch of 784-128-dropout 0.2-10, Adam, batch 32, on the CPU",
        result,
        "gpunn, NumPy backend",
    )


if __name__ == "__main__":
    main()
