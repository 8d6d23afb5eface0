"""Networks that make a picture of noise from a picture of random numbers."""

from __future__ import annotations

from torch import nn

from noli.zoo.base import Residual, conv_block

BLOCKS = 6


def generator(channels: int, width: int = 32, blocks: int = BLOCKS) -> nn.Module:
    """Encoder, residual blocks, decoder (the generator of UC, arXiv 2301.01217, which takes 64 and 6).

    Args:
        channels: Channels C in and out.
        width: Channels of the first layer; doubled twice.
        blocks: Residual blocks at a quarter of the side.

    Returns:
        A module ``[N, C, S, S] -> [N, C, S, S]`` in [-1, 1]; S must be a multiple of 4.
    """
    w = width
    return nn.Sequential(
        conv_block(channels, w, kernel=7),
        conv_block(w, 2 * w, stride=2),
        conv_block(2 * w, 4 * w, stride=2),
        *(Residual(4 * w) for _ in range(blocks)),
        nn.Upsample(scale_factor=2),
        conv_block(4 * w, 2 * w),
        nn.Upsample(scale_factor=2),
        conv_block(2 * w, w),
        nn.Conv2d(w, channels, 7, padding=3),
        nn.Tanh(),
    )
