import pytest
import torch

from noli.zoo.restorer import restorer


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 1, 9, 30), (3, 3, 1, 1), (0, 3, 8, 8)])
def test_untrained_it_returns_every_picture_as_it_is(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(restorer(shape[1])(x), x)


def test_every_pixel_of_an_odd_picture_is_changed_by_a_trained_one() -> None:
    model = restorer(3, seed=4)
    torch.nn.init.normal_(model.net.leave.weight, 0, 0.1, generator=torch.Generator().manual_seed(1))
    x = torch.rand(2, 3, 13, 21, generator=torch.Generator().manual_seed(2))
    assert bool((model(x) != x).any(1).all())


def test_the_seed_makes_the_weights_and_no_global_generator_moves() -> None:
    before = torch.random.get_rng_state()
    first, again, other = restorer(3, 1), restorer(3, 1), restorer(3, 2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.weight_hash() == again.weight_hash() != other.weight_hash()
