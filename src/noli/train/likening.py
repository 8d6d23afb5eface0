"""Learning an encoder whose codes are distributed like given ones, without any pair: the MMD attack.

The attack that comes with NeuraCrypt (Yala et al., arXiv 2106.02484): a network of the same kind is trained
on public pictures until the means of its codes per picture cannot be told from those of the secret network,
by the maximum mean discrepancy under a sum of 19 Gaussian kernels. Its code was not used: sizes and steps are
ours, and much smaller.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.images import Stored, to_float
from noli.ops.decipher.tokens import Floats
from noli.train.steps import Steps, run_steps
from noli.zoo.base import seeded

# Squares of the kernels' widths (published: 1e-6 to 1e6, 19 of them).
BANDWIDTHS = tuple(float(one) for one in np.logspace(-6, 6, 19))
STEPS = Steps(steps=300, batch=100, lr=1e-3, weight_decay=1e-3, bf16="off")
WIDTH = 128


class PatchCoder(nn.Module):
    """A network over patches as NeuraCrypt has it, with weights that can be trained.

    Args:
        inputs: Values of a patch.
        places: Patches of a picture.
        outputs: Values of a code.
        width: Of the layers.
        depth: Layers with normalisation; -1: one linear layer, without places.
    """

    def __init__(self, inputs: int, places: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.linear = depth < 0
        self.first = nn.Linear(inputs, outputs if self.linear else width)
        self.deep = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.places = nn.Parameter(torch.randn(places, width))
        self.last = nn.Linear(width, outputs)

    def forward(self, patches: Tensor) -> Tensor:
        """Return codes ``[B, P, outputs]`` of patches ``[B, P, inputs]``."""
        x: Tensor = self.first(patches)
        if self.linear:
            return x
        x = F.relu(x)
        for layer in self.deep:
            x = layer(x)
            # Statistics of the batch, as published.
            x = F.relu((x - x.mean((0, 1))) / (x.var((0, 1), correction=0) + 1e-5).sqrt())
        found: Tensor = self.last(F.relu(x + self.places))
        return found


def discrepancy(one: Tensor, other: Tensor) -> Tensor:
    """Return the squared maximum mean discrepancy of rows ``[N, F]`` and ``[M, F]`` (Gretton, JMLR 2012).

    ``mean k(x, x') + mean k(y, y') - 2 mean k(x, y)`` over all pairs, k the sum of Gaussian kernels
    ``exp(-|x - y|^2 / (2 s))`` for every s in :data:`BANDWIDTHS`.
    """
    widths = one.new_tensor(BANDWIDTHS)

    def mean_of(x: Tensor, y: Tensor) -> Tensor:
        far = ((x[:, None] - y[None]) ** 2).sum(2)
        return torch.exp(-far[..., None] / (2 * widths)).sum(2).mean()

    return mean_of(one, one) + mean_of(other, other) - 2 * mean_of(one, other)


def patches_of(images: Stored, patch: int) -> Tensor:
    """Return patches ``float32 [N, P, C * patch * patch]`` of ``uint8 [N, S, S, C]``, values in [-1, 1]."""
    x = torch.from_numpy(to_float(images)) * 2 - 1
    return F.unfold(x, patch, stride=patch).transpose(1, 2).contiguous()


def alike_coder(public: Stored, means: Floats, patch: int, depth: int, how: Steps = STEPS) -> PatchCoder:
    """Train an encoder so that means of its codes are distributed like given ones.

    Args:
        public: ``uint8 [M, S, S, C]``, M at least 2: other pictures of the kind.
        means: ``float32 [N, F]``: the mean of the codes of each picture, N at least 2, of spread about one.
        patch: Side of a patch in pixels.
        depth: Of the secret network; -1 for a linear one.
        how: Steps and batch.

    Returns:
        The network, in evaluation mode; codes have F values.

    Raises:
        RunError: The loss is no longer finite.
    """
    patches, wanted = patches_of(public, patch), torch.from_numpy(means)
    with seeded(how.seed):
        net = PatchCoder(patches.shape[2], patches.shape[1], means.shape[1], WIDTH, depth)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        mine, theirs = (
            rows[torch.randperm(len(rows), generator=generator)[: how.batch]] for rows in (patches, wanted)
        )
        return discrepancy(net(mine).mean(1), theirs)

    run_steps("alike", {"coder": net}, loss, how)
    return net.eval()


def means_of(net: PatchCoder, images: Stored, patch: int) -> Floats:
    """Return the mean code ``float32 [N, F]`` of every picture ``uint8 [N, S, S, C]``."""
    with torch.no_grad():
        found: Floats = net(patches_of(images, patch)).mean(1).numpy()
    return found
