"""Gratings: secret stripes that a network comes to read as classes, found again with secret queries (ours).

The evidence is that of Data Taggants (arXiv 2410.09101): every secret has a class that was drawn at random,
and a model that learned from the marked pictures answers the secret's query with it more often than chance.
The mark is another one. A share of the pictures of that class gets the secret's stripes, a square wave over
the whole picture within ``eps``; the query shows the same stripes, stronger, on grey. Convolutions read
stripes wherever they lie, so that crops and flips leave them what they are. Nothing is learned to make them,
and labels stay true.

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1] of any size; ``eps`` in [0, 1] units.

Threat model: somebody trains on the published data with its labels and serves the model; the owner sees its
first k classes. It does not stop training; it does not stop a thief who removes stripes (they are a peak in a
picture's spectrum), who has clean originals beside marked ones, or who trains on few of the marked pictures.
Queries are stripes on grey: a service that refuses them makes them misses, which costs power, never validity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydantic import Field

from noli.core.dataset import Item, check_labels
from noli.core.errors import DataError
from noli.core.images import Working
from noli.core.key import Key
from noli.core.method import Card, DataSummary, Spec, State
from noli.ops.noise import additive
from noli.ops.queries import grating, striped
from noli.proof import marks
from noli.proof.commitment import Vault
from noli.proof.marks import MarkConfig
from noli.train.options import Bound


class Config(MarkConfig):
    """Options of gratings; chosen in trials on 10,000 images of CIFAR-10 (docs: prove use)."""

    share: float = Field(0.1, gt=0, le=1, description="share of all pictures that is marked")
    eps: Bound = 16 / 255
    shortest: float = Field(3.0, ge=1, le=64, description="fewest stripes of a picture, in cycles")
    longest: float = Field(8.0, ge=1, le=128, description="most stripes of a picture, in cycles")
    contrast: float = Field(
        0.19, gt=0, le=0.5, description="distance of the query's stripes from grey, in [0, 1] units"
    )
    side: int = Field(32, ge=8, le=1024, description="side of the queries in pixels")
    grey: bool = Field(False, description="queries have one channel")


SPEC = Spec(
    name="mark/gratings",
    family="mark",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "labels"}),
    reversible=True,
    options=("keys", "share", "eps", "looks", "alpha", "side"),
    module=__name__,
    trial={"share": 1.0, "keys": 24},
    card=Card(
        title="Gratings: secret stripes with random classes",
        paper="noli; the evidence is that of Bouaziz, Usunier, El-Mhamdi. Data Taggants. ICLR 2025. "
        "arXiv 2410.09101",
        stops=(
            "Nothing: it is evidence. Whoever trained on the marked pictures and serves the model can be "
            "found with the first classes of its answers alone.",
        ),
        does_not_stop=(
            "Training on the data.",
            "Somebody who looks at spectra: the stripes can be found and removed.",
            "A service that refuses stripes on grey: such queries count as misses.",
            "Training on an unmarked copy, or on few of the marked pictures.",
        ),
    ),
)


def fixed(summary: DataSummary, cfg: Config, previous: State | None = None) -> State:
    """Return what has to be known to commit to the secrets; what ``previous`` fixes stays.

    Raises:
        DataError: Fewer than two classes.
        UsageError: Too few secrets to be evidence ever, or some that no test asks.
    """
    classes = list((previous or {}).get("classes") or summary.classes)
    if len(classes) < 2:
        fix = "add pictures of others"
        raise DataError("Marks need at least two classes.", where=", ".join(classes), fix=fix)
    marks.check_possible(classes, cfg, begun=bool(previous))
    source = (previous or {}).get("source", marks.source_of(summary))
    return {"classes": classes, "source": source, **marks.public_of(previous)}


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Fix the classes; those of ``previous`` stay, and pictures of classes that come later are not marked.

    Returns:
        ``{"classes", "source" (digest), "protocol" (digest)}``, and what a beacon adds.

    Raises:
        DataError: Fewer than two classes.
        UsageError: Too few secrets to be evidence ever, or a beacon whose round is not known yet.
    """
    state = fixed(summary, cfg, previous)
    marks.refuse_waiting(state)
    return {**state, "protocol": marks.claim_of(state, cfg).digest}


def pictures(state: State, key: Key, cfg: Config) -> list[list[npt.NDArray[np.uint8]]]:
    """Return the query of every secret, ``uint8 [S, S, C]``."""
    channels, ring = 1 if cfg.grey else 3, (cfg.shortest, cfg.longest)
    made = marks.secrets(key, marks.claim_of(state, cfg))
    return [[striped(secret, cfg.side, channels, ring, cfg.contrast)] for secret in made]


def vault(state: State, key: Key, cfg: Config) -> Vault:
    """Return the owner's side of the commitment."""
    return marks.vault(key, marks.claim_of(state, cfg), pictures(state, key, cfg))


@lru_cache(maxsize=4)
def _by_class(key: Key, fixes: str, cfg: Config) -> dict[str, list[Key]]:
    state = json.loads(fixes)
    classes, claim = state["classes"], marks.claim_of(state, cfg)
    found: dict[str, list[Key]] = {name: [] for name in classes}
    for secret, target in zip(marks.secrets(key, claim), marks.drawn(state, key, cfg), strict=True):
        found[classes[target]].append(secret)
    return found


def _grouped(state: State, key: Key, cfg: Config) -> Mapping[str, list[Key]]:
    """Return the secrets of every class."""
    named = {"classes": state["classes"], "source": state.get("source", ""), **marks.public_of(state)}
    return _by_class(key, json.dumps(named, sort_keys=True), cfg)


def _secret_of(item: Item, key: Key, groups: Mapping[str, list[Key]], cfg: Config) -> Key | None:
    """Return the secret whose stripes a picture gets; None for most of them."""
    own = groups.get(str(item.label), [])
    stream = key.stream("mark/gratings/item", item.id)
    # Every secret gets the same number of pictures where classes are of equal size.
    chance = cfg.share * len(groups) * len(own) / (cfg.keys + cfg.reserve)
    if not own or stream.uniform(1)[0] >= chance:
        return None
    return own[stream.choice(len(own))]


def _noise(
    state: State, items: Sequence[Item], key: Key, cfg: Config, channels: int, height: int, width: int
) -> Working:
    check_labels(items, "A mark")
    made = np.zeros((len(items), channels, height, width), np.float32)
    # Whole levels of 8 bits within eps, so that rounding on writing adds nothing.
    strength = np.float32(np.floor(cfg.eps * 255 + 0.01) / 255)
    groups = _grouped(state, key, cfg)
    for place, item in enumerate(items):
        secret = _secret_of(item, key, groups, cfg)
        if secret is not None:
            ring = (cfg.shortest, cfg.longest)
            made[place] = strength * grating(secret, height, width, channels, ring)
    return made


apply, invert = additive(_noise)
