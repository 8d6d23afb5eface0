"""T2UE: noise from text alone, "Text-to-Unlearnable Example" (Ma et al.; arXiv 2508.03091).

A generator, trained once on captioned pictures of anybody, turns a text and a random vector into noise that
makes any picture match that text; a network that is trained on such pairs learns noise and text instead of
pictures. Your pictures take no part: ``prepare`` is told captions, file names or class names and the ids of
the items, and the engine gives it no picture. ``noli t2ue generate`` does the same on a machine that never
had them; its noise folder is then all that ``apply`` needs (``store``), without torch.

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1]; noise is made on squares of the generator's side
and stretched over pictures of any size, within the same bound ``eps`` (in [0, 1] units).

Threat model: a trainer who trains from scratch, on labels or on captions, on all protected pictures with
ordinary augmentation. It does not stop compression, greyscale, adversarial training, orthogonal projection,
purification, pre-trained weights, or anybody with clean originals beside protected ones. Class-wise noise is
one picture per class: averaging the class shows it. Vague prompts give weaker noise, and pictures with
another text than that of the noise are not protected. A generator that processors can train (32 pixels,
thousands of pictures) shows how the method works; the paper's is trained on MSCOCO against CLIP for a day on
an A100. Where ours differs from the paper: random vectors come from the key; equal captions in a batch match
each other; no spatial masks in the generator; the learning rate is 1e-3 in one cycle (1e-4 and a cosine
there); noise is stored in 255 levels of the bound.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import Field

from noli.core.dataset import Item
from noli.core.errors import DataError, UsageError, WrongKey
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.method import Card, DataSummary, MethodConfig, Spec, State
from noli.ops import noisestore
from noli.ops.noisestore import Noise
from noli.train.options import Bound

NOISE, ABOUT = "noise", "about.json"
_FACTS = {"generator": str, "eps": float, "key": str, "variants": int}
_PURPOSE = "protect/t2ue"


class Config(MethodConfig):
    """Options of T2UE. Paper: eps 8/255, noise class-wise (one random vector a class) or sample-wise."""

    eps: Bound = 8 / 255
    noise: Literal["sample", "class"] = Field("sample", description="noise per picture, or per prompt")
    prompts: Literal["caption", "name", "class"] = Field("caption", description="what is told of a picture")
    template: str = Field("a photo of a {}", description="prompt around a file name or class name")
    generator: str | None = Field(
        None, description="file of `noli t2ue train`; `untrained`: random weights, a control"
    )
    store: str | None = Field(
        None, description="noise folder of `noli t2ue generate`, instead of a generator"
    )


SPEC = Spec(
    name="protect/t2ue",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "metadata"}),
    reversible=True,
    options=("generator", "store", "prompts", "noise", "eps"),
    module=__name__,
    trial={"generator": "untrained", "prompts": "class"},
    card=Card(
        title="T2UE: noise from text, without the pictures",
        paper="Ma, Huang, Song, Sun, Gao, Jiang. T2UE: Generating Unlearnable Examples from Text "
        "Descriptions. arXiv 2508.03091",
        stops=(
            "Ordinary training from scratch on the protected pictures with their labels or captions, as far "
            "as the generator is good (see the measurements).",
            "Your pictures need not go to whoever makes the noise: texts are enough.",
        ),
        does_not_stop=(
            "Training on compressed or greyscale copies, adversarial training, purification, and orthogonal "
            "projection.",
            "Class-wise noise: averaging the pictures of a class shows it.",
            "A thief who learns the noise from clean originals beside protected ones.",
            "Training from pre-trained weights, with other texts, or on unprotected copies.",
        ),
        bibtex="@article{ma2025t2ue, title={T2UE: Generating Unlearnable Examples from Text Descriptions}, "
        "author={Ma, Xingjun and Huang, Hanxun and Song, Tianwei and Sun, Ye and Gao, Yifeng and Jiang, "
        "Yu-Gang}, journal={arXiv:2508.03091}, year={2025}}",
    ),
)


def generate(
    prompts: Sequence[str],
    key: Key,
    generator: str,
    folder: Path,
    *,
    variants: int = 1,
    tell: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Make noise for prompts and keep it in a folder; no picture can go in.

    Args:
        prompts: Texts, as pictures will have them.
        key: Owner's key; decides the random vectors.
        generator: File of a trained generator, or ``untrained``.
        folder: New or empty folder for the noise.
        variants: How many random vectors per prompt; pictures with the same prompt share them.
        tell: Progress, ``(done, all, what)``.

    Returns:
        What the folder says about itself: generator, eps, key, variants.
    """
    each = (prompt for prompt in prompts for _ in range(variants))
    names = dict(zip(noise_names(prompts, variants), each, strict=True))
    noise, facts = _imagined(names, key, generator, tell)
    about = {**facts, "key": key.id, "variants": variants}
    noisestore.write(folder, NOISE, list(names), noise)
    atomic_write(folder / ABOUT, json.dumps(about, indent=1).encode())
    return about


