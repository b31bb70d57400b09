"""How torch's threads wait and how it keeps its kernels: what has to stand in the environment before torch loads."""

from __future__ import annotations

THREADS = {
    # OpenMP's threads spin while they wait, by default so long that each wastes the time that another process needs:
    # contended, that costs a factor of ten; not spinning at all costs a factor of two on a quiet machine.
    "GOMP_SPINCOUNT": "5000",
    # Batches differ in shape, and oneDNN and torch's layer above it each keep a kernel with its scratch memory for
    # every shape: 330 MB after two waves, for no gain in speed.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
    "LRU_CACHE_CAPACITY": "32",
}
"""Environment variables, alike for generation and training; what the user has set stays."""
