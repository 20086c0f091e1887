"""``python -m gpunn`` is the command ``gpunn``."""

from .apps.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
