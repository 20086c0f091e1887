"""Many small networks in one call: `gpunn.fit_many` trains them, `gpunn.search` compares them."""

from __future__ import annotations
