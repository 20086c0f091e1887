"""`initialize`: join the processes that mpiexec, srun or another launcher has started."""

from __future__ import annotations

import os
import sys
from typing import Any

from gpunn.common.arguments import check_positive

from .communicator import ALONE, Communicator

TIMEOUT = 600.0  # seconds

# What launchers say about the number of processes: the variable, and one that must be set besides.
_LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", None, "Open MPI's mpiexec"),
    ("PMI_SIZE", None, "the mpiexec of MPICH or Intel MPI"),
    ("SLURM_NTASKS", "SLURM_STEP_ID", "srun"),
    ("WORLD_SIZE", "TORCHELASTIC_RUN_ID", "torchrun"),
)

_world: Communicator | None = None  # of this process, once it is initialized
_current: Communicator = ALONE


def initialize(
    job_addresses: Any = None,
    num_processes: Any = None,
    process_id: Any = None,
    *,
    timeout: float = TIMEOUT,
) -> None:
    """Join the processes that ``mpiexec`` started: `Model.fit` then trains over all of them.

    Call it on the first line of a program, and start that with ``mpiexec -n 4 python train.py``.
    Each process is a rank: it computes its shard of the rows of each batch, and the gradients are
    summed. An exception on one rank ends all; a rank that ends otherwise, as by ``sys.exit``, ends
    those that wait for it. A warning of all ranks is printed once. Without ``mpiexec`` it is a run
    of one process.

    Calling it again has no effect.

    Args:
        job_addresses, num_processes, process_id: Keras's; the launcher provides them, so they must
            be None.
        timeout: seconds that a rank waits for the others in `fit` before all are ended.

    Raises:
        ValueError: if an argument that the launcher provides is given, or the timeout is not
            positive.
        ImportError: if there are several processes, and mpi4py or an MPI library is missing.
        RuntimeError: if a launcher started several processes that do not find each other.

    >>> from gpunn.distribution import initialize, rank, size
    >>> initialize()  # without mpiexec
    >>> rank(), size()
    (0, 1)
    """
    global _world, _current
    named = {
        "job_addresses": job_addresses, "num_processes": num_processes, "process_id": process_id
    }
    for name, value in named.items():
        if value is not None:
            raise ValueError(
                f"initialize: {name} must be None; got {value!r}. mpiexec provides it: "
                f"mpiexec -n 4 python train.py."
            )
    timeout = check_positive("timeout", timeout)
    if _world is not None:
        return
    count, launcher = _launched()
    try:
        from .mpi import MPICommunicator
    except (ImportError, RuntimeError) as error:  # mpi4py; and the library that it loads
        if count > 1:
            raise ImportError(
                f"{launcher} started {count} processes, which need mpi4py and its MPI library to "
                f'talk to each other: pip install "gpunn[mpi]". Importing it failed: {error}'
            ) from error
        found: Communicator = ALONE
    else:
        found = MPICommunicator(timeout)
        if found.size == 1 < count:
            raise RuntimeError(_strangers(count, launcher))
        if found.size == 1:
            found = ALONE
        else:
            found.end_together()
            local = found.local_ranks()
            _divide_cores(found, local)
            _take_gpu(local.index(found.rank), len(local))
    if found.size == 1:
        print(
            "gpunn: a run of one process. Start more with mpiexec -n 4 python train.py.",
            file=sys.stderr,
        )
    _world = _current = found


def initialize_if_launched() -> None:
    """Call `initialize` if the environment speaks of several processes."""
    if _launched()[0] > 1:
        initialize()


def _launched() -> tuple[int, str]:
    """Return how many processes the environment speaks of, and what started them."""
    for variable, besides, launcher in _LAUNCHERS:
        value = os.environ.get(variable, "")
        if value.isdigit() and int(value) > 1 and (besides is None or besides in os.environ):
            return int(value), launcher
    return 1, ""


def _strangers(count: int, launcher: str) -> str:
    from mpi4py import MPI

    library = MPI.Get_library_version().partition("\n")[0].partition(",")[0].strip("\0 ")
    if launcher == "torchrun":
        cause = "torchrun does not start MPI: use mpiexec."
    else:
        cause = (
            f"mpi4py uses {library}, which belongs to another mpiexec. Use that of the same MPI "
            f"(for wheels, the one beside this Python: {os.path.dirname(sys.executable)})."
        )
    return (
        f"{launcher} started {count} processes, but each of them is alone: MPI finds 1. {cause} "
        f"Otherwise {count} runs would train apart and overwrite each other's files."
    )


def _divide_cores(ranks: Communicator, local: list[int]) -> None:
    """Divide this machine's cores among its ranks: each parallel region uses that many."""
    import threadpoolctl

    if hasattr(os, "sched_getaffinity"):  # mpiexec may bind each rank to a core
        cores = os.sched_getaffinity(0)
    else:
        cores = set(range(os.cpu_count() or 1))
    everyone = ranks.gather(cores)
    here = set().union(*(everyone[rank] for rank in local))
    count = max(1, len(here) // len(local))
    for library in threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers:
        if library.num_threads is None or library.num_threads > count:
            library.set_num_threads(count)


def _take_gpu(index: int, count: int) -> None:
    """Let this rank see one GPU of its machine, unless the launcher has assigned them.

    CUDA reads the variable when it is first used: `initialize` comes before.
    """
    name = "CUDA_VISIBLE_DEVICES"
    visible = os.environ[name].split(",") if name in os.environ else [*map(str, range(count))]
    if len(visible) >= count:
        os.environ[name] = visible[index]


def current() -> Communicator:
    """Return the ranks that `Model.fit` trains over."""
    return _current


def use(ranks: Communicator) -> None:
    """Make `Model.fit` train over these ranks."""
    global _current
    _current = ranks


def world() -> Communicator:
    """Return all ranks of the run."""
    return _world or ALONE


def rank() -> int:
    """Return the number of this process, from 0; it is 0 before `initialize`.

    The process of rank 0 prints and writes files.

    >>> from gpunn.distribution import rank
    >>> rank()  # without mpiexec
    0
    """
    return world().rank


def size() -> int:
    """Return the number of processes that train together; it is 1 before `initialize`.

    >>> from gpunn.distribution import size
    >>> size()  # without mpiexec
    1
    """
    return world().size


def is_writer() -> bool:
    """Return whether this process prints and writes files for the ranks of a training."""
    return _current.rank == 0
