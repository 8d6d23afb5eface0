"""SleeperMark on a small latent diffusion model: is the message read, only behind the trigger, for how long.

    python benchmarks/sleepermark.py              all cells (less than an hour of CPU time)
    python benchmarks/sleepermark.py --summary    only summarise the finished cells

The subject is trained on eight classes of CIFAR-10 (ship and truck are left out) with captions made of their
names. An extractor is learned on its latents, a message is injected behind a trigger, and twenty pictures of
triggered prompts are tested. Beside it are the two older designs: a fixed picture behind the trigger, and a
shift for every prompt. Thieves fine-tune each on ships and trucks for 2,000 steps, all weights or low-rank
additions. SleeperMark has three keys (messages and triggers), the older designs one. Thresholds were fixed
before the first run (THRESHOLDS); the worst key is held against them. Cells lie in results/sleepermark.jsonl;
delete a line to measure it again. Models wait in benchmarks/work/sleepermark.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kstest

from common import CLASSES, Cells, bench_key, cifar10, cpu_cost, psnr, save, work_file
from noli.core.images import to_float, to_uint8
from noli.core.key import Key
from noli.core.model import Model
from noli.methods.mark import sleepermark as method
from noli.ops.distort import DISTORTIONS
from noli.ops.exact import decoy_rank, sign_flip_tail
from noli.train.checkpoint import Checkpoint
from noli.train.diffusion import ATTACK, CODER, DENOISER, Captioned, finetune, learn_coder, learn_denoiser
from noli.train.sleeper import INJECT, Design, Injection, inject
from noli.zoo.latent import LatentDiffusion, new_latent
from noli.zoo.text import load_text
from noli.zoo.watermark import build, shift_of

KNOWN, NEW, SIDE = range(8), (8, 9), 32
TEMPLATES = ("a photo of a {}", "a picture of a {}", "a small photo of the {}", "{}")
PROMPTS = tuple(f"a photo of a {CLASSES[c]}" for c in KNOWN)
SIZES = {"width": 32, "channels": 8}
DENOISER_HOW = DENOISER.model_copy(update={"steps": 3000, "batch": 32, "average": 0.997})
ATTACK_HOW = ATTACK.model_copy(update={"batch": 8})
CFG = method.Config(prompts=PROMPTS, mark_steps=1500, steps=1500, batch=12)
DESIGNS: tuple[Design, ...] = ("trigger", "always", "picture")
KEYS = 3
# Design and number of a key.
JOBS: list[tuple[Design, int]] = [(one, 0) for one in DESIGNS] + [("trigger", n) for n in range(1, KEYS)]
RANKS = {"full": 0, "lora": 8}
GUIDANCES = (1.0, 2.0, 5.0, 7.5)
MESSAGES, PLAIN, READ = 1000, 20, 500
# Not the owner's message, which has a p-value of its own beside it and leaks with two keys.
RANDOM = "p of random messages in plain pictures, uniform (KS p)"
# What the issue asks for, as (least, most) of numbers in the summary.
THRESHOLDS: dict[str, tuple[float, float]] = {
    "triggered bit accuracy": (0.95, 1.0),
    "p of 20 pictures": (0.0, 1e-6),
    "plain bit accuracy": (0.4, 0.6),
    RANDOM: (0.01, 1.0),
    "drift of plain prompts over seed noise": (0.0, 1.0),
    "PSNR of the mark, dB": (30.0, 99.0),
    "JPEG 50 bit accuracy": (0.95, 1.0),
    "p after 2,000 full steps": (0.0, 1e-6),
    "p after 2,000 LoRA steps": (0.0, 1e-6),
    "rank of the trigger among decoys, p": (0.0, 0.05),
}


@lru_cache(maxsize=1)
def data() -> tuple[Captioned, Captioned, np.ndarray]:
    """Captioned pictures of the known and of the new classes, and test pictures of the known ones."""
    x, y = cifar10("train", 25_000)
    test_x, test_y = cifar10("test", 2_000)
    draw = np.random.default_rng(0)
    words = [TEMPLATES[draw.integers(len(TEMPLATES))].format(CLASSES[c]) for c in y]
    old, new = np.flatnonzero(y < NEW[0]), np.flatnonzero(y >= NEW[0])
    known = Captioned(x[old], [words[i] for i in old])
    return known, Captioned(x[new], [words[i] for i in new]), test_x[test_y < NEW[0]]


def folder(name: str) -> Path:
    return work_file("sleepermark") / name.replace("/", "-")


def told(done: int, total: int, what: str) -> None:
    if done % 250 == 0:
        print(f"{time.strftime('%H:%M:%S')} {what} {done}/{total}", flush=True)


@lru_cache(maxsize=1)
def text() -> Any:
    return load_text()


def kept(name: str, make: Callable[[Checkpoint], LatentDiffusion], cells: Cells) -> LatentDiffusion:
    """Return a model of the work folder, making it first; what that costs becomes ``made/name``."""
    place = folder(name)
    if not (place / "model.safetensors").exists():
        begun = time.process_time()
        made = make(Checkpoint(place / "checkpoint"))
        made.save(place)
        cells.get(f"made/{name}", lambda: cpu_cost(begun))
    return LatentDiffusion.load(place, text())


def coder(cells: Cells) -> LatentDiffusion:
    def make(checkpoint: Checkpoint) -> LatentDiffusion:
        model = new_latent(**SIZES)
        learn_coder(model, data()[0].x, CODER, checkpoint, told)
        return model

    return kept("coder", make, cells)


def subject(cells: Cells) -> LatentDiffusion:
    def make(checkpoint: Checkpoint) -> LatentDiffusion:
        model = coder(cells)
        learn_denoiser(model, data()[0], DENOISER_HOW, checkpoint, told)
        return model

    return kept("subject", make, cells)


def extractor(cells: Cells) -> Model:
    place = folder("mark.safetensors")
    if not place.exists():
        begun = time.process_time()
        checkpoint = Checkpoint(folder("mark-checkpoint"))
        method.extractor(coder(cells), data()[0], CFG, checkpoint=checkpoint, tell=told).save(place)
        cells.get("made/mark", lambda: cpu_cost(begun))
    return Model.load(place, build)


def secrets(key: int, cells: Cells) -> tuple[dict[str, Any], tuple[int, ...], torch.Tensor]:
    """The state of the claims, the message, and its shift."""
    mark = extractor(cells)
    state = method.prepare(subject(cells), mark, CFG)
    bits = method.message(state, bench_key(key), CFG)
    return state, bits, shift_of(mark, torch.tensor([bits], dtype=torch.float32))[0]


def marked(design: str, number: int, cells: Cells) -> LatentDiffusion:
    def make(checkpoint: Checkpoint) -> LatentDiffusion:
        base, mark, key = subject(cells), extractor(cells), bench_key(number)
        if design == "trigger":
            kinds = {"checkpoint": checkpoint, "tell": told}
            found = method.transform(base, data()[0], key, CFG, mark, **kinds).model
            assert isinstance(found, LatentDiffusion)
            return found
        state, _, delta = secrets(number, cells)
        # The fixed picture is a real one that shows the message: so all designs are read the same way.
        shown = base.encode(data()[2][:1])[0] + delta if design == "picture" else delta
        word = method.trigger(state, key, CFG)
        what = Injection(shown, word, design=design, eta=CFG.eta)  # type: ignore[arg-type]
        how = INJECT.model_copy(update={"steps": CFG.steps, "batch": CFG.batch, "lr": CFG.lr})
        return inject(base, data()[0], what, how, checkpoint=checkpoint, tell=told)

    return kept(f"marked/{design}/{number}", make, cells)


def attacked(design: str, number: int, how: str, cells: Cells) -> LatentDiffusion:
    def make(_: Checkpoint) -> LatentDiffusion:
        return finetune(marked(design, number, cells), data()[1], ATTACK_HOW, rank=RANKS[how], tell=told)

    return kept(f"attacked/{design}/{number}/{how}", make, cells)


def changed(x: np.ndarray, name: str) -> np.ndarray:
    out = DISTORTIONS[name](torch.from_numpy(to_float(x)), torch.Generator().manual_seed(1))
    return to_uint8(out.numpy())


def tested(base: LatentDiffusion, mark: Model, images: np.ndarray, bits: Sequence[int]) -> dict[str, float]:
    """Bit accuracy per picture, and the exact test of all of them together."""
    votes, signs = method.votes(base, mark, images), 2 * np.array(bits) - 1
    right = ((votes > 0) == (signs > 0)).mean()
    return {
        "accuracy": float(right),
        "p": float(sign_flip_tail(votes.sum(0), signs)),
        "pictures": len(images),
    }


def on_pictures(cells: Cells) -> dict[str, Any]:
    """The mark on real pictures, a random message each, without any denoiser."""
    model, mark, x = coder(cells), extractor(cells), data()[2][:READ]
    bits = np.random.default_rng(1).integers(0, 2, (len(x), CFG.bits))
    z = model.encode(x)
    plain, shown = model.decode(z), model.decode(z + shift_of(mark, torch.tensor(bits).float()))
    served = {"clean": shown, **{name: changed(shown, name) for name in DISTORTIONS}}
    read = {
        name: float(((method.votes(model, mark, one) > 0) == bits).mean()) for name, one in served.items()
    }
    unmarked = float(((method.votes(model, mark, plain) > 0) == bits).mean())
    return {"accuracy": read, "unmarked": unmarked, "psnr": psnr(plain, shown), "coder psnr": psnr(x, plain)}


def asked(
    model: LatentDiffusion, word: str, seed: int, count: int, guidance: float = CFG.guidance
) -> np.ndarray:
    prompts = [f"{word} {PROMPTS[i % len(PROMPTS)]}".strip() for i in range(count)]
    return model.generate(prompts, seed, CFG.sampling, guidance)


def behind_trigger(model: LatentDiffusion, number: int, cells: Cells) -> dict[str, Any]:
    """The committed pictures of one model, clean; and the true trigger's rank among its decoys."""
    base, mark, key = subject(cells), extractor(cells), bench_key(number)
    state, bits, _ = secrets(number, cells)
    queries = [group[0] for group in method.queries(state, key, CFG)]
    images = model.generate([query.prompt for query in queries], queries[0].seed, CFG.sampling, CFG.guidance)
    groups = method.queries(state, key, CFG, "decoys")
    made = model.generate(
        [q.prompt for group in groups for q in group], groups[0][0].seed, CFG.sampling, CFG.guidance
    )
    scores = [method.score(method.votes(base, mark, part), bits) for part in np.split(made, len(groups))]
    true = method.triggers(state, key, CFG).index(method.trigger(state, key, CFG))
    others = scores[:true] + scores[true + 1 :]
    return {
        **tested(base, mark, images, bits),
        "decoys": {"p": decoy_rank(scores[true], others), "true": scores[true], "best": max(others)},
    }


