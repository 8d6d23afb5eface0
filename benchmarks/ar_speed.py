"""Images per second of protect/ar and protect/lsp against the reference formula of AR, on one core.

The reference follows the published description and the way the authors' script is organised: one image at a
time, a loop over its pixels, and for each pixel one convolution of the 3 x 3 window of all channels. It gets
our weights and starts, so that its noise can be compared with ours. Every figure is for the whole way from
8-bit images to 8-bit images; the reference's adds nothing and rounds nothing, which favours it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from common import cache_sized, clock, peak_mb, save
from noli.core.dataset import Item
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.method import DataSummary
from noli.methods.protect import ar, lsp
from noli.ops.autoregress import edge_size

CASES = ((32, 4000, 16), (224, 60, 0))  # side, our images, images of the reference
CLASSES = tuple(f"class {i}" for i in range(10))


def reference(weights: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Noise ``[3, h, w]`` of one image from weights ``[3, 8]`` and a start ``[3, h + 4, w + 4]``."""
    kernel = torch.from_numpy(np.concatenate([weights, np.zeros((3, 1))], axis=1)).reshape(3, 1, 3, 3)
    image = torch.from_numpy(start.copy())[None]
    for i in range(2, image.shape[2]):
        for j in range(2, image.shape[3]):
            window = image[:, :, i - 2 : i + 1, j - 2 : j + 1]
            image[:, :, i, j] = F.conv2d(window, kernel, groups=3)[:, :, 0, 0]
    noise = image[0, :, 4:, 4:]
    return (noise / noise.norm()).numpy()


def starts(key: Key, items: list[Item], side: int) -> np.ndarray:
    """The starts ``[N, 3, side + 4, side + 4]`` that our method uses; only their edges matter."""
    rows, columns = np.indices((side + 4, side + 4))
    on_edge = (rows < 2) | (columns < 2)
    out = np.zeros((len(items), 3, side + 4, side + 4))
    for item, image in zip(items, out, strict=True):
        drawn = key.stream("protect/ar/item", item.id).normal(3 * edge_size(side + 4, side + 4))
        image[:, on_edge] = drawn.reshape(3, -1)
    return out


def main() -> None:
    torch.set_num_threads(1)
    key, rng, rows = Key.from_bytes(bytes(range(32))), np.random.default_rng(0), []
    summary = DataSummary(1, CLASSES, {})
    state = ar.prepare(summary, key, ar.Config())
    preparing = {n: clock(lambda n=n: ar.prepare(classes(n), key, ar.Config()), repeats=1) for n in (10, 100)}
    for side, count, slow in CASES:
        images = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        items = [Item(f"{i:020x}", f"{i}.png", CLASSES[i % 10]) for i in range(count)]
        row: dict[str, object] = {"size": side}
        for module, prepared in ((ar, state), (lsp, {})):

            def ours(module=module, prepared=prepared, images=images, items=items) -> np.ndarray:
                out = np.empty_like(images)
                for run in cache_sized(*images.shape):
                    batch = to_float(images[run])
                    out[run] = to_uint8(module.apply(prepared, batch, items[run], key, module.Config()))
                return out

            name = module.__name__.rsplit(".", 1)[-1]
            row[f"{name}_img_per_cpu_s"] = count / clock(ours)["cpu"]
        row["peak_mb_ours"] = peak_mb()
        if slow:
            some = items[:slow]
            weights = np.array(
                [
                    [ar.candidates(key, str(i.label), c)[:, d] for c, d in enumerate(state["draws"][i.label])]
                    for i in some
                ]
            )
            begun = starts(key, some, side)
            base = clock(
                lambda w=weights, s=begun: [reference(*one) for one in zip(w, s, strict=True)], repeats=3
            )
            made = np.stack([reference(*one) for one in zip(weights, begun, strict=True)])
            gap = np.abs(made - ar.noise(state, some, key, ar.Config(), 3, side, side)).max()
            row |= {
                "reference_img_per_cpu_s": slow / base["cpu"],
                "ar_ratio": row["ar_img_per_cpu_s"] * base["cpu"] / slow,
                "largest_difference": float(gap),
            }
        rows.append(row)
    prepare = {f"prepare_cpu_s_{n}_classes": time["cpu"] for n, time in preparing.items()}
    save("ar_speed", {"rows": rows, "peak_mb": peak_mb(), "threads": 1, **prepare})


def classes(count: int) -> DataSummary:
    return DataSummary(count, tuple(f"class {i}" for i in range(count)), {})


if __name__ == "__main__":
    main()
