"""Perceptual encryption: images per second beside block by block code, and what JPEG costs.

    python benchmarks/scramble_speed.py

Images of 32 px (blocks of 4) and 224 px (blocks of 16, or the scheme's own), one process, one key for all, or
a fresh one for every image. The reference cuts an image into blocks and treats one after the other, as
published code does. JPEG: six photographs of scikit-image, the PSNR of decrypt(JPEG(encrypt(x))) beside that
of JPEG(x), both against x, and the sizes of the two files; with chroma in full and halved.
"""

from __future__ import annotations

import io
from itertools import permutations
from typing import Any

import cv2
import numpy as np
from PIL import Image

from common import bench_key, clock, peak_mb, save
from noli.core.keystream import Stream
from noli.data.demo import photo_folder
from noli.ops import schemes
from noli.ops.metrics import psnr
from noli.ops.planes import from_planes, to_planes
from noli.ops.scramble import Scramble, scramble, unscramble

KEY = bench_key(0)
COLOURS = list(permutations(range(3)))
PHOTOS = ("astronaut", "chelsea", "coffee", "ihc", "motorcycle_left", "motorcycle_right")
SCHEMES: dict[str, tuple[Any, int]] = {
    "etc": (schemes.etc, 16), "le": (schemes.le, 4), "ele": (schemes.ele, 4), "shf": (schemes.shf, 16),
    "np": (schemes.negation, 16), "ffx": (schemes.ffx, 16),
}  # fmt: skip


def draw(purpose: str, told: str) -> Stream:
    return KEY.stream(f"bench/{purpose}", told)


def made(name: str, shape: tuple[int, int, int], block: int) -> Scramble:
    if name == "pixel":
        return schemes.pixel(shape, draw)
    found: Scramble = SCHEMES[name][0](shape, block, draw)
    return found


def reference(name: str, image: np.ndarray, block: int) -> np.ndarray:
    """One image, block by block; the draws are made beforehand in both ways and not timed here."""
    rows, columns = image.shape[0] // block, image.shape[1] // block
    cut = [image[r * block : (r + 1) * block, c * block : (c + 1) * block]
           for r in range(rows) for c in range(columns)]  # fmt: skip
    order = DRAWN[name, image.shape]
    done = []
    for place, one in enumerate(cut):
        if name == "etc":
            source, turned, negated, colour = order
            one = cut[source[place]]
            one = one[:, ::-1] if turned[place] >= 4 else one
            one = np.rot90(one, turned[place] % 4)[..., COLOURS[colour[place]]]
            done.append(255 - one if negated[place] else one)
        elif name == "shf":
            done.append(one.reshape(-1)[order].reshape(one.shape))
        else:  # le
            values = one.reshape(-1)
            halves = np.concatenate([values >> 4, values & 15])[order]
            high, low = np.split(halves, 2)
            done.append(((high << 4) | low).reshape(one.shape))
    return np.concatenate([np.concatenate(done[i : i + columns], 1) for i in range(0, len(done), columns)], 0)


def drawn(name: str, blocks: int, values: int) -> Any:
    """What the reference needs, from any generator: only its time is looked at."""
    generator = np.random.default_rng(0)
    if name == "etc":
        return (generator.permutation(blocks), *(generator.integers(0, n, blocks) for n in (8, 2, 6)))
    return generator.permutation(values * (2 if name == "le" else 1))


DRAWN: dict[tuple[str, tuple[int, ...]], Any] = {}


def speeds() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for side, count in ((32, 4096), (224, 64)):
        x = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        for name in (*SCHEMES, "pixel"):
            block = min(SCHEMES[name][1] if name in SCHEMES else 1, 16 if side > 32 else 4)
            how = made(name, x.shape[1:], block)
            scrambled = scramble(x, how)
            one = clock(lambda x=x, how=how: scramble(x, how))
            back = clock(lambda x=scrambled, how=how: unscramble(x, how))
            fresh = clock(lambda n=name, s=x.shape[1:], b=block: made(n, s, b))
            row = {
                "block": block,
                "per_second": count / one["cpu"],
                "back_per_second": count / back["cpu"],
                "fresh_key_per_second": 1 / (fresh["cpu"] + one["cpu"] / count),
            }
            if name in ("etc", "shf", "le"):
                blocks = (side // block) ** 2
                DRAWN[name, x.shape[1:]] = drawn(name, blocks, block * block * 3)
                few = x[: max(1, count // 64)]
                slow = clock(
                    lambda n=name, few=few, b=block: [reference(n, one, b) for one in few], repeats=3
                )
                row["times_block_by_block"] = row["per_second"] / (len(few) / slow["cpu"])
            found[f"{name} {side}"] = row
    return found


def jpeg(image: np.ndarray, quality: int, subsampling: int) -> tuple[np.ndarray, int]:
    target = io.BytesIO()
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    picture.save(target, "JPEG", quality=quality, subsampling=subsampling)
    pixels = np.asarray(Image.open(target))
    return (pixels[..., None] if pixels.ndim == 2 else pixels), target.tell()


def jpegs() -> dict[str, Any]:
    photos = []
    for name in PHOTOS:
        pixels = cv2.cvtColor(cv2.imread(str(photo_folder() / f"{name}.png")), cv2.COLOR_BGR2RGB)
        side = min(pixels.shape[:2]) // 32 * 32
        photos.append(pixels[:side, :side])
    found = {}
    for title, block, planes, subsampling in (
        ("etc 4", 4, "", 0), ("etc 8", 8, "", 0), ("etc 16", 16, "", 0), ("etc 16, half chroma", 16, "", 2),
        ("grey, full chroma 8", 8, "ycbcr", 0), ("grey, half chroma 8", 8, "half", 0),
    ):  # fmt: skip
        for quality in (75, 85, 90, 95):
            rows = []
            for photo in photos:
                # What halves chroma is compared with a JPEG that does so, too.
                plain, size = jpeg(photo, quality, 2 if planes == "half" or subsampling else 0)
                x = to_planes(photo[None], planes, block) if planes else photo[None]  # type: ignore[arg-type]
                how = schemes.etc(x.shape[1:], block, draw, colours=not planes)
                through, sent = jpeg(scramble(x, how)[0], quality, subsampling)
                back = unscramble(through[None], how)
                back = from_planes(back, planes) if planes else back  # type: ignore[arg-type]
                rows.append((psnr(photo, plain), psnr(photo, back[0]), sent / size))
            plain_db, back_db, ratio = np.mean(rows, axis=0)
            found[f"{title}, quality {quality}"] = {
                "jpeg_db": float(plain_db), "scrambled_db": float(back_db), "size_ratio": float(ratio)
            }  # fmt: skip
    return found


if __name__ == "__main__":
    save("scramble_speed", {"speed": speeds(), "jpeg": jpegs(), "peak_mb": peak_mb()})
