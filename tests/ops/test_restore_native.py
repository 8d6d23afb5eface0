"""The leaked-pairs attack on images of their own sizes, one at a time."""

import cv2
import numpy as np
import pytest

from noli.ops.filters import filter_batch
from noli.ops.leak import restore_native


def textured(count, side=24, seed=0):
    """Textured pictures: noise at two scales, so that a filter can be read off any of them."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(40, 200, (count, 6, 6, 3)).astype(np.float32)
    grown = np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) for image in coarse])
    return np.clip(grown + generator.normal(0, 18, grown.shape), 0, 250).astype(np.uint8)


def blurred(images, taps):
    working = np.ascontiguousarray((images / np.float32(255)).astype(np.float32).transpose(0, 3, 1, 2))
    kernels = np.ascontiguousarray(np.broadcast_to(taps, (len(images), *taps.shape)).astype(np.float32))
    out = filter_batch(working, kernels, "reflect").transpose(0, 2, 3, 1)
    return np.clip(out * 255 + 0.5, 0, 255).astype(np.uint8)


def attack(clean, protected, labels, pairs=1, finish=lambda pixels: pixels):
    return restore_native(lambda row: clean[row], lambda row: protected[row], labels, pairs, finish)


TAPS = np.array([[0.05, 0.1, 0.05], [0.1, 0.5, 0.05], [0.05, 0.05, 0.05]])


def error(a, b):
    return float(np.mean((np.asarray(a, float) - b) ** 2))


def test_each_class_is_inverted_with_its_own_filter():
    clean, labels = textured(8), np.arange(8) % 2
    protected = np.where(
        labels[:, None, None, None] == 0, blurred(clean, TAPS), blurred(clean, TAPS[::-1, ::-1])
    )
    restored = attack(clean, protected, labels)
    assert restored.dtype == np.uint8
    for label in (0, 1):
        rows = labels == label
        assert error(restored[rows], clean[rows]) < 0.3 * error(protected[rows], clean[rows])


def test_images_without_a_filter_hardly_change():
    clean, labels = textured(6), np.zeros(6, np.int64)
    assert error(attack(clean, clean, labels), clean) < 3


def test_an_inversion_that_makes_things_worse_is_not_used():
    clean, labels = textured(6), np.zeros(6, np.int64)
    protected = clean.copy()
    protected[0] = blurred(clean[:1], TAPS)[0]  # only the leaked pair was filtered
    assert np.array_equal(attack(clean, protected, labels), protected)


def test_results_come_in_the_given_order_and_size():
    clean, labels = textured(6), np.array([2, 0, 2, 1, 0, 1])
    restored = attack(clean, clean, labels, finish=lambda pixels: pixels[:8, :8])
    assert restored.shape == (6, 8, 8, 3)
    assert error(restored, clean[:, :8, :8]) < 3


@pytest.mark.parametrize("pairs", [1, 3])
def test_resized_pairs_give_no_estimate_and_leave_the_class_alone(pairs):
    clean, small = textured(5, side=24), textured(5, side=16)
    restored = attack(clean, small, np.zeros(5, np.int64), pairs)
    assert np.array_equal(restored, small)


def test_images_of_mixed_sizes_share_the_filter_of_their_class():
    large, small = textured(3, side=32), textured(3, side=20, seed=1)
    clean = [*large, *small]
    protected = [*blurred(large, TAPS), *blurred(small, TAPS)]
    restored = attack(clean, protected, np.zeros(6, np.int64), 2, lambda pixels: pixels[:20, :20])
    before = np.stack([pixels[:20, :20] for pixels in protected])
    assert error(restored, np.stack([p[:20, :20] for p in clean])) < 0.4 * error(
        before, np.stack([p[:20, :20] for p in clean])
    )