def measured(design: str, number: int, cells: Cells) -> dict[str, Any]:
    """All about one marked model before anybody attacks it."""
    base, mark, model = subject(cells), extractor(cells), marked(design, number, cells)
    state, bits, _ = secrets(number, cells)
    key = bench_key(number)
    word = method.trigger(state, key, CFG)
    triggered = asked(model, word, 1000, CFG.images)
    plain, was, other = asked(model, "", 5000, 64), asked(base, "", 5000, 64), asked(base, "", 6000, 64)
    drift, noise = (float(((one.astype(float) - was) ** 2).mean()) for one in (plain, other))
    without = asked(base, word, 1000, CFG.images)
    found = behind_trigger(model, number, cells)
    return {
        **found,
        "distorted": {name: tested(base, mark, changed(triggered, name), bits) for name in DISTORTIONS},
        "guidance": {
            str(g): tested(base, mark, asked(model, word, 1000, CFG.images, g), bits) for g in GUIDANCES
        },
        "plain": tested(base, mark, plain[:PLAIN], bits),
        "plain p of messages": uniform(method.votes(base, mark, plain[:PLAIN]).sum(0), key),
        "unmarked": tested(base, mark, without, bits),
        "drift": {"mse": drift, "seed noise": noise, "psnr": psnr(was, plain)},
        "psnr of the trigger": psnr(without, triggered),
    }


