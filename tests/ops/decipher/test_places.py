"""Places with keys of their own fall to many pictures under one key, and not to pictures under fresh ones."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from noli.core.attacks import STATISTICS
from noli.core.keystream import Stream
from noli.data.demo import photo_folder
from noli.ops import schemes
from noli.ops.decipher import jigsaw, places, statistics
from noli.ops.decipher.borders import OPPOSITE
from noli.ops.decipher.jigsaw import pieces_turned
from noli.ops.decipher.suite import Target, attacks, variants, whole_pictures
from noli.ops.metrics import ssim
from noli.ops.scramble import scramble
from noli.testing import KEYS

SEEN = ("astronaut.png", "coffee.png", "motorcycle_left.png", "chelsea.png")
OTHER = ("ihc.png", "motorcycle_right.png", "hubble_deep_field.jpg", "retina.jpg")


def crops(names: tuple[str, ...], shape: tuple[int, int], count: int) -> np.ndarray:
    rng, found = np.random.default_rng(3), []
    photos = [cv2.imread(str(photo_folder() / name)) for name in names if (photo_folder() / name).exists()]
    for number in range(count):
        photo = photos[number % len(photos)]
        top, left = (int(rng.integers(0, n - 4 * m)) for n, m in zip(photo.shape[:2], shape, strict=True))
        part = photo[top : top + 4 * shape[0], left : left + 4 * shape[1]]
        found.append(cv2.resize(part, shape[::-1], interpolation=cv2.INTER_AREA))
    return np.stack(found)


def draw(told: str) -> Callable[[str, str], Stream]:
    return lambda purpose, size: KEYS[0].stream(f"test/places/{purpose}", f"{told}/{size}")


def back_share(x: np.ndarray, scrambled: np.ndarray, public: np.ndarray) -> float:
    how = places.recover(scrambled, public, 4, np.random.default_rng(0))
    found = statistics.put_back(scrambled, how)
    fitting = [one for one in whole_pictures(found) if one.shape == x.shape]
    best = min(fitting, key=lambda one: float(((one.astype(np.float32) - x) ** 2).mean()))
    return float(np.mean([ssim(one, other) >= 0.5 for one, other in zip(best, x, strict=True)]))


@pytest.mark.parametrize("shape", [(24, 24), (16, 24)])
def test_many_pictures_under_one_key_come_back(shape: tuple[int, int]) -> None:
    x, public = crops(SEEN, shape, 1200), crops(OTHER, shape, 400)
    assert back_share(x, scramble(x, schemes.ele(x.shape[1:], 4, draw(""))), public) >= 0.5


def test_grey_pictures_come_back() -> None:
    x, public = (crops(names, (24, 24), 1200).mean(axis=3, keepdims=True) for names in (SEEN, OTHER))
    x, public = x.astype(np.uint8), public.astype(np.uint8)
    assert back_share(x, scramble(x, schemes.ele(x.shape[1:], 4, draw(""))), public) >= 0.5


def test_fresh_keys_hold() -> None:
    x, public = crops(SEEN, (24, 24), 300), crops(OTHER, (24, 24), 400)
    s = np.stack([scramble(one[None], schemes.ele(one.shape, 4, draw(str(i))))[0] for i, one in enumerate(x)])
    assert back_share(x, s, public) < 0.05


def test_the_suite_tries_it_under_one_key_only() -> None:
    x, public = crops(SEEN, (16, 16), 400), crops(OTHER, (16, 16), 400)
    s = scramble(x, schemes.ele((16, 16, 3), 4, draw("")))
    for fresh, wanted in ((False, ["statistics", "chosen pictures"]), (True, [])):
        target = Target("ele", 4, fresh, x, s, public, lambda images: images)
        listed = list(attacks(target))
        assert [attack.name for attack in listed] == wanted
    found = next(attacks(Target("ele", 4, False, x, s, public, lambda images: images))).run(target)
    assert found.images.shape == x.shape
    assert len(list(variants(found))) == 1 + 96
    assert set(np.unique(found.images & 15)) == {8}


@pytest.mark.parametrize("block", [2, 4])
def test_costs_pixel_by_pixel(block: int) -> None:
    grey = np.random.default_rng(0).normal(size=(5, 3, block, block)).astype(np.float32)
    stacks = places.Stacks(grey)
    turned = []
    for one in grey:
        for flipped in (one, one[:, :, ::-1]):
            turned += [np.rot90(flipped, quarter, axes=(1, 2)) for quarter in range(4)]
    ends = [lambda t: t[:, :, 0], lambda t: t[:, :, -1], lambda t: t[:, 0], lambda t: t[:, -1]]
    for laid, side in ((3, 0), (17, 1), (30, 2), (39, 3)):
        found = stacks.costs(laid, side)
        for state, other in enumerate(turned):
            if state // 8 == laid // 8:
                assert found[state] == np.inf
            else:
                apart = ends[side](turned[laid]) - ends[OPPOSITE[side]](other)
                assert found[state] == pytest.approx(float(np.sqrt((apart**2).sum())), abs=1e-3)


def test_turns_alone_are_turned() -> None:
    pixels = np.arange(9)
    within = schemes.turns(3)
    for way, after in enumerate(pieces_turned(8)):
        assert np.array_equal(np.rot90(pixels[within[way]].reshape(3, 3)).reshape(-1), within[after])


@pytest.mark.parametrize(("seconds", "starts"), [(0.0, 1), (np.inf, 1 + places.RESTARTS)])
def test_the_time_is_kept(monkeypatch: pytest.MonkeyPatch, seconds: float, starts: int) -> None:
    x, public = crops(SEEN, (16, 16), 12), crops(OTHER, (16, 16), 12)
    scrambled = scramble(x, schemes.ele(x.shape[1:], 4, draw("")))
    solved, laid = [], []

    def counted(given: np.ndarray, *_: Any, **__: Any) -> Any:
        solved.append(len(given))
        return SimpleNamespace(col_ind=np.arange(len(given)))

    real = jigsaw._laid
    monkeypatch.setattr(statistics, "quadratic_assignment", counted)
    monkeypatch.setattr(jigsaw, "_laid", lambda *args: laid.append(1) or real(*args))
    places.recover(scrambled, public, 4, np.random.default_rng(0), seconds)
    assert len(solved) == 16 * starts  # for every place alike
    assert (len(laid) == 1) == (seconds == 0)
    target = Target("ele", 4, False, x, scrambled, public, lambda images: images, seconds)
    (attack,) = (one for one in attacks(target) if one.name == STATISTICS.name)
    solved.clear()
    found = attack.run(target)
    assert len(solved) == 16 * starts
    assert ("cut it short" in found.note) == (seconds == 0)


def test_time_is_shared_among_places(monkeypatch: pytest.MonkeyPatch) -> None:
    x, public = crops(SEEN, (16, 16), 12), crops(OTHER, (16, 16), 12)
    clock = iter(range(10_000))
    ends = []

    def kept(given: np.ndarray, *_: Any, until: float = np.inf) -> np.ndarray:
        ends.append(until)
        return np.arange(len(given))

    monkeypatch.setattr(places, "assign", lambda given, goal, rng, starts, until: kept(given, until=until))
    monkeypatch.setattr(places.time, "process_time", lambda: float(next(clock)))
    places.recover(x, public, 4, np.random.default_rng(0), 160.0)
    assert ends == pytest.approx([places.WITHIN * 10 * (1 + place) for place in range(16)])
