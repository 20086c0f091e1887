"""GPUs of known speed, for the predictions of `roofline`, each figure with its source.

A figure is either published by the GPU's maker or a reviewer, or a published measurement, or
assumed: `SOURCES` says which, by the letters in `GPU.sources`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

GPU_BENCHES = "https://github.com/RRZE-HPC/gpu-benches at 1038c5d, gpu-small-kernels"

SOURCES = {
    "a": "published: FP32 rate and L2 size, https://cputronic.com/gpu/nvidia-geforce-gtx-1050-ti "
    "and .../nvidia-geforce-gtx-1060-6-gb; memory, https://www.ht4u.net/reviews/2016/"
    "nvidia_geforce_gtx_1050_ti_pascal_fuer_fullhd_gaming/index6.php; multiprocessors, "
    "https://www.guru3d.com/articles-pages/geforce-gtx-1050-3gb-review,4.html",
    "b": "published: https://www.vortez.net/articles_pages/nvidia_gtx_1080_ti_review,2.html; the "
    "FP32 rate is 3584 lanes x 2 x 1.582 GHz",
    "c": "published: https://informatyk-szczecin.com/pt/placa-grafica-geforce-gtx-1650; L2 size, "
    "https://cputronic.com/gpu/nvidia-geforce-gtx-1650-gddr6 (the same chip)",
    "d": "published: https://fpsbench.com/compare/gpu/"
    "nvidia-quadro-m6000-vs-nvidia-geforce-rtx-2060",
    "e": "published: http://cholla.mmto.org/nvidia/my3060.html; bandwidth, "
    "https://pcpartdb.com/gpus/view/nvidia-geforce-rtx-3060-12-gb-ga104; the FP32 rate is 3584 "
    "lanes x 2 x 1.777 GHz",
    "f": "published: https://holynerdvana.blogspot.com/2022/10/"
    "nvidia-geforce-rtx-4090-specifications.html",
    "g": "published: https://glennklockwood.com/garden/processors/h100; L2 size, "
    "https://chipsandcheese.com/p/nvidias-h100-funny-l2-and-tons-of-bandwidth; bandwidth of the "
    "H200, https://huggingface.co/datasets/devidasmishra/ai-inference-hardware-economics-2026",
    "h": "published: FP32 rate and L2 size, https://cputronic.com/en/gpu/"
    "nvidia-geforce-gtx-1080-11gbps (the same chip and clock); memory, "
    "https://infinitebrandedaccessories.com/products/nvidia-geforce-gtx-1080-gpu; "
    "multiprocessors as in a",
    "m": f"measured on this GPU: {GPU_BENCHES}. There a kernel (or one turn of a grid-wide "
    "barrier) that moves V bytes in L2 takes a + V / b; a and b are our fit to the best block "
    "size, up to 60% of L2 (h200_graph.txt, h200_gsync.txt)",
    "n": f"measured on a GPU with the same chip or architecture, {GPU_BENCHES}, fit as in m: "
    "H200 for the H100 (same chip and clock), L40 for the RTX 4090 (AD102; l40_graph.txt, "
    "l40_gsync.txt), A40 for the RTX 3060 (GA10x; a40_graph.txt; bandwidth of half as many "
    "memory controllers). There is no such barrier of the A40: it is taken to cost a kernel, as "
    "it nearly does on the H200, L40 and A100",
    "x": "ASSUMED: nothing was found for this GPU. A kernel and a barrier as on the slowest "
    f"GPU measured (A100: 1.32 and 1.27 us, {GPU_BENCHES}), L2 with 64 bytes a clock for each "
    "32-bit memory controller at boost clock. A barrier may well cost more there: on a GV100 with "
    "CUDA 10 somebody found a kernel with barriers 3 times slower than a graph "
    "(https://github.com/gunrock/gunrock/issues/438)",
}


@dataclass(frozen=True)
class GPU:
    """The peak performance of a GPU.

    Attributes:
        name: name reported by `nvidia-smi`, without the maker.
        flops: float32 operations per second, as published (without tensor cores).
        bandwidth: memory bandwidth in bytes per second, as published.
        l2: size of the L2 cache in bytes.
        l2_bandwidth: bytes per second that a kernel moves in L2, reading and writing.
        kernel: seconds that a kernel in a CUDA graph costs besides its traffic.
        barrier: seconds that a barrier of the whole grid costs in a cooperative kernel.
        sources: three letters of `SOURCES`: for the published figures, for ``l2_bandwidth``, and
            for ``kernel`` and ``barrier``; empty if the driver states what is not assumed.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    flops: float
    bandwidth: float
    l2: int
    l2_bandwidth: float
    kernel: float
    barrier: float
    sources: str

    @property
    def clock(self) -> float:
        """The clock rate at which its lanes reach ``flops``."""
        return self.flops / (2 * lanes(self.capability) * self.multiprocessors)

    @property
    def l2_reads(self) -> float:
        """Bytes per second that L2 delivers to blocks that read the same: twice ``l2_bandwidth``
        where kernels measured that (the H200 did so in W3's persistent step), else the same."""
        return self.l2_bandwidth * (2 if self.sources[1:2] in ("m", "n") else 1)