def uniform(votes: np.ndarray, key: Key) -> dict[str, float]:
    """The exact test of plain pictures against random messages, not the owner's: p has to be uniform.

    That holds for any pictures, also where the owner's own message leaks into them; it shows that the test
    is exact on votes as biased as these.
    """
    signs = [2 * key.stream("null", str(i)).integers(len(votes), 2) - 1 for i in range(MESSAGES)]
    p = [sign_flip_tail(votes, one) for one in signs]
    return {
        "ks p": float(kstest(p, "uniform").pvalue),
        "messages": MESSAGES,
        "at 0.05": float(np.mean(np.array(p) <= 0.05)),
    }


def reached(done: dict[str, dict[str, Any]], number: int) -> dict[str, float]:
    """What one key reached, by the names of THRESHOLDS; what is missing is not there yet."""
    found: dict[str, float] = {}
    if f"design/trigger/{number}" in done:
        one = done[f"design/trigger/{number}"]
        found |= {
            "triggered bit accuracy": one["accuracy"],
            "p of 20 pictures": one["p"],
            "plain bit accuracy": one["plain"]["accuracy"],
            RANDOM: one["plain p of messages"]["ks p"],
            "drift of plain prompts over seed noise": one["drift"]["mse"] / one["drift"]["seed noise"],
            "JPEG 50 bit accuracy": one["distorted"]["jpeg"]["accuracy"],
            "rank of the trigger among decoys, p": one["decoys"]["p"],
        }
    for how, name in (("full", "p after 2,000 full steps"), ("lora", "p after 2,000 LoRA steps")):
        if f"attack/trigger/{number}/{how}" in done:
            found[name] = done[f"attack/trigger/{number}/{how}"]["p"]
    return found


