"""Orthogonal projection, OP (Sandoval-Segura et al., NeurIPS 2023, arXiv 2305.19254): adaptive rows.

A bias-free logistic regression on the protected pixels finds the directions in which the classes can be told
apart linearly, above all class-wise noise; they are removed from every image, and training goes on as usual.
As published: SGD from 0.1, 20 epochs, batches of 1,024, no augmentation. Ours: pixels about mid grey, a
cosine instead of two steps, weights from zero, and at least 200 steps, so that small data sets converge.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from noli.methods.verify.config import Config
from noli.methods.verify.countermeasures.adaptive import DISPLACE
from noli.methods.verify.measure import Measure, Squeeze
from noli.methods.verify.subject import Images, Labels
from noli.ops.countermeasures import grayscale
from noli.ops.projection import CENTRE, orthonormal, project_out

EPOCHS, BATCH, STEPS = 20, 1024, 200


def learned(x: Images, y: Labels, cfg: Config) -> Squeeze:
    """Learn what is linearly readable in ``uint8 [N, S, S, C]`` and return the change that removes it."""
    from torch import nn

    from noli.core.model import Model
    from noli.train.fit import fit
    from noli.train.recipe import Recipe

    shape = (int(np.prod(x.shape[1:])), max(2, int(y.max()) + 1))
    # Made without values, so that no generator is touched.
    layer = nn.Linear(*shape, bias=False, device="meta").to_empty(device="cpu")
    nn.init.zeros_(layer.weight)
    model = Model(nn.Sequential(nn.Flatten(), layer), mean=(CENTRE,), std=(1.0,))
    recipe = Recipe(
        epochs=EPOCHS, min_steps=STEPS, batch=BATCH, lr=0.1, weight_decay=0, bf16="off", device=cfg.device
    )
    fit(model, x, y, recipe)
    weights = next(model.parameters()).detach().cpu().numpy()
    return partial(project_out, basis=orthonormal(weights))


def learned_in_grey(x: Images, y: Labels, cfg: Config) -> Squeeze:
    """The same on images without colour, which are projected without colour."""
    remove = learned(grayscale(x), y, cfg)
    return lambda images: remove(grayscale(images))


PROJECTION = Measure(
    "op", "removes directions that tell protected classes apart linearly", "adaptive", learn=learned
)
GREY_PROJECTION = Measure(
    "grayscale+op",
    "drops colour, then removes linearly readable directions",
    "adaptive",
    learn=learned_in_grey,
)
PROJECTION_DISPLACE = Measure(
    "op+coin",
    "removes linearly readable directions, then moves every pixel at random",
    "adaptive",
    learn=learned,
    callbacks=DISPLACE.callbacks,
)
