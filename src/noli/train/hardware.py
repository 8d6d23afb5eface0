"""What this machine can do for training."""

from __future__ import annotations

import torch

from noli.core.environment import processor

# Only these make bf16 faster than float32; without them autocast emulates it slowly.
_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})


def fast_bf16(device: str) -> bool:
    """Say whether bf16 is worth using on ``cpu`` or ``cuda``."""
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return not _BF16_FLAGS.isdisjoint(processor()[1])


def pick_device(wanted: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device; ``auto`` takes a GPU when there is one."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)
