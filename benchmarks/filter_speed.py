"""Images per second of protect/cuda against the reference formula, side by side on one core.

The reference follows the published description and the way the authors' script is organised: one convolution
module per class, one image per call, division by the maximum, results kept in a list, stacked, and cast to
8 bits at the end. ``reference`` starts from a float copy of the data set, the leanest way to do that;
``loader`` reads the images one by one through a torch data loader that makes tensors of Pillow images, as
training scripts do.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image

from common import cache_sized, clock, peak_mb, save
from noli.core.dataset import Item
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.method import DataSummary
from noli.methods.protect import cuda

CASES = ((32, 3, 4000), (224, 3, 120), (224, 9, 120))
CLASSES = tuple(f"class {i}" for i in range(10))


class PillowImages(torch.utils.data.Dataset):
    """Images as a training script's data set gives them: Pillow in between, float tensors out."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        picture = np.array(Image.fromarray(self.images[index]))
        return torch.from_numpy(picture).permute(2, 0, 1).contiguous().float().div(255)


def reference(
    images: np.ndarray, kernels: np.ndarray, labels: np.ndarray, *, loader: bool = False
) -> np.ndarray:
    layers = {}
    for label in np.unique(labels):
        kernel = torch.from_numpy(kernels[labels == label][0])
        layer = torch.nn.Conv2d(3, 3, len(kernel), padding=len(kernel) // 2, groups=3, bias=False)
        layer.weight.data = kernel[None, None].repeat(3, 1, 1, 1)
        layers[int(label)] = layer.requires_grad_(False)
    if loader:
        batches = torch.utils.data.DataLoader(PillowImages(images), batch_size=128)
        floats = (image for batch in batches for image in batch)
    else:
        floats = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    out = []
    for image, label in zip(floats, labels.tolist(), strict=True):
        filtered = layers[label](image[None])[0]
        out.append(filtered / filtered.max())
    return (torch.stack(out).permute(0, 2, 3, 1) * 255 + 0.5).numpy().astype(np.uint8)


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    key, rng, rows = Key.from_bytes(bytes(range(32))), np.random.default_rng(0), []
    for size, k, count in CASES:
        images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        labels = np.arange(count) % 10
        items = [Item(f"{i:020x}", f"{i}.png", CLASSES[i % 10]) for i in range(count)]
        summary = DataSummary(count, CLASSES, {(size, size, 3): count})
        row: dict[str, object] = {"size": size, "kernel": k}
        results = {}
        for mode in ("paper", "keyed"):
            cfg = cuda.Config(mode=mode, kernel=k, blur=0.3 if k == 3 else 0.06)
            state = cuda.prepare(summary, key, cfg)

            def ours(state=state, cfg=cfg, images=images, items=items) -> np.ndarray:
                out = np.empty_like(images)
                for run in cache_sized(*images.shape):
                    out[run] = to_uint8(cuda.apply(state, to_float(images[run]), items[run], key, cfg))
                return out

            results[mode] = (ours, clock(ours))
            if mode == "paper":
                kernels = cuda.item_filters(state, items, key, cfg, size, size).kernels
                base = clock(lambda i=images, f=kernels, y=labels: reference(i, f, y))
                loaded = clock(lambda i=images, f=kernels, y=labels: reference(i, f, y, loader=True))
                gap = np.abs(reference(images, kernels, labels).astype(int) - ours()).max()
                row |= {
                    "reference_img_per_cpu_s": count / base["cpu"],
                    "loader_img_per_cpu_s": count / loaded["cpu"],
                    "largest_level_difference": int(gap),
                }
        for mode, (_, time) in results.items():
            row |= {
                f"{mode}_img_per_cpu_s": count / time["cpu"],
                f"{mode}_ratio": base["cpu"] / time["cpu"],
                f"{mode}_ratio_to_loader": loaded["cpu"] / time["cpu"],
            }
        rows.append(row)
    save("filter_speed", {"rows": rows, "peak_mb": peak_mb(), "threads": 1})


if __name__ == "__main__":
    main()
