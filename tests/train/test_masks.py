"""Masked noise: budgets of pixels, refresh, regions; and what SALM and TAP promise of their noise."""

import numpy as np
import pytest
import torch
from PIL import Image
from studies import some_lesson
from test_learned import noise_of, prepared, some_study

from noli import zoo
from noli.core.errors import DataError
from noli.methods.protect import salm, tap
from noli.ops.noisestore import published
from noli.ops.saliency import saliency, top_share
from noli.train.masks import Masks

QUICK = {"network": "tiny", "size": 16, "steps": 3, "train_steps": 2, "rounds": 3, "stop": 0}


@pytest.mark.parametrize("kind", ["gradient", "gradient-input", "foreground"])
@pytest.mark.parametrize("refresh", [0, 1, 2])
def test_no_picture_changes_in_more_pixels_than_its_share(kind, refresh, tmp_path):
    cfg = salm.Config(**QUICK, mask=kind, refresh=refresh, ratio=0.2)
    state = prepared(salm, cfg, some_study(tmp_path, 12))
    touched = [(one != 0).any(axis=2).sum() for one in noise_of(state, tmp_path).values()]
    assert max(touched) <= int(0.2 * 256)
    assert min(touched) > 0.1 * 256
    assert state["reached"][0]["touched"] == pytest.approx(int(0.2 * 256) / 256, abs=0.02)


@pytest.mark.parametrize("kind", ["gradient", "gradient-input"])
def test_masks_are_the_most_salient_pixels_and_are_renewed_when_asked(kind):
    lesson = some_lesson(salm.Config(**QUICK), n=6)
    part, masks = np.array([1, 4, 5]), {refresh: Masks(kind, 0.2, 1, refresh) for refresh in (0, 2)}

    def expected():
        x, y = lesson.images(part)
        return top_share(saliency(lesson.model, x, y, kind, 1), 0.2)

    for refresh, mask in masks.items():
        lesson.memory.clear()
        first = expected()
        assert first.sum(dim=(1, 2, 3)).tolist() == [51] * 3
        assert torch.equal(mask(lesson, part, 0), first)
        with torch.no_grad():
            for weight in lesson.model.parameters():
                weight += 0.03 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(refresh))
        assert not torch.equal(expected(), first)
        assert torch.equal(mask(lesson, part, 1), first)
        assert torch.equal(mask(lesson, part, 2), expected() if refresh else first)


def test_noise_stays_inside_the_regions(tmp_path):
    study = some_study(tmp_path / "files", 9)
    for number, item in enumerate(study.items):
        pixels = np.zeros((16, 16), np.uint8)
        pixels[number : number + 4, 3:10] = 1
        place = tmp_path / "roi" / item.path
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place)
    cfg = salm.Config(**QUICK, roi=str(tmp_path / "roi"), ratio=1.0)
    noise = noise_of(prepared(salm, cfg, study), tmp_path / "files")
    for number, item in enumerate(study.items):
        inside = np.zeros((16, 16), bool)
        inside[number : number + 4, 3:10] = True
        assert (noise[item.id] != 0).any(axis=2)[inside].any()
        assert not noise[item.id][~inside].any()
    (tmp_path / "roi" / study.items[4].path).unlink()
    with pytest.raises(DataError, match="1 region"):
        prepared(salm, cfg, study)


@pytest.mark.parametrize("kind", ["gradient-input", "foreground"])
def test_regions_on_black_get_noise_too(kind, tmp_path):
    study = some_study(tmp_path / "files", 6)
    for image, item in zip(study.pixels, study.items, strict=True):
        image[:8] = 0
        image[8:] = np.maximum(image[8:], 1)
        place = tmp_path / "roi" / item.path
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(np.repeat([1, 0], 8)[:, None].repeat(16, 1).astype(np.uint8)).save(place)
    cfg = salm.Config(**QUICK, roi=str(tmp_path / "roi"), mask=kind)
    noise = noise_of(prepared(salm, cfg, study), tmp_path / "files")
    assert all(one[:8].any() and not one[8:].any() for one in noise.values())


def striped(folder, n):
    """Stripes, one direction a class, with noise over them: easily learned, and not by heart."""
    study = some_study(folder, n)
    y, x = np.indices((16, 16))
    for number, image in enumerate(study.pixels):
        stripes = np.sin((x, y, x + y)[number % 3] * 1.3)[..., None]
        image[:] = (image * 0.15 + 110 + 12 * stripes).astype(np.uint8)
    return study


def test_a_targeted_poison_is_taken_for_the_next_class(tmp_path):
    cfg = tap.Config(network="tiny", size=16, epochs=20, steps=30, batch=30, eps=16 / 255)
    study = striped(tmp_path, 90)
    state = prepared(tap, cfg, study)
    reached = state["reached"][0]
    assert reached["clean_accuracy"] > 0.9
    assert reached["seen_as_wanted"] > 0.8
    surrogate, classes = zoo.load(tmp_path / state["surrogate"]), state["classes"]
    noise = noise_of(state, tmp_path)
    published_ones = np.stack(
        [
            published(image, noise[item.id], cfg.eps)
            for image, item in zip(study.pixels, study.items, strict=True)
        ]
    )
    own = np.array([classes.index(item.label) for item in study.items])
    assert np.mean(surrogate.predict(published_ones).argmax(1) == (own + 1) % 3) == reached["seen_as_wanted"]
    away = prepared(tap, cfg.model_copy(update={"goal": "untargeted"}), striped(tmp_path / "b", 90))
    assert away["reached"][0]["seen_as_own"] < 0.5
