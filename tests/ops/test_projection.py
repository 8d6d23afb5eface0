import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.ops.projection import orthonormal, project_out


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 3), c=st.sampled_from([1, 3]), h=st.integers(1, 6), w=st.integers(1, 6),
    k=st.integers(1, 4), seed=st.integers(0, 99),
)  # fmt: skip
def test_equals_gram_schmidt_one_image_at_a_time(n, c, h, w, k, seed):
    generator = np.random.default_rng(seed)
    k = min(k, c * h * w)
    weights, x = generator.normal(size=(k, c * h * w)), generator.integers(0, 256, (n, h, w, c), np.uint8)
    fast = project_out(x, orthonormal(weights))
    directions = []
    for row in weights:
        for earlier in directions:
            row = row - (row @ earlier) * earlier
        directions.append(row / np.linalg.norm(row))
    for image, out in zip(x, fast, strict=True):
        flat = image.transpose(2, 0, 1).ravel() / 255 - 0.5
        for direction in directions:
            flat = flat - (flat @ direction) * direction
        slow = np.clip((flat + 0.5).reshape(c, h, w).transpose(1, 2, 0), 0, 1) * 255
        assert np.abs(out - slow).max() <= 0.51


def test_dependent_and_zero_rows_are_left_out():
    rows = np.array([[1.0, 2, 0, 0], [2, 4, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]])
    basis = orthonormal(rows)
    assert basis.shape == (4, 2)
    assert np.allclose(basis.T @ basis, np.eye(2), atol=1e-6)
    assert np.linalg.matrix_rank(np.vstack([basis.T, rows]), tol=1e-5) == 2


def test_class_wise_noise_along_known_directions_goes():
    generator = np.random.default_rng(0)
    x = generator.integers(60, 190, (40, 8, 8, 3), np.uint8)
    signs = generator.choice([-1, 1], (2, 8, 8, 3))
    noisy = (x + 16 * signs[np.arange(40) % 2]).astype(np.uint8)
    basis = orthonormal(signs.transpose(0, 3, 1, 2).reshape(2, -1).astype(float))
    left = project_out(noisy, basis).astype(float) - project_out(x, basis)
    assert np.abs(left).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_an_empty_basis_changes_nothing(channels):
    x = np.random.default_rng(0).integers(0, 256, (3, 4, 5, channels), np.uint8)
    assert np.array_equal(project_out(x, np.zeros((20 * channels, 0), np.float32)), x)
