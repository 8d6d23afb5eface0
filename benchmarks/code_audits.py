"""Audits of codes: what is matched of NeuraCrypt, and what comes back from InstaHide.

    python benchmarks/code_audits.py                 all settings (about a quarter of an hour of CPU time)
    python benchmarks/code_audits.py --only NAME     this setting, or several
    python benchmarks/code_audits.py --summary       only summarise the finished cells

NeuraCrypt: 200 test images of CIFAR-10, 400 others are public; at the published size 100 pictures of ImageNet
(squeezed to 256 pixels) and 200 public ones. InstaHide: 100 training images of CIFAR-10. One key. The linear
encoder (published: "weak") and normalisation by statistics of batches (as published) are none of noli's
methods and are made here. Cells lie in results/code_audits.jsonl; delete a line to measure it again.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

import noli
from common import CLASSES, DATA, Cells, arguments, bench_key, cifar10, save
from noli.core.attacks import MIXES, SETS
from noli.core.audit import Audit, AuditRow
from noli.ops.decipher.rematch import assigned, boosted, nearness
from noli.ops.decipher.tokens import ordered, reduced, statistics
from noli.train.likening import PatchCoder, alike_coder, means_of, patches_of
from noli.zoo.base import seeded

SMALL: dict[str, Any] = {"side": 32, "patch": 4, "width": 256}
SETTINGS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "neuracrypt, 64 wide": ("neuracrypt", 200, {**SMALL, "width": 64}),
    "neuracrypt, 256 wide": ("neuracrypt", 200, SMALL),
    "neuracrypt, 256 wide, 2 layers": ("neuracrypt", 200, {**SMALL, "depth": 2}),
    "neuracrypt, 256 wide, no shuffle": ("neuracrypt", 200, {**SMALL, "shuffle": False}),
    "color-neuracrypt, 256 wide": ("neuracrypt", 200, {**SMALL, "colour": "planes"}),
    "neuracrypt, published size": ("neuracrypt", 100, {}),
    "instahide, 1 code": ("instahide", 100, {}),
    "instahide, 5 codes": ("instahide", 100, {"copies": 5}),
    "instahide, 10 codes": ("instahide", 100, {"copies": 10}),
    "instahide, 20 codes": ("instahide", 100, {"copies": 20}),
    "instahide, 50 codes": ("instahide", 100, {"copies": 50}),
    "instahide, 50 codes, k 6": ("instahide", 100, {"copies": 50, "k": 6}),
    "instahide, 50 codes, k 6, 4 public": ("instahide", 100, {"copies": 50, "k": 6, "public": "yes"}),
}
LINEAR = "linear encoder, 256 wide"
BATCHES = {f"statistics of batches of {size}, 256 wide": size for size in (128, 16)}


def folder_of(images: np.ndarray, labels: np.ndarray, place: Path) -> Path:
    """Write images as PNG files in folders by class."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = place / CLASSES[label] / f"{number:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), image[..., ::-1])
    return place


def imagenet(count: int) -> np.ndarray:
    """So many pictures of ImageNet, one of a class, ``uint8 [N, 192, 192, 3]``."""
    file = DATA / "imagenet1k_one_per_class_192.npz"
    if not file.exists():
        raise SystemExit(f"not available: {file} (set NOLI_BENCH_DATA)")
    with np.load(file) as found:
        body, ends = found["test_bytes"], found["test_offsets"]
    chosen = np.random.default_rng(0).permutation(len(ends) - 1)[:count]
    images = [cv2.imdecode(body[ends[one] : ends[one + 1]], cv2.IMREAD_COLOR) for one in chosen]
    return np.stack([cv2.resize(one[..., ::-1], (256, 256)) for one in images])


