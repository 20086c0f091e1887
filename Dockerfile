# docker build --target cpu -t gpunn .      && docker run --rm -v gpunn:/data gpunn
# docker build --target gpu -t gpunn:gpu .  && docker run --rm -v gpunn:/data --gpus all gpunn:gpu
FROM python:3.12.14-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1

# The wheel has the compiled kernels of all CPUs in it: what runs needs no compiler.
FROM base AS wheel
RUN apt-get update && apt-get install -y --no-install-recommends g++ && \
    rm -rf /var/lib/apt/lists/*
COPY pyproject.toml setup.py README.md LICENSE /src/
COPY gpunn /src/gpunn
COPY kernels /src/kernels
RUN GPUNN_BUILD=all pip wheel --no-deps --wheel-dir /wheel /src

FROM base AS run
RUN useradd --create-home --uid 1000 gpunn && install -d -o gpunn -g gpunn /data
# Data sets, compiled kernels and results outlive the container.
ENV XDG_CACHE_HOME=/data/cache \
    CUPY_CACHE_DIR=/data/cache/cupy
VOLUME /data
WORKDIR /data
ENTRYPOINT ["gpunn"]
CMD ["train", "mnist"]

# CUDA 12 serves every card from the GTX 900 series on; its libraries come as wheels.
FROM run AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    set -- /wheel/*.whl && pip install "$1[cuda12,image,tables]"
USER 1000:1000

FROM run AS cpu
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    set -- /wheel/*.whl && pip install "$1[image,tables]"
USER 1000:1000
