"""Image to image: a small network that says what has to be added to a changed picture."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from noli.core.model import Model
from noli.zoo.base import seeded

WIDTHS = (32, 48, 64)
_MULTIPLE = 2 ** len(WIDTHS)


class _Level(nn.Module):
    """One level of a U: change, go one level down and back where there is one, change again."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        width, *rest = widths
        self.before, self.after = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.below: nn.Module | None = None
        if rest:
            up = nn.Sequential(nn.Conv2d(rest[0], 4 * width, 1), nn.PixelShuffle(2))
            down = nn.Conv2d(width, rest[0], 2, stride=2)
            self.below = nn.Sequential(down, _Level(tuple(rest)), up)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, width, H, W]`` to the same shape."""
        # Sums throughout, so that no layer can cut off those before it by falling silent.
        x = x + self.before(F.relu(x))
        if self.below is not None:
            x = x + self.below(x)
        out: Tensor = x + self.after(F.relu(x))
        return out


class Restorer(nn.Module):
    """A U of three levels that starts at half resolution (Ronneberger et al. 2015, arXiv 1505.04597).

    Its last layer starts at zero: untrained it returns the picture as it is. No normalisation layers, so
    that nothing is lost of brightness and colour.

    Args:
        channels: 1 or 3.
        widths: Channels at a half, a quarter and an eighth of the resolution.
    """

    def __init__(self, channels: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, widths[0], 3, padding=1))
        self.inner = _Level(widths)
        self.leave = nn.Conv2d(widths[0], 4 * channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures ``[N, C, H, W]`` of any size from 1 pixel to the same shape."""
        if not len(x):  # unshuffling does not take it
            return x
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), mode="replicate")
        added: Tensor = F.pixel_shuffle(self.leave(self.inner(self.enter(padded))), 2)
        return x + added[:, :, :height, :width]


def restorer(channels: int, seed: int = 0) -> Model:
    """Return an untrained restorer; its outputs are pictures in [0, 1] units, not clipped."""
    with seeded(seed):
        net = Restorer(channels)
    return Model(net, mean=(0.0,), std=(1.0,))