def lanes(capability: tuple[int, int]) -> int:
    """Return the float32 lanes of a multiprocessor (CUDA C++ Programming Guide, 5.4.1)."""
    return 64 if capability in ((6, 0), (7, 0), (7, 2), (7, 5), (8, 0)) else 128


KIB = 1024
SLOWEST_KERNEL, SLOWEST_BARRIER = 1.32e-6, 1.27e-6  # of the GPUs measured: see "x"

GPUS = (
    GPU("GTX 1050 Ti", (6, 1), 6, 2.138e12, 112.1e9, 1024 * KIB, 356e9, 1.32e-6, 1.27e-6, "axx"),
    GPU("GTX 1060 6GB", (6, 1), 10, 4.375e12, 192.2e9, 1536 * KIB, 656e9, 1.32e-6, 1.27e-6, "axx"),
    GPU("GTX 1080", (6, 1), 20, 8.873e12, 320.3e9, 2048 * KIB, 887e9, 1.32e-6, 1.27e-6, "hxx"),
    GPU("GTX 1080 Ti", (6, 1), 28, 11.34e12, 484.4e9, 2816 * KIB, 1114e9, 1.32e-6, 1.27e-6, "bxx"),
    GPU("GTX 1650", (7, 5), 14, 2.984e12, 128.1e9, 1024 * KIB, 426e9, 1.32e-6, 1.27e-6, "cxx"),
    GPU("RTX 2060", (7, 5), 30, 6.451e12, 336e9, 3072 * KIB, 645e9, 1.32e-6, 1.27e-6, "dxx"),
    GPU("RTX 3060", (8, 6), 28, 12.74e12, 360e9, 3072 * KIB, 1448e9, 1.09e-6, 1.09e-6, "enn"),
    GPU("RTX 4090", (8, 9), 128, 82.58e12, 1008e9, 73728 * KIB, 4987e9, 0.96e-6, 0.92e-6, "fnn"),
    GPU("H100", (9, 0), 132, 66.9e12, 3350e9, 51200 * KIB, 6144e9, 1.23e-6, 1.25e-6, "gnn"),
    GPU("H200", (9, 0), 132, 66.9e12, 4800e9, 51200 * KIB, 6144e9, 1.23e-6, 1.25e-6, "gmm"),
)
"""From the oldest to the newest; the H100 is the SXM version, the RTX 3060 the one with 12 GB."""

MEMORY = dict(zip(
    (gpu.name for gpu in GPUS), (n << 30 for n in (4, 6, 8, 11, 4, 6, 12, 24, 80, 141)),
    strict=True,
))
"""By name, the bytes of memory, as their makers state it."""


def known_gpu(name: str) -> GPU:
    """Return the GPU of `GPUS` with this name."""
    return next(gpu for gpu in GPUS if gpu.name == name)


_OTHERS = {"Ti", "SUPER", "Laptop", "Max-Q", "D", "PCIe", "NVL"}


def find_gpu(name: str) -> GPU | None:
    """Return the GPU with this name in `nvidia-smi`, or None.

    >>> find_gpu("NVIDIA GeForce GTX 1080 Ti").name, find_gpu("NVIDIA H100 80GB HBM3").name
    ('GTX 1080 Ti', 'H100')
    >>> find_gpu("NVIDIA GeForce RTX 3060 Laptop GPU") is None  # a different GPU
    True
    """
    words = re.sub(r"NVIDIA|GeForce", "", name).split()
    for gpu in GPUS:
        own = gpu.name.split()
        rest = words[len(own) :] if words[: len(own)] == own else None
        if rest is not None and not _OTHERS & set(rest):
            return gpu
    return None


def describe_gpu(name: str, capability: tuple[int, int], stated: Mapping[str, int]) -> GPU:
    """Return what is known about a GPU, or else what follows from its attributes.

    Args:
        name: as `nvidia-smi` gives it.
        stated: the attributes, by CuPy's names; rates in kHz, widths in bits, sizes in bytes.

    >>> found = describe_gpu("Quadro P400", (6, 1), {
    ...     "MultiProcessorCount": 2, "ClockRate": 1252500, "MemoryClockRate": 2005000,
    ...     "GlobalMemoryBusWidth": 64, "L2CacheSize": 524288})
    >>> round(found.flops / 1e9), round(found.bandwidth / 1e9)
    (641, 32)
    """
    known = find_gpu(name)
    if known is not None:
        return known
    processors = stated["MultiProcessorCount"]
    # A virtual GPU may state none of these: then as a GTX 1050 Ti.
    clock, memory, width = (
        stated.get(attribute) or usual
        for attribute, usual in (
            ("ClockRate", 1_392_000), ("MemoryClockRate", 3_504_000), ("GlobalMemoryBusWidth", 128)
        )
    )
    return GPU(
        name, capability, processors, 2 * lanes(capability) * processors * 1e3 * clock,
        2e3 * memory * width / 8, stated["L2CacheSize"],  # two bits a clock and line
        64 * 1e3 * clock * min(width // 32, processors),  # a multiprocessor reads 64 bytes a clock
        SLOWEST_KERNEL, SLOWEST_BARRIER, "",
    )
