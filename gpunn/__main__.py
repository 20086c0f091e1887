"""``python -m gpunn`` is the command ``gpunn``."""

from gpunn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
