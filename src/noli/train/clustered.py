"""From unlabelled pictures to one picture of noise per cluster and pattern: the expensive part of UC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from noli.core.errors import DataError, RunError, UsageError
from noli.core.files import atomic_write
from noli.core.key import Key
from noli.core.method import DataSummary, State, Study
from noli.core.model import Model, evaluating
from noli.ops import assignments, noisestore
from noli.ops.clusters import k_means, nearest
from noli.train.checkpoint import Checkpoint, Tensors
from noli.train.contrastive import learn_encoder
from noli.train.fit import Callback, fit
from noli.train.hardware import pick_device
from noli.train.learned import side_of
from noli.train.lesson import Told
from noli.train.options import OWN, ClusteredConfig
from noli.train.recipe import Recipe
from noli.train.universal import AddNoise, Carrier, Noise, towards
from noli.zoo.base import Features, Frozen
from noli.zoo.encoders import PACKAGED, load_encoder, packaged

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
CENTRES, OWN_ENCODER, NOISE = "centres.npy", "encoder.safetensors", "noise"
PURPOSE = "protect/uc"
_BATCH = 64


def prepare_clusters(summary: DataSummary, key: Key, cfg: ClusteredConfig, previous: State | None) -> State:
    """Find clusters and learn their noise; in a run that is being extended, only assign what is new.

    Returns:
        ``{"encoder", "weights", "side", "channels", "noise", "assigned" (names of files), "reached"}``.

    Raises:
        DataError: Fewer different pictures than clusters, or an encoder that is not that of the run.
        MissingPrerequisite: The encoder's package is not installed.
    """
    study = summary.study
    if study is None:
        raise UsageError("This method learns from the data: it needs it in `prepare`.", where=PURPOSE)
    if previous:
        return _extended(study, key, cfg, previous)
    x = study.images(side_of(cfg, summary))
    checkpoint = Checkpoint(study.folder)
    checkpoint.depends_on(PURPOSE, cfg.model_dump_json(), key.commit(), x)
    encoder, name = _chosen(study, x, key, cfg, checkpoint)
    features = features_of(encoder, x, study)
    centres = k_means(features, cfg.clusters, key.stream(PURPOSE, "start"))
    groups = nearest(features, centres)
    checkpoint.depends_on(encoder.weight_hash())
    reached = _learn(_Task(study, x, groups, centres, encoder, key, cfg), checkpoint)
    atomic_write(study.folder / CENTRES, lambda file: np.save(file, centres))
    assignments.write(study.folder, "assigned-0", _patterns(study, range(len(x)), groups, key, cfg))
    checkpoint.clear()
    return {
        "encoder": name,
        "weights": encoder.weight_hash(),
        "side": x.shape[1],
        "channels": x.shape[3],
        "noise": [NOISE],
        "assigned": ["assigned-0"],
        "reached": [reached],
    }


def _extended(study: Study, key: Key, cfg: ClusteredConfig, old: State) -> State:
    """Assign new pictures to the nearest of the centres that were found first."""
    files: list[str] = old["assigned"]
    known = {name for file in files for name in assignments.read(str(study.folder), file)}
    fresh = [row for row, item in enumerate(study.items) if item.id not in known]
    if not fresh:
        return dict(old)
    encoder = _stored(study, old, cfg)
    centres = _stored_centres(study.folder / CENTRES)
    features = features_of(encoder, _as_learned(study.images(old["side"])[fresh], old["channels"]), study)
    file = f"assigned-{len(files)}"
    assignments.write(study.folder, file, _patterns(study, fresh, nearest(features, centres), key, cfg))
    return {**old, "assigned": [*files, file]}


def _stored_centres(file: Path) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(np.load(file, allow_pickle=False), np.float64)
    except (OSError, ValueError, EOFError) as error:
        fix = "put the run folder's artifacts back, or protect into a new output"
        raise RunError(
            "The centres of the clusters cannot be read.", where=str(file), why=str(error), fix=fix
        ) from error


def _as_learned(x: Images, channels: int) -> Images:
    """Return images with as many channels as those the encoder learned from: grey as means, or repeated."""
    if x.shape[3] == channels:
        return x
    fitted: Images = x.repeat(channels, 3)
    if channels == 1:
        fitted = np.rint(x.mean(3, keepdims=True)).astype(np.uint8)
    return fitted


def features_of(encoder: Model, x: Images, study: Study | None = None) -> npt.NDArray[np.float32]:
    """Return features ``float32 [N, D]`` of images ``uint8 [N, S, S, C]``."""
    device = next(encoder.parameters()).device
    parts: list[npt.NDArray[np.float32]] = []
    with evaluating(encoder), torch.no_grad():
        for start in range(0, len(x), _BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(x[start : start + _BATCH])).to(device)
            found = encoder.features(batch.permute(0, 3, 1, 2).float() / 255)
            parts.append(found.float().cpu().numpy())
            if study is not None:
                study.tell(min(start + _BATCH, len(x)), len(x), "features")
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def _chosen(
    study: Study, x: Images, key: Key, cfg: ClusteredConfig, checkpoint: Checkpoint
) -> tuple[Model, str]:
    """Return the encoder of a new run and how to find it again."""
    name = cfg.encoder
    if name == "auto":
        name = PACKAGED if packaged() else OWN
    if name != OWN:
        name = name if name == PACKAGED else str(Path(name).resolve())
        return _loaded(name, cfg, x.shape[1]), name
    if len(x) < 2:
        raise DataError(
            "An encoder cannot be learned from fewer than two pictures.",
            why=f"got {len(x)}",
            fix="add pictures, or name an encoder",
        )
    seed = int(key.stream(PURPOSE, "encoder").integers(1, 2**62)[0])
    recipe = Recipe(epochs=cfg.encoder_epochs, batch=256, device=cfg.device, seed=seed, lr=0.05)
    told = Told(study.tell, recipe.steps_for(len(x)), "encoder")
    model = learn_encoder(x, cfg.network, recipe, [told], seed=seed, checkpoint=checkpoint)
    model.save(study.folder / OWN_ENCODER)
    return model, OWN


def _loaded(name: str, cfg: ClusteredConfig, side: int) -> Model:
    # The packaged encoder, made for 224 pixels, is quicker at twice the noise's side and still tells clusters
    # apart; those in folders may take nothing but the size they say.
    usual = min(2 * side, 224) if name == PACKAGED else None
    return load_encoder(name, cfg.encoder_size or usual).to(pick_device(cfg.device))


def _stored(study: Study, old: State, cfg: ClusteredConfig) -> Model:
    name = str(study.folder / OWN_ENCODER) if old["encoder"] == OWN else old["encoder"]
    model = _loaded(name, cfg, old["side"])
    if (found := model.weight_hash()) != old["weights"]:
        raise DataError(
            "The encoder is not the one of the run that is being extended.",
            where=name,
            why=f"its weights have the hash {found[:12]}, the run was made with {old['weights'][:12]}",
            fix="bring the first encoder back, or protect everything into a new output",
        )
    return model


@dataclass(frozen=True)
class _Task:
    study: Study
    x: Images
    groups: Labels
    centres: npt.NDArray[np.float64]
    encoder: Model
    key: Key
    cfg: ClusteredConfig


def _learn(task: _Task, checkpoint: Checkpoint) -> dict[str, float]:
    """Learn and store the noise of every cluster; return the share of pictures that reach their target."""
    cfg, count = task.cfg, task.cfg.clusters
    order = task.key.stream(PURPOSE, "targets").permutation(count)
    target = np.empty(count, np.int64)
    target[order] = np.roll(order, -1)
    done = checkpoint.load("clusters") or {
        "noise": torch.zeros(0, dtype=torch.int8),
        "moved": torch.tensor(0),
    }
    learned, moved = list(done["noise"].numpy()), int(done["moved"])
    for cluster in range(len(learned), count):
        noise = _cluster_noise(task, cluster, target[cluster])
        stored = noisestore.quantised(noise.transpose(0, 2, 3, 1), cfg.eps)
        learned.append(stored)
        rows = np.flatnonzero(task.groups == cluster)
        noisy = noisestore.published(task.x[rows], stored[np.arange(len(rows)) % cfg.patterns], cfg.eps)
        moved += int((nearest(features_of(task.encoder, noisy), task.centres) == target[cluster]).sum())
        checkpoint.save("clusters", partial(_kept, learned, moved))
    names = [f"{cluster}/{pattern}" for cluster in range(count) for pattern in range(cfg.patterns)]
    noisestore.write(task.study.folder, NOISE, names, np.concatenate(learned))
    sizes = np.bincount(task.groups, minlength=count)
    return {"moved": moved / max(len(task.x), 1), "smallest": float(sizes.min())}


def _kept(learned: list[noisestore.Noise], moved: int) -> Tensors:
    return {"noise": torch.from_numpy(np.stack(learned)), "moved": torch.tensor(moved)}


def _cluster_noise(task: _Task, cluster: int, target: int) -> npt.NDArray[np.float32]:
    """Learn the patterns of one cluster, ``float32 [M, C, S, S]`` in [-eps, eps]."""
    cfg, side, channels = task.cfg, task.x.shape[1], task.x.shape[3]
    stream = task.key.stream(PURPOSE, f"noise/{cluster}")
    values = stream.uniform(cfg.patterns * channels * side * side).astype(np.float32)
    seed = int(stream.integers(1, 2**62)[0])
    device = pick_device(cfg.device)
    start = torch.from_numpy(values.reshape(cfg.patterns, channels, side, side)).to(device)
    noise = Noise(start, cfg.eps, cfg.maker, width=cfg.width, seed=seed).to(device)
    own = task.groups == cluster
    # A cluster may have lost all its pictures, and new ones of an extended run may still come to it.
    x = task.x[own] if cfg.data == "cluster" and own.any() else task.x
    # `fit` needs two pictures; a cluster of one shows its only one twice.
    x = np.repeat(x, 2, axis=0) if len(x) == 1 else x
    recipe = Recipe(
        epochs=cfg.steps,
        max_steps=cfg.steps,
        batch=cfg.batch,
        optimiser="adam",
        lr=cfg.lr or (0.1 if cfg.maker == "direct" else 1e-3),
        schedule="constant",
        device=cfg.device,
        seed=seed,
    )
    callbacks: list[Callback] = [
        Told(task.study.tell, cfg.steps * cfg.clusters, "noise", cfg.steps * cluster),
        AddNoise(noise, side // 8 if cfg.shifted else 0),
    ]
    carrier = Model(Carrier(noise, Frozen(Features(task.encoder))), mean=(0.0,), std=(1.0,))
    centre = torch.from_numpy(task.centres[target]).float()
    fit(carrier, x, np.zeros(len(x), np.int64), recipe, callbacks, towards(centre))
    with torch.no_grad():
        learned: npt.NDArray[np.float32] = noise().float().cpu().numpy()
    return learned


def _patterns(
    study: Study, rows: Sequence[int], groups: Labels, key: Key, cfg: ClusteredConfig
) -> dict[str, str]:
    """Name the noise of every item: its cluster, and the pattern that the key draws for it."""
    names = {}
    for row, cluster in zip(rows, groups, strict=True):
        item = study.items[row]
        names[item.id] = f"{cluster}/{key.stream(f'{PURPOSE}/pattern', item.id).choice(cfg.patterns)}"
    return names
