"""The folded copy against the network itself in evaluation mode."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from noli import zoo
from noli.core.model import Model
from noli.ops.folding import folded
from noli.ops.pgd import pgd_l2, pgd_linf
from noli.train.perturb import Adversary, Descent, NoiseThenAdversary, search


def trained(name, channels=3, side=16):
    """A network whose statistics, scales and shifts are not those of a new one."""
    model = zoo.network(name, 4, channels, size=side, seed=2).double()
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in (
                (module.weight, 0.5),
                (module.bias, -0.5),
                (module.running_mean, -0.5),
                (module.running_var, 0.1),
            ):
                drawn = torch.rand(values.shape, generator=generator, dtype=torch.float64)
                values.data.copy_(drawn + low)
    return model.train()


def images(n, channels=3, side=16):
    generator = torch.Generator().manual_seed(n)
    return torch.rand(n, channels, side, side, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", list(zoo.NETWORKS))
@pytest.mark.parametrize(("n", "channels", "side"), [(3, 3, 16), (1, 1, 19), (0, 3, 16)])
def test_same_function_and_gradient(name, n, channels, side):
    model = trained(name, channels, side)
    light, x = folded(model), images(n, channels, side)
    model.eval()
    found = []
    for one in (model, light):
        variable = x.clone().requires_grad_(True)
        logits, features = one(variable), one.features(variable)
        (gradient,) = torch.autograd.grad(logits.square().sum(), variable)
        found.append((logits, features, gradient))
    for slow, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", list(zoo.NETWORKS))
def test_nothing_is_left_to_fold_and_the_model_is_untouched(name):
    model = trained(name)
    before, modes = model.weight_hash(), [module.training for module in model.modules()]
    light = folded(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in light.modules())
    assert not any(module.training for module in light.modules())
    assert (model.weight_hash(), [module.training for module in model.modules()]) == (before, modes)
    assert folded(light) is light
    used = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not used & {tensor.data_ptr() for tensor in light.state_dict().values()}


def test_the_layout_stays_and_no_weight_needs_a_gradient():
    light = folded(zoo.network("small", 4, size=16, seed=0).to(memory_format=torch.channels_last))
    weights = [layer.weight for layer in light.modules() if isinstance(layer, nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    assert not any(weight.requires_grad for weight in light.parameters())


@pytest.mark.parametrize("name", list(zoo.NETWORKS))
def test_under_autocast_it_has_its_precision_and_nearly_the_same_values(name):
    model = trained(name).float().eval()
    x = images(3).float()
    exact = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        light = folded(model)
        usual, found = model(x).float(), light(x).float()
    layers = [module for module in light.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert {layer.weight.dtype for layer in layers} == {torch.bfloat16}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    # Rounding costs no more than it does without folding, within a factor.
    assert (found - exact).abs().max() < 3 * (usual - exact).abs().max() + 1e-3


def test_pooling_comes_before_relu_where_they_follow_each_other():
    light = folded(trained("small")).net.body
    assert [type(layer[-1]) for layer in light if isinstance(layer, nn.Sequential)] == [
        nn.ReLU, nn.ReLU, nn.Identity, nn.ReLU, nn.Identity, nn.ReLU, nn.ReLU,
    ]  # fmt: skip
    assert [type(light[place][0]) for place in (3, 5)] == [nn.MaxPool2d] * 2


class Shared(nn.Module):
    """A convolution that is also used elsewhere."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.body = nn.Sequential(self.convolution, nn.BatchNorm2d(3))

    def forward(self, x):
        return self.body(self.convolution(x)).flatten(1)


class Standardised(nn.Conv2d):
    """A convolution that does not use its weights as they are."""

    def forward(self, x):
        return self._conv_forward(x, self.weight / self.weight.std(), self.bias)


class Twice(nn.Sequential):
    def forward(self, x):
        return super().forward(super().forward(x))


def block(*layers):
    return nn.Sequential(*layers, nn.Flatten())


@pytest.mark.parametrize(
    "net",
    [
        block(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
        Shared(),
        block(Standardised(3, 4, 3), nn.BatchNorm2d(4)),
        block(Twice(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))),
        block(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
        block(weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)),
        block(nn.Conv2d(3, 4, 3)),
    ],
    ids=["not beside", "shared", "standardised", "own forward", "no statistics", "weight norm", "none"],
)
def test_what_would_not_be_the_same_is_left_alone(net):
    model = Model(net)
    model(torch.rand(3, 3, 8, 8))
    assert folded(model) is model


def test_pooling_moves_only_where_it_changes_nothing():
    relu = nn.ReLU()
    first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), relu)
    second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), relu)  # the same ReLU again
    body = [first, nn.MaxPool2d(2), second, nn.MaxPool2d(2), nn.Sequential(), nn.MaxPool2d(2), nn.Flatten()]
    model, x = Model(nn.Sequential(*body)), torch.rand(2, 3, 8, 8)
    model(x)
    light = folded(model)
    assert [type(layer) for layer in light.net] == [type(layer) for layer in body]
    torch.testing.assert_close(light(x), model.eval()(x))


@pytest.mark.parametrize("attack", ["linf", "l2", "search", "visit"])
def test_searches_run_on_the_folded_copy(attack, monkeypatch):
    """None of them passes a batch normalisation, and their result is that of the unfolded network."""
    model, x, y = trained("tiny"), images(4), torch.arange(4)

    def found():
        generator = torch.Generator().manual_seed(0)
        how = Descent(0.03, 0.01, 3, samples=2, shift=2, perturb=Adversary(0.02, 0.01, 2))
        if attack == "search":
            return search(model, x, y, None, how, generator)
        if attack == "visit":
            return NoiseThenAdversary(how, Adversary(0.02, 0.01, 2)).before_step(model, x, y, generator)
        attacker = pgd_linf if attack == "linf" else pgd_l2
        return attacker(model, x, y, eps=0.05, steps=3, generator=generator)

    passed = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda *_: passed.append(1))
    light = found()
    assert not passed
    for place in ("noli.ops.pgd.folded", "noli.train.perturb.folded"):
        monkeypatch.setattr(place, lambda model: model)
    slow = found()
    assert passed
    assert ((light - slow).abs() < 1e-9).double().mean() > 0.99