def noise_names(prompts: Sequence[str], variants: int) -> list[str]:
    """Return the names of the noise of prompts, variants side by side; equal prompts share theirs."""
    return [f"{k}:{prompt}" for prompt in prompts for k in range(variants)]


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Make, or take from ``store``, the noise of what is new; no picture is looked at.

    Returns:
        ``{"noise" (names of files), "generator" (hash of its weights), "variants"}``.

    Raises:
        UsageError: Neither or both of ``generator`` and ``store``, or an ``eps`` above the generator's bound.
        DataError: Pictures without a prompt, another generator than before, prompts that ``store`` lacks.
        WrongKey: ``store`` was made with another key.
        MissingPrerequisite: The generator's text encoder is not installed.
    """
    study, old = summary.study, previous or {}
    if study is None:
        raise UsageError("T2UE needs to be told of the items in `prepare`.", where=SPEC.name)
    about = _about(cfg, key)
    prompts = _prompts(study.items, cfg)
    rows = _rows(study.items, key, cfg, about["variants"])
    files: list[str] = old.get("noise", [])
    known = {name for file in files for name in noisestore.read(str(study.folder), file).rows}
    fresh = {row: prompt for row, prompt in zip(rows, prompts, strict=True) if row not in known}
    if not fresh:
        return dict(old)
    if cfg.store is None:
        noise, facts = _imagined(fresh, key, str(cfg.generator), study.tell)
        about |= facts
    else:
        noise = _taken(cfg.store, fresh)
    _check(cfg, about, old)
    file = f"noise-{len(files)}"
    noisestore.write(study.folder, file, list(fresh), noise)
    return {"noise": [*files, file], "generator": about["generator"], "variants": about["variants"]}


def _rows(items: Sequence[Item], key: Key, cfg: Config, variants: int) -> list[str]:
    """Name the noise of every item: its own, or one of those that its prompt has."""
    if cfg.noise == "sample" and cfg.store is None:
        return [item.id for item in items]
    picks = [0] * len(items)
    if cfg.noise == "sample":
        picks = [key.stream(f"{_PURPOSE}/pick", item.id).choice(variants) for item in items]
    return [f"{k}:{prompt}" for k, prompt in zip(picks, _prompts(items, cfg), strict=True)]


def _applied(state: State, items: Sequence[Item], key: Key, cfg: Config) -> list[str]:
    return _rows(items, key, cfg, state["variants"])


apply, invert = noisestore.hooks(_applied)


def _prompts(items: Sequence[Item], cfg: Config) -> list[str]:
    """Say in words what every item shows, from what is known without its pixels."""
    if cfg.prompts == "caption":
        told = [(item.text or "").strip() for item in items]
    else:
        by_class = cfg.prompts == "class"
        names = [item.label or "" if by_class else PurePosixPath(item.path).stem for item in items]
        words = [" ".join(re.findall(r"[^\W_]+", name)) for name in names]
        told = [cfg.template.replace("{}", word) if word else "" for word in words]
    if missing := [item.path for item, prompt in zip(items, told, strict=True) if not prompt]:
        raise DataError(
            "T2UE needs a prompt for every picture.",
            items=missing,
            why=f"no prompt can be made from its {cfg.prompts}",
            fix="add a column `caption` to metadata.csv, or use --prompts class or --prompts name",
        )
    if cfg.prompts == "class":
        labels: dict[str, set[str]] = {}
        for item, prompt in zip(items, told, strict=True):
            labels.setdefault(prompt, set()).add(str(item.label))
        if same := [", ".join(sorted(found)) for found in labels.values() if len(found) > 1]:
            raise DataError(
                "Classes have the same prompt, and so would get the same noise.",
                items=same,
                why="only the words and numbers of a class name go into the prompt",
                fix="rename the classes so that their words differ, or use --prompts caption or name",
            )
    return told


def _imagined(
    prompts: Mapping[str, str], key: Key, generator: str, tell: Callable[[int, int, str], None] | None
) -> tuple[Noise, dict[str, Any]]:
    """Make the noise of rows (name -> prompt); return it with what the generator says about itself."""
    from noli.zoo.imagine import imagine, load_generator

    model = load_generator(generator)
    z = [key.stream(f"{_PURPOSE}/z", name).normal(model.arch_args["z"]) for name in prompts]
    noise = imagine(model, list(prompts.values()), np.stack(z).astype(np.float32), tell)
    return noise, {"generator": model.weight_hash(), "eps": model.arch_args["eps"]}


def _about(cfg: Config, key: Key) -> dict[str, Any]:
    """Return what is known about the noise beforehand: that of a store, or a single variant."""
    if (cfg.generator is None) == (cfg.store is None):
        raise UsageError(
            "T2UE needs a trained generator, or noise that one has made.",
            where="generator, store",
            why="neither was given" if cfg.store is None else "both were given",
            fix="train one on anybody's captioned pictures, `noli t2ue train CAPTIONED -o FILE`, and pass "
            "--generator FILE; or make noise with `noli t2ue generate` and pass --store FOLDER",
        )
    if cfg.store is None:
        return {"variants": 1}
    file = Path(cfg.store) / ABOUT
    try:
        about: dict[str, Any] = json.loads(file.read_bytes())
        if not isinstance(about, dict) or not all(isinstance(about.get(k), t) for k, t in _FACTS.items()):
            raise ValueError(f"it does not say all of {', '.join(_FACTS)}")
    except (OSError, ValueError) as error:
        what, fix = "The noise folder cannot be read.", "name one that `noli t2ue generate` has written"
        raise DataError(what, where=str(file), why=str(error), fix=fix) from error
    if about["key"] != key.id:
        raise WrongKey(
            "The noise was made with another key.",
            where=cfg.store,
            why=f"it was made with key {about['key']}, this is key {key.id}",
            fix="give the key with which `noli t2ue generate` was called",
        )
    return about


def _taken(store: str, prompts: Mapping[str, str]) -> Noise:
    """Return the noise of rows (name -> prompt) from a store."""
    found = noisestore.read(store, NOISE)
    if missing := dict.fromkeys(prompt for row, prompt in prompts.items() if row not in found.rows):
        raise DataError(
            f"The noise folder lacks {len(missing)} prompts.",
            where=store,
            items=missing,
            fix="make noise for them, too: `noli t2ue generate --prompts FILE`, one a line, as listed here",
        )
    return found.noise[[found.rows[row] for row in prompts]]


def _check(cfg: Config, about: Mapping[str, Any], old: State) -> None:
    if cfg.eps > about["eps"] * (1 + 1e-6):
        raise UsageError(
            "The generator was trained within a smaller bound.",
            where=f"eps={cfg.eps:g}",
            why=f"its bound is {about['eps']:g} ({about['eps'] * 255:.4g}/255)",
            fix="use its bound, or train another generator with a larger --eps",
        )
    if old and (old["generator"], old["variants"]) != (about["generator"], about["variants"]):
        raise DataError(
            "The generator is not the one this run was begun with.",
            why=f"the hash of its weights was {old['generator']}, now it is {about['generator']}",
            fix="bring the first one back, or protect into a new output",
        )
