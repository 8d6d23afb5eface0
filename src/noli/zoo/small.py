"""Networks that train in seconds on two CPU cores."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from noli.zoo.base import Classifier, Residual, conv_block

SMALL_WIDTHS = (32, 64, 64, 128, 128)


def small(classes: int, channels: int = 3, widths: Sequence[int] = SMALL_WIDTHS) -> Classifier:
    """Five layers; the 2 x 2 stride-2 stem lets everything else run at half resolution.

    Args:
        classes: Number of classes.
        channels: 1 or 3.
        widths: Channels of the five layers; bf16 pays off from about 32.
    """
    a, b, c, d, e = widths
    body = nn.Sequential(
        conv_block(channels, a, kernel=2, stride=2),
        conv_block(a, b),
        conv_block(b, c),
        nn.MaxPool2d(2),
        conv_block(c, d),
        nn.MaxPool2d(2),
        conv_block(d, e),
    )
    return Classifier(body, e, classes)


def tiny(classes: int, channels: int = 3) -> Classifier:
    """The same, half as wide: for processors without fast bf16."""
    return small(classes, channels, (16, 32, 32, 64, 64))


def resnet9(classes: int, channels: int = 3, width: int = 32) -> Classifier:
    """Nine layers, two residual pairs, widths w, 2w, 4w, 8w at full, 1/2, 1/4 and 1/8 resolution."""
    w = width
    body = nn.Sequential(
        conv_block(channels, w),
        conv_block(w, 2 * w),
        nn.MaxPool2d(2),
        Residual(2 * w),
        conv_block(2 * w, 4 * w),
        nn.MaxPool2d(2),
        conv_block(4 * w, 8 * w),
        nn.MaxPool2d(2),
        Residual(8 * w),
    )
    return Classifier(body, 8 * w, classes)
