"""LPIPS against torchvision's layout written out layer by layer, with random weights: none are to be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lpips_making import READ, layers, linear, named
from noli.core.errors import DataError, UsageError
from noli.ops.matching import ssim_distance
from noli.zoo.likeness import load_lpips, picture_distance, weights_digest

SMALLEST = {"vgg16": 16, "alexnet": 31}
ARCHES = sorted(READ)


@torch.no_grad()
def slow(arch: str, a: Tensor, b: Tensor) -> list[float]:
    """Pair by pair and pixel by pixel, in float64."""
    net, weights = layers(arch).double(), [w.double().flatten() for w in linear(arch)]
    shift = torch.tensor([-0.030, -0.088, -0.188]).double().view(3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).double().view(3, 1, 1)
    found = []
    for pair in zip(a.double(), b.double(), strict=True):
        maps: list[list[Tensor]] = []
        for x in pair:
            x, read = ((2 * x - 1 - shift) / scale)[None], []
            for number, layer in enumerate(net):
                x = layer(x)
                if number in READ[arch]:
                    read.append(x[0])
            maps.append(read)
        total = 0.0
        for one, two, weight in zip(*maps, weights, strict=True):
            places = [
                float((weight * (u / (u.norm() + 1e-10) - v / (v.norm() + 1e-10)) ** 2).sum())
                for u, v in zip(one.flatten(1).T, two.flatten(1).T, strict=True)
            ]
            total += sum(places) / len(places)
        found.append(total)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lpips")
    for arch in ARCHES:
        save_file(named(arch, "torchvision"), folder / arch)
    return {arch: folder / arch for arch in ARCHES}


def pictures(side: int, seed: int = 0, channels: int = 3, number: int = 2) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((number, channels, side, side), np.float32))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("more", [0, 6])
def test_the_distance_is_the_paper_s(files, arch, more):
    side = SMALLEST[arch] + more
    a, b = pictures(side), pictures(side, 1)
    b[1] = a[1] + 0.02 * (b[1] - 0.5)
    found = load_lpips(files[arch])(a, b)
    assert found.tolist() == pytest.approx(slow(arch, a, b), rel=1e-4)
    assert found[0] > 5 * found[1] > 0


@pytest.mark.parametrize("arch", ARCHES)
def test_the_names_of_the_authors_package_are_read_too(files, tmp_path, arch):
    save_file(named(arch, "authors"), tmp_path / "w")
    a, b = pictures(32), pictures(32, 1)
    assert torch.equal(load_lpips(tmp_path / "w")(a, b), load_lpips(files[arch])(a, b))


def test_edges(files):
    lpips = load_lpips(files["vgg16"])
    a = pictures(20)
    assert lpips(a, a).tolist() == [0, 0]
    assert lpips(a[:0], a[:0]).shape == (0,)
    grey = pictures(20, 2, channels=1)
    assert torch.allclose(
        lpips(grey, a[:, :1]), lpips(grey.expand(-1, 3, -1, -1), a[:, :1].expand(-1, 3, -1, -1))
    )
    assert all(not weight.requires_grad for weight in lpips.buffers())
    black = torch.zeros(1, 3, 16, 16, requires_grad=True)
    lpips(torch.zeros(1, 3, 16, 16), black).sum().backward()
    assert black.grad is not None
    assert bool(black.grad.isfinite().all())


@pytest.mark.parametrize("arch", ARCHES)
def test_small_pictures_are_refused(files, arch):
    small = pictures(SMALLEST[arch] - 1)
    with pytest.raises(DataError, match=f"{arch} needs {SMALLEST[arch]}"):
        load_lpips(files[arch])(small, small)


def changed(name: str, tensor: Tensor | None) -> dict[str, Tensor]:
    made = named("alexnet", "torchvision")
    del made[name]
    return made if tensor is None else made | {name: tensor}


@pytest.mark.parametrize(
    ("name", "tensor", "why"),
    [
        ("features.6.bias", None, "1 tensors of alexnet are missing, among them 6.bias"),
        ("lin4.model.1.weight", None, "among them lin4"),
        ("lin4.model.1.weight", torch.ones(1, 1, 1, 1), "lin4 has the shape"),
        ("features.3.weight", torch.ones(192, 3, 5, 5), "64 channels"),
        ("features.0.bias", torch.full((64,), float("nan")), "not finite"),
        ("features.10.bias", torch.tensor(1.0), "with 0 dimensions, not 1"),
        ("features.6.weight", torch.ones(384, 192), "with 2 dimensions, not 4"),
        ("features.6.bias", torch.ones(384, dtype=torch.complex64), "complex64"),
        ("lin2.model.1.weight", -torch.ones(1, 384, 1, 1), "weights below 0"),
    ],
)
def test_other_files_are_refused(tmp_path, name, tensor, why):
    save_file(changed(name, tensor), tmp_path / "w")
    with pytest.raises(DataError, match=why) as caught:
        load_lpips(tmp_path / "w")
    assert "docs/prove-models.md" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    torch.save({"features.0.weight": torch.ones(1)}, tmp_path / "pickled.pth")
    for name in ("pickled.pth", "absent", "."):
        with pytest.raises(DataError, match="cannot be read"):
            load_lpips(tmp_path / name)


def test_which_distance_is_taken(files):
    file = str(files["alexnet"])
    assert picture_distance(None, 0.0) is None
    assert picture_distance(None, 0.1) is ssim_distance
    taken = picture_distance(file, 0.1)
    assert isinstance(taken, nn.Module)
    with pytest.raises(UsageError, match="perceptual is 0"):
        picture_distance(file, 0.0)
    with pytest.raises(DataError, match="too small"):
        picture_distance(file, 0.1, side=16)
    assert weights_digest(None) == ""
    assert weights_digest(file) != weights_digest(str(files["vgg16"]))