def pictures(method: str, count: int, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures that are encoded and public ones, one after another, and labels."""
    if method == "neuracrypt" and "side" not in options:
        images = imagenet(count + 200)
        return images, np.zeros(len(images), np.int64)
    return cifar10("test" if method == "neuracrypt" else "train", count + 400)


def cell(setting: str) -> dict[str, Any]:
    """Encode and audit."""
    method, count, options = SETTINGS[setting]
    images, labels = pictures(method, count, options)
    with TemporaryDirectory() as work:
        place = Path(work)
        clean = folder_of(images[:count], labels[:count], place / "clean")
        public = folder_of(images[count:], labels[count:], place / "public")
        options = {name: str(public) if name == "public" else value for name, value in options.items()}
        noli.encode(
            clean, place / "codes", method, key=bench_key(0), i_understand_this_is_broken=True, **options
        )
        begun = time.process_time()
        told = noli.audit(place / "codes", clean=clean, public=public)
        seconds = time.process_time() - begun
    kept = ("has", "pictures", "ssim", "back", "chance", "low", "high", "seconds", "note")
    rows = {row.name: {name: getattr(row, name) for name in kept} for row in told.rows}
    return {"least": told.least, "cpu_seconds": seconds, "rows": rows}


def linear(width: int = 256, patch: int = 4, count: int = 200) -> dict[str, Any]:
    """Attack one random linear layer over patches, its codes in an order of their own."""
    images, _ = cifar10("test", count + 400)
    generator, draw = torch.Generator().manual_seed(0), np.random.default_rng(0)

    def codes(order: bool) -> np.ndarray:
        shown = patches_of(images[:count], patch)
        bound = shown.shape[2] ** -0.5
        weight = (torch.rand(shown.shape[2], width, generator=generator) * 2 - 1) * bound
        made = (shown @ weight).numpy()
        return made if order else np.stack([one[draw.permutation(len(one))] for one in made])

    begun = time.process_time()
    secret, own = reduced(codes(order=False)), reduced(codes(order=True))
    match = assigned(nearness(statistics(own), statistics(secret)))
    boost = boosted(own.mean(axis=1), secret.mean(axis=1), match)
    means = secret.mean(axis=1)
    means = means / means.std()
    net = alike_coder(images[count:], means, patch, -1)
    alike = assigned(nearness(means_of(net, images[:count], patch), means))
    right = np.arange(count)
    rows = {
        "lengths and distances": {"back": float((match.codes == right).mean())},
        "boosted matching": {"back": float((boost.codes == right).mean())},
        "distributions": {"back": float((alike.codes == right).mean())},
    }
    return {"cpu_seconds": time.process_time() - begun, "rows": rows}


def in_batches(size: int, width: int = 256, patch: int = 4, count: int = 200) -> dict[str, Any]:
    """Attack a network of NeuraCrypt whose normalisation takes its statistics from batches, as published."""
    images, _ = cifar10("test", count)
    shown = patches_of(images, patch)

    def codes(seed: int, batch: int, *, shuffle: bool) -> np.ndarray:
        with seeded(seed):
            net = PatchCoder(shown.shape[2], shown.shape[1], width, width, depth=4).eval()
        draw, made = np.random.default_rng(seed), np.empty((count, shown.shape[1], width), np.float32)
        order = draw.permutation(count)
        with torch.no_grad():
            for rows in (order[start : start + batch] for start in range(0, count, batch)):
                made[rows] = net(shown[rows]).numpy()
        return np.stack([one[draw.permutation(len(one))] for one in made]) if shuffle else made

    begun = time.process_time()
    secret, own = reduced(codes(1, size, shuffle=True)), reduced(codes(2, count, shuffle=False))
    placed = np.take_along_axis(secret, ordered(secret)[:, :, None], axis=1)
    start = assigned(nearness(*(statistics(x - x.mean(axis=0)) for x in (own, placed))))
    boost, right = boosted(own, placed, start), np.arange(count)
    rows = {
        name: {"back": float((match.codes == right).mean())}
        for name, match in (("order undone", start), ("boosted matching", boost))
    }
    return {"cpu_seconds": time.process_time() - begun, "rows": rows}


def work(setting: str) -> dict[str, Any]:
    """Measure one setting."""
    if setting in BATCHES:
        return in_batches(BATCHES[setting])
    return linear() if setting == LINEAR else cell(setting)


def judged(one: dict[str, Any]) -> dict[str, Any]:
    """What a cell found, by the present rule of what counts: cells may be older than it.

    A demonstration on other codes (linking, integer seed) is no attack on these, and says so under ``has``.
    """
    if "least" not in one:
        return one
    has = {attack.name: attack.has for attack in (*SETS, *MIXES)}
    rows = {name: {**row, "has": has[name]} for name, row in one["rows"].items()}
    told = tuple(AuditRow(name=name, about="", **row) for name, row in rows.items())
    made = Audit(method="", title="", config={}, pictures=0, shape=(0, 0, 0), rows=told, limits=())
    best = None if made.worst is None else made.worst.name
    return {**one, "least": made.least, "best": best, "rows": rows}


def main() -> None:
    names = [*SETTINGS, LINEAR, *BATCHES]
    args, cells = arguments(names, [], [0]).parse_args(), Cells("code_audits")
    if not args.summary:
        for setting in args.only[args.part[0] :: args.part[1]]:
            cells.get(setting, lambda one=setting: work(one))  # type: ignore[misc]
    done = {name: cells.done[name] for name in names if name in cells.done}
    table = {name: {k: v for k, v in one.items() if k not in ("cell", "on")} for name, one in done.items()}
    save("code_audits", {"settings": {name: judged(one) for name, one in table.items()}}, cells)


if __name__ == "__main__":
    main()
