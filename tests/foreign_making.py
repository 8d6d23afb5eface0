"""Small image classifiers in folders as transformers writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "image_size": 32, "patch_size": 4,
}  # fmt: skip
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def write_foreign(
    folder: Path,
    names: Sequence[str] = ("dog", "cat", "owl"),
    kind: str = "vit",
    looks: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    **sizes: Any,
) -> Path:
    """Write a random ViT or DeiT that prefers something, and how pictures are normalised."""
    import transformers

    config = transformers.AutoConfig.for_model(
        kind, **{**SIZES, **sizes}, id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Not the automatic class: it does not know which of two DeiT is meant.
        net = getattr(transformers, {"vit": "ViT", "deit": "DeiT"}[kind] + "ForImageClassification")(config)
        for weight in net.parameters():
            weight.data += torch.randn_like(weight) / 5
    net.to(dtype).save_pretrained(folder)
    if looks is None:
        looks = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(looks))
    return folder


def asked(folder: Path, pixels: torch.Tensor) -> torch.Tensor:
    """Return logits of transformers for what its image processor would give."""
    import transformers

    net = transformers.AutoModelForImageClassification.from_pretrained(folder, local_files_only=True)
    with torch.no_grad():
        return net.float().eval()(pixel_values=pixels).logits
