from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.ops.filters import adjoint_batch, filter_batch, image_peaks, invert_batch, rescale_to_max

BORDERS = ("zero", "reflect")


def slow_filter(image: np.ndarray, kernel: np.ndarray, border: str, anchor: tuple[int, int]) -> np.ndarray:
    """One image [C, H, W], one kernel, three loops, float64."""
    c, h, w = image.shape
    k = len(kernel)
    (top, left), mode = anchor, "constant" if border == "zero" else border
    grown = np.pad(image.astype(np.float64), ((0, 0), (top, k - 1 - top), (left, k - 1 - left)), mode=mode)
    out = np.zeros((c, h, w))
    for ch in range(c):
        for i in range(h):
            for j in range(w):
                out[ch, i, j] = float((grown[ch, i : i + k, j : j + k] * kernel).sum())
    return out


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 3),
    c=st.sampled_from([1, 3]),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    k=st.sampled_from([1, 3, 5, 9]),
    border=st.sampled_from(BORDERS),
    seed=st.integers(0, 10**6),
    anchored=st.booleans(),
)
def test_filter_equals_the_slow_oracle(
    n: int, c: int, h: int, w: int, k: int, border: str, seed: int, anchored: bool
) -> None:
    rng = np.random.default_rng(seed)
    batch = rng.random((n, c, h, w), dtype=np.float32)
    kernels = rng.normal(size=(n, k, k)).astype(np.float32)
    anchors = rng.integers(0, k, (n, 2)) if anchored else np.full((n, 2), k // 2)
    fast = filter_batch(batch, kernels, border, anchors if anchored else None)  # type: ignore[arg-type]
    assert fast.shape == batch.shape
    assert fast.dtype == np.float32
    for image, kernel, anchor, result in zip(batch, kernels, anchors, fast, strict=True):
        np.testing.assert_allclose(result, slow_filter(image, kernel, border, tuple(anchor)), atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    h=st.integers(1, 8),
    w=st.integers(1, 8),
    k=st.sampled_from([3, 5]),
    border=st.sampled_from(BORDERS),
    seed=st.integers(0, 10**6),
)
def test_adjoint_is_the_transpose(h: int, w: int, k: int, border: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3, h, w)).astype(np.float32)
    y = rng.normal(size=(2, 3, h, w)).astype(np.float32)
    kernels = rng.normal(size=(2, k, k)).astype(np.float32)
    anchors = rng.integers(0, k, (2, 2))
    left = (filter_batch(x, kernels, border, anchors) * y).sum(axis=(1, 2, 3))  # type: ignore[arg-type]
    right = (x * adjoint_batch(y, kernels, border, anchors)).sum(axis=(1, 2, 3))  # type: ignore[arg-type]
    np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("border", BORDERS)
def test_inverse_finds_the_dense_solution(border: str) -> None:
    rng = np.random.default_rng(3)
    h, w, damping = 5, 6, 1e-2
    image = rng.random((1, 1, h, w), dtype=np.float32)
    kernel = rng.uniform(0, 0.3, (1, 3, 3)).astype(np.float32)
    kernel[0, 1, 1] = 1
    kernel /= kernel.sum()
    basis = np.eye(h * w, dtype=np.float32).reshape(h * w, 1, h, w)
    columns = filter_batch(basis, np.repeat(kernel, h * w, axis=0), border)  # type: ignore[arg-type]
    A = columns.reshape(h * w, h * w).T.astype(np.float64)
    seen = filter_batch(image, kernel, border)  # type: ignore[arg-type]
    first, y = seen.ravel().astype(np.float64), seen.ravel().astype(np.float64)  # the kernel's sum is 1
    exact = first + np.linalg.solve(A.T @ A + damping * np.eye(h * w), A.T @ (y - A @ first))
    found = invert_batch(seen, [(kernel, None)], border, damping=damping, steps=200)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.ravel(), exact, atol=2e-4)
    # Two filters are their sum, wherever their anchors lie.
    spots = np.array([[0, 2]])
    moved = [(kernel * 0.5, None), (kernel * 0.5, spots)]
    columns = sum(filter_batch(basis, np.repeat(k, h * w, 0), border,  # type: ignore[arg-type, misc]
                               None if s is None else np.repeat(s, h * w, 0)) for k, s in moved)  # fmt: skip
    A = columns.reshape(h * w, h * w).T.astype(np.float64)
    y = A @ image.ravel()
    exact = y + np.linalg.solve(A.T @ A + damping * np.eye(h * w), A.T @ (y - A @ y))
    seen = y.reshape(image.shape).astype(np.float32)
    found = invert_batch(seen, moved, border, damping=damping, steps=300)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.ravel(), exact, atol=1e-3)


def test_rescale_leaves_black_images_black_and_lifts_the_rest_to_one() -> None:
    batch = np.stack([np.zeros((3, 4, 5)), np.full((3, 4, 5), 0.25), np.full((3, 4, 5), 2.0)]).astype(
        np.float32
    )
    batch[1, 2, 3, 4] = 0.5
    scaled = rescale_to_max(batch.copy())
    assert scaled[0].max() == 0
    assert scaled[1].max() == pytest.approx(1)
    assert scaled[1].min() == pytest.approx(0.5)
    assert scaled[2].max() == pytest.approx(1)
    np.testing.assert_array_equal(image_peaks(batch), batch.reshape(3, -1).max(1))
    assert len(image_peaks(batch[:0])) == 0
