"""UC: unlearnable clusters (Zhang, Ma, Yi, Sang, Jiang, Wang, Xu; CVPR 2023; arXiv 2301.01217).

Needs no labels: pictures are clustered by an encoder, and every cluster gets noise of its own that moves its
pictures, as the encoder sees them, to the centre of another cluster. A trainer with whatever labels learns to
tell the noise apart.

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1]; noise is learned on squares of ``size`` pixels and
stretched over pictures of any size, within the same bound ``eps`` (in [0, 1] units). New pictures of an
extended run get the noise of the nearest centre; nothing is learned again.

Threat model: a trainer who trains from scratch on all protected pictures, with labels that the owner does not
know. With the defaults here it does not stop ordinary training either (see the card), and it never stops
whoever averages the change over leaked pairs or finds the patterns by a linear probe: there are only clusters
x patterns of them. Where ours differs from the paper and the authors' script: centres start from the key and
targets are drawn by it; noise is bounded by a scaled tanh; it is learned under shifts unless ``shifted`` is
off; each cluster's noise is learned on its own pictures (``data=all`` is the script's way); AdamW with a
constant learning rate; no bound on the L2 norm; small encoders and few steps by default, because 50 epochs of
a ResNet-50 take CPU weeks.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence

from noli.core.dataset import Item
from noli.core.key import Key
from noli.core.method import FOLDER, Card, DataSummary, Spec, State
from noli.ops import assignments, noisestore
from noli.train.options import ClusteredConfig


class Config(ClusteredConfig):
    """Options of UC; see :class:`noli.train.options.ClusteredConfig` for the paper's values."""


SPEC = Spec(
    name="protect/uc",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "data"}),
    reversible=True,
    options=("eps", "clusters", "patterns", "encoder", "maker"),
    module=__name__,
    trial={
        "encoder": "own",
        "encoder_epochs": 1,
        "network": "tiny",
        "size": 16,
        "clusters": 2,
        "patterns": 2,
        "steps": 2,
    },
    card=Card(
        title="UC: unlearnable clusters",
        paper="Zhang, Ma, Yi, Sang, Jiang, Wang, Xu. Unlearnable Clusters: Towards Label-agnostic "
        "Unlearnable Examples. CVPR 2023. arXiv 2301.01217",
        stops=(
            "With the defaults here next to nothing (see below). According to the paper, with larger "
            "encoders and longer searches, training from scratch with labels the owner does not know.",
        ),
        does_not_stop=(
            "Ordinary training, with the defaults here: in noli's leaderboard it learned nearly as much as "
            "from clean pictures, with EfficientNet-Lite0 as with an encoder learned from them.",
            "Greyscale or JPEG copies, sharpening with frequency filtering (RSK+FF) and random displacement "
            "(COIN), which learned nearly as much, too.",
            "Averaging: a cluster has few patterns, and one leaked pair per class or more shows them.",
            "Removing linearly readable directions (orthogonal projection), purification, and adversarial "
            "training.",
            "Training with few labels that each hold many clusters: they see the noise mixed.",
            "Training on unprotected copies, or from pre-trained weights.",
        ),
        bibtex="@inproceedings{zhang2023unlearnable, title={Unlearnable Clusters: Towards Label-Agnostic "
        "Unlearnable Examples}, author={Zhang, Jiaming and Ma, Xingjun and Yi, Qi and Sang, Jitao and Jiang, "
        "Yu-Gang and Wang, Yaowei and Xu, Changsheng}, booktitle={CVPR}, year={2023}}",
    ),
)


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Cluster the pictures and learn the noise; see :func:`noli.train.clustered.prepare_clusters`."""
    from noli.train.clustered import prepare_clusters

    return prepare_clusters(summary, key, cfg, previous)


def _rows(state: State, items: Sequence[Item], key: Key, cfg: Config) -> list[str]:
    assigned = ChainMap(*(assignments.read(state[FOLDER], file) for file in state["assigned"]))
    return [assigned.get(item.id, item.id) for item in items]  # no noise has the name of an item


apply, invert = noisestore.hooks(_rows)
