"""Data Taggants: secret queries that only a model which learned from the data answers as told (ICLR 2025).

Bouaziz, Usunier, El-Mhamdi, arXiv 2410.09101. Every secret key is a query picture with a random class. Some
pictures of that class, with their true labels, are changed a little so that their training gradient points
where that of the query does (gradient matching, Witches' Brew, arXiv 2009.02276). A model that trained on
them tends to answer the query with its class; any other model does so by chance alone, because the class was
drawn at random. No trigger, no wrong label, no access to weights.

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1]; changes are learned on squares of the data's side
and stretched over pictures of any size, within ``eps`` (in [0, 1] units); unsigned pictures stay as they are.

Threat model: somebody trains on the published data and serves the model; the owner sees its first k classes.
It does not stop training, and it does not stop a thief who filters queries that look like noise (that costs
power, never validity), who trains on other copies, or who has clean originals beside the signed ones.

Where ours differs: classes are drawn independently, uniformly and from the key (the authors' script permutes
them, which makes the binomial tail conservative and caps the keys at the number of classes); the step of the
search is a share of eps and starts inside of it; changes are kept in 255 levels and measured as written;
restarts really restart; queries are made at the data's own size.
With ``labels="permuted"`` classes are drawn as in the script; the binomial tail is
conservative then, and no bundle is made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.dataset import Item
from noli.core.errors import DataError, UsageError
from noli.core.images import Working
from noli.core.key import Key
from noli.core.method import FOLDER, Card, DataSummary, Spec, State
from noli.ops import noisestore
from noli.ops.noise import additive
from noli.ops.queries import QueryFamily, query
from noli.proof import marks
from noli.proof.commitment import Vault
from noli.proof.marks import MarkConfig
from noli.train.options import Bound, LpipsFile

PURPOSE = "mark/taggants"


class Config(MarkConfig):
    """Options of Data Taggants. Paper (ImageNet): 10 keys, 0.1 % signed, eps 16/255, 250 steps, k = 10."""

    share: float = Field(0.2, gt=0, le=1, description="share of all pictures that is signed (paper: 0.001)")
    eps: Bound = 16 / 255
    queries: QueryFamily = Field("noise", description="blocks of noise, a collage, or natural photographs")
    blocks: int = Field(8, ge=2, le=64, description="blocks per side of a query")
    labels: Literal["iid", "permuted"] = Field(
        "iid", description="classes drawn independently, or without replacement as in the authors' script"
    )
    surrogates: int = Field(1, ge=1, le=16, description="networks that the search is averaged over")
    network: Literal["tiny", "small", "resnet9", "resnet18"] = Field(
        "tiny", description="surrogate network (paper: ViT-S, ResNet-18)"
    )
    epochs: int = Field(10, ge=1, description="training of each surrogate")
    iterations: int = Field(100, ge=1, description="steps of the search per key (paper: 250)")
    restarts: int = Field(1, ge=1, le=16, description="searches per key, of which the best is kept")
    perceptual: float = Field(
        0.0, ge=0, description="weight of 1 - SSIM, or of LPIPS, in the search (paper: 0.01, of LPIPS)"
    )
    lpips: LpipsFile = None
    size: Literal["auto"] | int = Field("auto", description="side in pixels of queries and changes")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where surrogates are trained")


SPEC = Spec(
    name=PURPOSE,
    family="mark",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "labels", "data"}),
    options=("keys", "share", "eps", "looks", "k", "alpha"),
    module=__name__,
    trial={"keys": 3, "alpha": 0.05, "share": 1.0, "iterations": 2, "epochs": 1, "size": 16},
    card=Card(
        title="Data Taggants: secret queries with random classes",
        paper="Bouaziz, Usunier, El-Mhamdi. Data Taggants: Dataset Ownership Verification via Harmless "
        "Targeted Data Poisoning. ICLR 2025. arXiv 2410.09101",
        stops=(
            "Nothing: it is evidence. Whoever trained on the signed pictures and serves the model can be "
            "found with the first k classes of its answers alone.",
        ),
        does_not_stop=(
            "Training on the data.",
            "A service that refuses what looks like noise, or answers it at random: such queries are misses.",
            "Training on an unsigned copy, on few of the signed pictures, or after strong purification.",
            "Small budgets on small pictures: see the frontier in the docs before you rely on it.",
        ),
        bibtex="@inproceedings{bouaziz2025data, title={Data Taggants: Dataset Ownership Verification via "
        "Harmless Targeted Data Poisoning}, author={Bouaziz, Wassim and Usunier, Nicolas and El-Mhamdi, "
        "El-Mahdi}, booktitle={ICLR}, year={2025}}",
    ),
)


def pictures(state: State, key: Key, cfg: Config) -> list[list[npt.NDArray[np.uint8]]]:
    """Return the query of every secret, ``uint8 [S, S, C]``."""
    side, channels = state["side"], state["channels"]
    made = marks.secrets(key, marks.claim_of(state, cfg))
    return [[query(secret, cfg.queries, side, channels, cfg.blocks)] for secret in made]


def vault(state: State, key: Key, cfg: Config) -> Vault:
    """Return the owner's side of the commitment.

    Raises:
        UsageError: The classes were permuted, so that no exact test of them exists.
    """
    if cfg.labels == "permuted":
        raise UsageError(
            "No evidence can be made of permuted classes.",
            why="their hits are not independent; the binomial tail is only a bound",
            fix="mark with --set labels=iid, the default",
        )
    return marks.vault(key, marks.claim_of(state, cfg), pictures(state, key, cfg))


def targets(state: State, key: Key, cfg: Config) -> list[int]:
    """Return the class number of every secret.

    Raises:
        UsageError: Permuted classes for more secrets than classes, or a beacon whose round is not known yet.
    """
    if cfg.labels == "iid":
        return marks.drawn(state, key, cfg)
    classes, claim = state["classes"], marks.claim_of(state, cfg)
    if claim.secrets > len(classes):
        why = f"{claim.secrets} secrets and {len(classes)} classes"
        raise UsageError("Permuted classes need a class per secret.", why=why, fix="use fewer keys")
    order = key.stream(f"{PURPOSE}/permuted", claim.digest).permutation(len(classes))
    return [int(number) for number in order[: claim.secrets]]


def fixed(summary: DataSummary, cfg: Config, previous: State | None = None) -> State:
    """Return what has to be known to commit to the secrets.

    Raises:
        DataError: Fewer than two classes, too few pictures to sign, or other data than ``previous`` is about.
        UsageError: Too few secrets to be evidence ever.
    """
    study = summary.study
    if study is None:
        raise UsageError("This method learns from the data: it needs it in `prepare`.", where=PURPOSE)
    if len(summary.classes) < 2:
        what = "Marks need at least two classes."
        raise DataError(what, where=", ".join(summary.classes), fix="add pictures of others")
    from noli.train.signing import pictures_each, square_of
    from noli.zoo.likeness import picture_distance

    marks.check_possible(summary.classes, cfg, begun=bool(previous))
    pictures_each(cfg.share, len(study.items), cfg.keys + cfg.reserve)
    side, channels = square_of(summary, cfg)
    picture_distance(cfg.lpips, cfg.perceptual, side=side)  # now rather than after the surrogates
    made = {
        "classes": list(summary.classes),
        "side": side,
        "channels": channels,
        "source": marks.source_of(summary),
    }
    if previous and any(previous[name] != value for name, value in made.items()):
        fix = "put the data back as it was, or begin anew with another output"
        raise DataError("The data is not that of the commitment any more.", where=summary.uri, fix=fix)
    return {**made, **marks.public_of(previous)}


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Choose and sign pictures; pictures that are added later stay unsigned.

    Returns:
        ``{"classes", "side", "channels", "noise" (file), "signed", "source" and "protocol" (digests),
        "reached"}``, and what a beacon adds.

    Raises:
        DataError: Items without a class, fewer than two classes, too few pictures to sign, or data that
            changed while a beacon was waited for.
        UsageError: Too few secrets to be evidence ever, or a beacon whose round is not known yet.
    """
    if previous and "noise" in previous:
        return dict(previous)
    start = fixed(summary, cfg, previous)
    marks.refuse_waiting(start)
    from noli.train.signing import sign_pictures

    state = sign_pictures(
        summary,
        key,
        cfg,
        targets=targets(start, key, cfg),
        queries=[group[0] for group in pictures(start, key, cfg)],
        named=marks.claim_of(start, cfg).digest,
    )
    return {**state, **start}


def _noise(
    state: State, items: Sequence[Item], key: Key, cfg: Config, channels: int, height: int, width: int
) -> Working:
    store = noisestore.read(state[FOLDER], state["noise"])
    made = np.zeros((len(items), channels, height, width), np.float32)
    for place, item in enumerate(items):
        row = store.rows.get(item.id)
        if row is not None:
            made[place] = noisestore.stretched(store.noise[row : row + 1], cfg.eps, height, width, channels)[
                0
            ]
    return made


apply, _ = additive(_noise)
