"""SEM: stable error-minimising noise (Liu, Xu, Chen, Sun; AAAI 2024; arXiv 2311.13091).

Noise on which, according to the paper, even adversarial training learns nothing: a surrogate is hardened by
PGD, step by step, on images that carry error-minimising noise. The noise itself is searched against *random*
perturbations only (10 descent steps of eps/5 from a random start; 5 random crops and flips each, a uniform
perturbation inside the surrogate's radius, gradient straight through). Afterwards every image gets its noise
from the final surrogate, the last partial batch as well (the authors' script drops it).

Shapes: working images ``float32 [N, C, H, W]`` in [0, 1]; noise is learned on squares of ``size`` pixels and
stretched over pictures of any size, within the same bound ``eps`` (in [0, 1] units).

Threat model: a trainer who trains from scratch on all protected images with your labels. The paper includes
adversarial training up to ``radius``; we found a part of that (benchmarks/leaderboard.py, three keys, small
network and search): it left 31.5 % (23.6 to 39.5), where clean images teach it 50.4 % and up to 36.3 % would
count as protected. It does not stop greyscale, JPEG, purification, pre-trained weights, self-supervised
learning, or anybody with many clean originals beside protected ones. Ours differs from the published
settings: small surrogate, 500 steps by default (the published ResNet-18 and 5000 steps take CPU weeks), seeds
from the key, images in [0, 1] with the surrogate's own normalisation, Nesterov momentum. A run that ``time``
stopped is not repeatable bit by bit. With AMX the inner loop is 3.2 times as fast as the published
formulation on the tiny network and 4.0 times on small and ResNet-18; with AVX-512 bf16, beside other work,
2.5, 2.8 and 2.3 times; in float32 (measured before searches ran on folded copies) 1.4 times and as fast.
REM's visit of an image takes 9.2 times as many surrogate passes as SEM's and, on tiny and small networks,
5.0 and 6.0 times its CPU seconds (AMX), 7.5 and 8.4 (AVX-512 bf16), 8.7 and 9.2 (float32;
benchmarks/sem_speed.py).
"""

from __future__ import annotations

from noli.core.key import Key
from noli.core.method import Card, DataSummary, Spec, State
from noli.ops import noisestore
from noli.train.options import RobustConfig


class Config(RobustConfig):
    """Options of SEM; see :class:`noli.train.options.RobustConfig` for the paper's values."""


SPEC = Spec(
    name="protect/sem",
    family="protect",
    arrow="data->data",
    config=Config,
    needs=frozenset({"key", "labels", "data"}),
    reversible=True,
    options=("time", "eps", "steps", "network"),
    module=__name__,
    trial={"steps": 2, "noise_steps": 2, "samples": 2, "adversary_steps": 2, "network": "tiny", "size": 16},
    card=Card(
        title="SEM: stable error-minimising noise",
        paper="Liu, Xu, Chen, Sun. Stable Unlearnable Example: Enhancing the Robustness of Unlearnable "
        "Examples via Stable Error-Minimizing Noise. AAAI 2024. arXiv 2311.13091",
        stops=(
            "Ordinary training from scratch on the protected images with their true labels; according to the "
            "paper adversarial training, too.",
        ),
        does_not_stop=(
            "Training on greyscale or JPEG copies, and purification by a generative model.",
            "A thief who learns the noise from clean originals beside protected ones.",
            "Adversarial training with a larger radius than the surrogate's; at its radius a small network "
            "still learned half of what clean images teach it so (benchmarks/leaderboard.py, three keys).",
            "Training with other labels, on unprotected copies, or from pre-trained weights, and "
            "self-supervised learning.",
        ),
        bibtex="@inproceedings{liu2024stable, title={Stable Unlearnable Example: Enhancing the Robustness of "
        "Unlearnable Examples via Stable Error-Minimizing Noise}, author={Liu, Yixin and Xu, Kaidi and Chen, "
        "Xun and Sun, Lichao}, booktitle={AAAI}, year={2024}}",
    ),
)


def prepare(summary: DataSummary, key: Key, cfg: Config, previous: State | None = None) -> State:
    """Learn the noise; see :func:`noli.train.learned.prepare_noise` for state and errors."""
    from functools import partial

    from noli.train.learned import prepare_noise
    from noli.train.minmin import robust

    return prepare_noise(summary, key, cfg, previous, partial(robust, random=True), SPEC.name)


apply, invert = noisestore.hooks()
