"""Locks on feature maps: what a key does, that folding is exact, and that what is not exact is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from noli.core.errors import UsageError, WrongKey
from noli.core.key import Key
from noli.zoo.base import seeded
from noli.zoo.channel_lock import encrypting, lock_module, unlock_module
from noli.zoo.fastestdet import COCO, FastestDet
from noli.zoo.turns import Turn, TurnedMap, drawn

KEY, OTHER = Key.from_bytes(bytes(32)), Key.from_bytes(bytes([1]) * 32)


def slow(form: str, x: np.ndarray, turn: Turn, block: int) -> np.ndarray:
    """The changes one value at a time."""
    out, order, sign = np.zeros_like(x), turn.order.tolist(), turn.sign.tolist()
    n, c, h, w = x.shape
    for i in range(n):
        for k in range(c):
            for y in range(h):
                for z in range(w):
                    if form == "cp":
                        out[i, k, y, z] = x[i, order[k], y, z]
                    elif form == "np":
                        out[i, k, y, z] = sign[k] * x[i, k, y, z]
                    elif form == "both":
                        out[i, k, y, z] = sign[k] * x[i, order[k], y, z]
                    else:
                        top, left = y - y % block, z - z % block
                        row, rest = divmod(order[((y - top) * block + z - left) * c + k], block * c)
                        column, channel = divmod(rest, c)
                        out[i, k, y, z] = x[i, channel, top + row, left + column]
    return out


@pytest.mark.parametrize("form", ["cp", "np", "both", "pp"])
def test_a_turn_is_what_its_definition_says(form: str) -> None:
    turn = drawn(KEY, form, "layer", 5, 2)  # type: ignore[arg-type]
    x = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    made = TurnedMap(form, turn, 2 if form == "pp" else 1)(x)  # type: ignore[arg-type]
    assert np.array_equal(made.numpy(), slow(form, x.numpy(), turn, 2))
    assert not torch.equal(made, x)


def test_negation_by_maximum_keeps_what_is_positive() -> None:
    turn = drawn(KEY, "np", "layer", 8)
    x = torch.rand(2, 8, 3, 3)
    made = TurnedMap("np", turn, negation="max")(x)
    most = x.amax((1, 2, 3), keepdim=True)
    expected = torch.where(turn.sign[:, None, None] < 0, most - x, x)
    assert torch.equal(made, expected)
    assert float(made.min()) >= 0


def test_layers_forms_and_keys_have_streams_of_their_own() -> None:
    one = drawn(KEY, "cp", "a", 64).order
    assert torch.equal(one, drawn(KEY, "cp", "a", 64).order)
    for other in (drawn(KEY, "cp", "b", 64), drawn(OTHER, "cp", "a", 64), drawn(KEY, "pp", "a", 64)):
        assert not torch.equal(one, other.order)
    assert sorted(one.tolist()) == list(range(64))
    assert 16 <= int((drawn(KEY, "np", "a", 64).sign < 0).sum()) <= 48  # about half, never nearly all


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("form", ["cp", "np", "both"])
def test_so_many_places_are_displaced(form: str, count: int) -> None:
    turn = drawn(KEY, form, "layer", 8)  # type: ignore[arg-type]
    wrong = turn.displaced(count, np.random.default_rng(0))
    assert int(((wrong.order != turn.order) | (wrong.sign != turn.sign)).sum()) == count
    assert sorted(wrong.order.tolist()) == list(range(8))


def test_maps_that_do_not_fit_are_refused() -> None:
    for x, block in ((torch.rand(1, 4, 2, 2), 1), (torch.rand(8, 8), 1), (torch.rand(1, 2, 3, 4), 2)):
        with pytest.raises(UsageError, match="does not fit"):
            TurnedMap("pp" if block > 1 else "cp", drawn(KEY, "cp", "x", 8), block)(x)


class Net(nn.Module):
    """A layer and whatever reads it."""

    def __init__(self, reads: Callable[[Net, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 4, 3, padding=1)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.reads = reads
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -1, 1)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.uniform_(module.bias, -1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.reads(self, self.first(x))


def made(reads: Callable[..., Tensor], **layers: Callable[[], nn.Module]) -> Net:
    with seeded(3):
        return Net(reads, **{name: layer() for name, layer in layers.items()}).eval()


def depthwise() -> nn.Module:
    return nn.Conv2d(6, 6, 3, padding=1, groups=6)


GOOD: dict[str, tuple[Net, bool]] = {  # and whether signs can be changed, too
    "plain": (made(lambda n, x: n.second(x)), True),
    "relu": (made(lambda n, x: n.second(F.relu(x))), False),
    "pooled": (made(lambda n, x: n.second(F.max_pool2d(x, 2))), False),
    "averaged": (made(lambda n, x: n.second(F.avg_pool2d(x, 2))), True),
    "upsampled": (made(lambda n, x: n.second(F.interpolate(x, scale_factor=2))), True),
    "to the size of another": (made(lambda n, x: n.second(F.interpolate(x, size=x.shape[2:]))), True),
    "norm": (made(lambda n, x: n.second(n.norm(x)), norm=lambda: nn.BatchNorm2d(6)), True),
    "depthwise": (
        made(lambda n, x: n.second(n.norm(n.deep(x))), deep=depthwise, norm=lambda: nn.BatchNorm2d(6)), True
    ),
    "transposed": (made(lambda n, x: n.up(x), up=lambda: nn.ConvTranspose2d(6, 5, 2, 2)), True),
    "two readers": (
        made(lambda n, x: torch.cat([n.second(x), n.third(x)], 1), third=lambda: nn.Conv2d(6, 2, 1)), True
    ),
    "joined with another": (
        made(lambda n, x: n.third(torch.cat([n.second(x), x], 1)), third=lambda: nn.Conv2d(10, 2, 3)), True
    ),
    "joined with itself": (
        made(lambda n, x: n.third(torch.cat([x, x], 1)), third=lambda: nn.Conv2d(12, 2, 1)), True
    ),
    "added to itself": (made(lambda n, x: n.second(x + n.deep(x)), deep=depthwise), True),
}  # fmt: skip


@pytest.mark.parametrize("form", ["cp", "np", "both"])
@pytest.mark.parametrize("name", GOOD)
def test_folding_is_exact_and_undone_bit_for_bit(name: str, form: str) -> None:
    net, signs = GOOD[name]
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    if form != "cp" and not signs:
        with pytest.raises(UsageError, match="cannot be locked exactly"):
            lock_module(net, ["first"], KEY, x, form)  # type: ignore[arg-type]
        return
    before = {name: value.clone() for name, value in net.state_dict().items()}
    locked, lock = lock_module(net, ["first"], KEY, x, form)  # type: ignore[arg-type]
    with torch.no_grad():
        plain = net(x)
        assert float((encrypting(locked, lock, lock.turns(KEY))(x) - plain).abs().max()) <= 1e-5
        assert float((locked(x) - plain).abs().max()) > 0.05  # without the key
        back = unlock_module(locked, lock, KEY)
        assert torch.equal(back(x), plain)
    for state in (net.state_dict(), back.state_dict()):
        assert all(torch.equal(state[name], value) for name, value in before.items())
    with pytest.raises(WrongKey):
        unlock_module(locked, lock, OTHER)


BAD: dict[str, tuple[Net, str]] = {
    "groups": (made(lambda n, x: n.two(x), two=lambda: nn.Conv2d(6, 6, 1, groups=2)), "2 groups"),
    "group norm": (made(lambda n, x: n.second(n.norm(x)), norm=lambda: nn.GroupNorm(2, 6)), "GroupNorm"),
    "flattened": (made(lambda n, x: n.line(x.flatten(1)), line=lambda: nn.Linear(384, 2)), "flatten"),
    "leaves": (made(lambda n, x: F.relu(x)), "leaves the network"),
    "two outputs": (made(lambda n, x: n.second(x).sum() + x.sum()), "sum"),
    "halves": (made(lambda n, x: n.third(x[:, :3]), third=lambda: nn.Conv2d(3, 2, 1)), "getitem"),
    "shuffled": (made(lambda n, x: n.second(F.pixel_unshuffle(x, 1))), "pixel_unshuffle"),
    "added to another": (
        made(lambda n, x: n.second(x + n.back(n.second(x))), back=lambda: nn.Conv2d(4, 6, 1)), "alike"
    ),
    "multiplied": (made(lambda n, x: n.second(x * x.mean((2, 3), keepdim=True))), "mul|mean"),
    "read twice": (made(lambda n, x: n.second(x) + n.second(F.relu(x))), "2 times"),
    "weights used otherwise": (made(lambda n, x: n.second(x) + n.second.weight.sum()), "elsewhere"),
    "joined along rows": (made(lambda n, x: n.second(torch.cat([x, x], 2))), "another axis"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_proven_exact_is_refused(name: str) -> None:
    net, why = BAD[name]
    with pytest.raises(UsageError, match=why) as caught:
        lock_module(net, ["first"], KEY, torch.rand(1, 3, 8, 8))
    assert caught.value.fix


def test_tied_weights_and_layers_used_twice_are_refused() -> None:
    tied = made(
        lambda n, x: n.second(x) + n.third(n.first(x[:, :3])), third=lambda: nn.Conv2d(6, 4, 3, padding=1)
    )
    with pytest.raises(UsageError, match=r"used 2 times|not used once"):
        lock_module(tied, ["first"], KEY, torch.rand(1, 3, 8, 8))
    shared = made(lambda n, x: n.second(x), third=lambda: nn.Conv2d(6, 4, 3))
    shared.third.weight = shared.second.weight
    with pytest.raises(UsageError, match="elsewhere"):
        lock_module(shared, ["first"], KEY, torch.rand(1, 3, 8, 8))


def test_a_part_of_a_network_that_cannot_be_traced_is_locked() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = made(lambda n, x: n.second(F.relu(x)))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            seen = self.part(x)
            return {"found": seen if float(seen.mean()) > 1e9 else seen * 2}

    net, x = Branches().eval(), torch.rand(1, 3, 8, 8)
    with pytest.raises(UsageError, match="traced"):
        lock_module(net, ["part.first"], KEY, x)
    locked, lock = lock_module(net, ["part.first"], KEY, x, within="part")
    assert [edit.module for edit in lock.layers[0].edits] == ["part.second"]
    with torch.no_grad():
        assert torch.equal(unlock_module(locked, lock, KEY)(x)["found"], net(x)["found"])


@given(st.permutations(range(4)).map(lambda order: order[:3]), st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_several_layers_in_any_order(layers: list[int], seed: int) -> None:
    with seeded(seed):
        net = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1, groups=1 if i != 2 else 4) for i in range(5)))
    names, x = [str(i) for i in layers], torch.rand(1, 4, 6, 6)
    for form in ("cp", "np", "both"):
        locked, lock = lock_module(net.eval(), names, KEY, x, form)  # type: ignore[arg-type]
        assert [one.name for one in lock.layers] == sorted(names)
        back = unlock_module(locked, lock, KEY)
        assert all(torch.equal(a, b) for a, b in zip(back.parameters(), net.parameters(), strict=True))


def test_names_and_forms_that_cannot_be() -> None:
    net, x = GOOD["plain"][0], torch.rand(1, 3, 8, 8)
    with pytest.raises(UsageError, match="no layer of this name"):
        lock_module(net, ["third"], KEY, x)
    with pytest.raises(UsageError, match="cannot be folded"):
        lock_module(net, ["first"], KEY, x, "pp")
    with pytest.raises(UsageError, match="cannot be folded"):
        lock_module(net, [], KEY, x)


@pytest.mark.parametrize(
    ("layer", "readers"),
    [("SPP", 1), ("detect_head.conv1x1", 9), ("backbone.stage2", 5), ("backbone.stage4", 1)],
)
def test_fastestdet_is_locked_also_where_its_pyramid_reads_a_map_twice(layer: str, readers: int) -> None:
    with seeded(0):
        net = FastestDet().eval()
    x = torch.rand(1, 3, 64, 64)
    locked, lock = lock_module(net, [layer], KEY, x)
    assert len(lock.layers[0].edits) == readers
    back = unlock_module(locked, lock, KEY)
    assert all(
        torch.equal(a, b) for a, b in zip(back.state_dict().values(), net.state_dict().values(), strict=True)
    )
    with pytest.raises(UsageError, match=r"getitem|cannot be locked"):
        lock_module(net, ["backbone.stage2.0"], KEY, x)


def test_fastestdet_has_the_published_size() -> None:
    net = FastestDet()
    assert sum(value.numel() for value in net.parameters()) == 244_490
    assert len(COCO) == len(set(COCO)) == 80
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 3, 352, 352)).shape == (1, 85, 22, 22)
