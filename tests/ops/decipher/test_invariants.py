"""What no key changes: pictures under two keys, and in plain, are seen alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from noli import registry
from noli.core.errors import DataError
from noli.engine.learned import own_keys
from noli.ops.decipher.invariants import MOST, fingerprint, invariants, patches

SCHEMES = [
    ("etc", {"block": 2}, "etc"), ("etc", {"block": 4}, "etc"), ("etc", {"block": 16}, "etc"),
    ("le", {}, "le"), ("le", {"block": 8}, "le"), ("ele", {}, "ele"), ("pixel", {}, "pixel"),
    ("shuffle", {"kind": "shf", "block": 4}, "shf"), ("shuffle", {"kind": "np", "block": 4}, "np"),
]  # fmt: skip


def pictures(count: int, height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """Noise: the parts of its blocks are hardly ever equal, so that there are few ties."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("method", "options", "scheme"), SCHEMES)
def test_two_keys_and_none_give_the_same(
    method: str, options: dict[str, Any], scheme: Any, channels: int
) -> None:
    spec = registry.get(f"lock/{method}")
    cfg = spec.config.model_validate(options)
    block = int(getattr(cfg, "block", 1))
    # No more blocks than are kept.
    size = (16, 32) if block == 2 else (32, 48)
    x = pictures(3, *size, channels)
    scrambled = [own_keys(spec, cfg, seed)(x, 0) for seed in (0, 1)]
    assert not np.array_equal(*scrambled)
    together = np.concatenate([x, *scrambled, pictures(3, *size, channels, seed=9)])
    plain, one, other, strangers = np.split(fingerprint(invariants(scheme, together, block)), 4)
    # A tie between quarters or colours of a block is broken in one way or the other: some values swap.
    far = np.abs(one - strangers).mean()
    assert np.abs(one - other).mean() < 0.05 * far
    assert np.abs(one - plain).mean() < 0.05 * far


def test_the_shape_of_what_is_seen_does_not_depend_on_the_size() -> None:
    for size in ((16, 16), (64, 96), (192, 192)):
        x = pictures(1, *size, 3)
        assert invariants("le", x, 4).values.shape == (1, 64, 32)
        assert invariants("pixel", x, 1).values.shape == (1, 64, 48)
        found = invariants("etc", x, 4).values
        assert found.shape == (1, min(MOST, size[0] * size[1] // 16), 51)
        assert np.isfinite(found).all()


def test_many_pictures_are_seen_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pictures(5, 16, 16, 3)
    whole = invariants("etc", x, 4).values
    monkeypatch.setattr("noli.ops.decipher.invariants._VALUES", 2 * x[0].size)
    assert np.array_equal(invariants("etc", x, 4).values, whole)


def test_flat_pictures_are_seen_without_trouble() -> None:
    flat = np.full((2, 16, 16, 3), 90, np.uint8)
    for scheme in ("etc", "le", "ele", "pixel", "shf"):
        assert np.isfinite(fingerprint(invariants(scheme, flat, 4))).all()  # type: ignore[arg-type]


def test_patches_are_blocks_until_there_are_too_many() -> None:
    x = pictures(2, 32, 32, 3)
    found = patches(x, 8)
    assert found.placed
    assert found.values.shape == (2, 16, 192)
    expected = x[1, 8:16, 24:32].reshape(-1) / 127.5 - 1
    np.testing.assert_allclose(found.values[1, 7], expected, rtol=1e-5, atol=1e-6)
    assert patches(pictures(1, 100, 100, 1), 2).values.shape == (1, 64, 169)


@pytest.mark.parametrize("shape", [(2, 8, 8, 4), (0, 8, 8, 3), (8, 8, 3)])
def test_other_pictures_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="8-bit pictures"):
        invariants("etc", np.zeros(shape, np.uint8), 4)
    with pytest.raises(DataError, match="8-bit pictures"):
        patches(np.zeros(shape, np.uint8), 4)