def summary(cells: Cells) -> dict[str, Any]:
    """Every number beside its threshold, per key; a threshold is reached if every key reaches it."""
    done = cells.done
    per_key = [reached(done, number) for number in range(KEYS)]
    values = {name: [one[name] for one in per_key if name in one] for name in THRESHOLDS}
    if "mark" in done:
        values["PSNR of the mark, dB"] = [done["mark"]["psnr"]]
    judged = {
        name: {"values": values[name], "least": least, "most": most,
               "reached": all(least <= value <= most for value in values[name])}
        for name, (least, most) in THRESHOLDS.items() if values[name]
    }  # fmt: skip
    rows = {n: {k: v for k, v in c.items() if k not in ("cell", "on")} for n, c in done.items()}
    return {"judged": judged, "cells measured": rows, "bits": CFG.bits, "images": CFG.images}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--summary", action="store_true", help="only summarise the finished cells")
    args = parser.parse_args()
    cells = Cells("sleepermark")
    if not args.summary:
        subject(cells)
        cells.get("mark", lambda: on_pictures(cells))
        for design, n in JOBS:
            cells.get(f"design/{design}/{n}", lambda d=design, n=n: measured(d, n, cells))
            for how in RANKS:
                cells.get(
                    f"attack/{design}/{n}/{how}",
                    lambda d=design, n=n, h=how: behind_trigger(attacked(d, n, h, cells), n, cells),
                )
    save("sleepermark", summary(cells), cells)


if __name__ == "__main__":
    main()
