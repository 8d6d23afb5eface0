import numpy as np
import pytest
import torch

from noli import zoo
from noli.core.errors import UsageError
from noli.zoo.base import conv_block, seeded


@pytest.mark.parametrize("arch", sorted(zoo.NETWORKS))
@pytest.mark.parametrize(("channels", "size"), [(3, 8), (1, 17), (3, 32)])
def test_every_network_maps_images_to_logits(arch, channels, size):
    model = zoo.network(arch, 5, channels, size=size, **({"width": 8} if arch.startswith("resnet") else {}))
    x = torch.rand(2, channels, size, size + 3, generator=torch.Generator().manual_seed(0))
    model.eval()
    with torch.no_grad():
        logits = model(x)
        assert logits.shape == (2, 5)
        assert torch.allclose(model.net.head(model.features(x)), logits, atol=1e-6)


def test_resnet18_is_the_published_network():
    model = zoo.network("resnet18", 10)
    assert sum(p.numel() for p in model.parameters()) == 11_173_962


def test_small_net_has_the_five_layers_it_promises():
    shapes = [tuple(p.shape) for p in zoo.network("small", 10).parameters() if p.ndim == 4]
    assert shapes == [(32, 3, 2, 2), (64, 32, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3)]


def test_weights_depend_on_the_seed_and_nothing_global_moves():
    state = torch.random.get_rng_state()
    first, again, other = (zoo.network("small", 3, seed=s).weight_hash() for s in (0, 0, 1))
    assert first == again != other
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(123)
    assert zoo.network("small", 3, seed=0).weight_hash() == first


def test_the_generator_comes_back_after_an_error():
    state = torch.random.get_rng_state()

    def fail():
        with seeded(5):
            torch.rand(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("arch", sorted(zoo.NETWORKS))
def test_saved_models_come_back(arch, tmp_path):
    model = zoo.network(arch, ("a", "b"), 1, **({"width": 8} if arch.startswith("resnet") else {}))
    model.save(tmp_path / "m")
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), np.uint8)
    back = zoo.load(tmp_path / "m")
    assert np.array_equal(back.predict(images), model.predict(images))
    assert back.class_names == ("a", "b")


@pytest.mark.parametrize(
    ("arch", "classes", "channels", "size"),
    [
        ("small", 1, 3, 32),
        ("small", ("only",), 3, 32),
        ("small", 2, 4, 32),
        ("small", 2, 3, 7),
        ("vgg", 2, 3, 32),
    ],
)
def test_impossible_networks_are_refused(arch, classes, channels, size):
    with pytest.raises(UsageError):
        zoo.network(arch, classes, channels, size=size)


def test_even_kernels_do_not_pad():
    assert conv_block(3, 4, kernel=2, stride=2)(torch.zeros(2, 3, 8, 8)).shape == (2, 4, 4, 4)
    assert conv_block(3, 4)(torch.zeros(2, 3, 8, 8)).shape == (2, 4, 8, 8)
