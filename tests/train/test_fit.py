import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.errors import DataError, RunError
from noli.train.callbacks import CropFlip
from noli.train.fit import Callback, _batches, fit
from noli.train.recipe import Recipe
from noli.zoo import network


def striped(n=96, channels=3, side=8, seed=0):
    """Two classes: horizontal or vertical stripes at a random phase, under noise."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = generator.integers(0, 120, (n, side, side, channels))
    for image, label in zip(x, y, strict=True):
        phase = generator.integers(2)
        if label:
            image[:, phase::2] += 120
        else:
            image[phase::2] += 120
    return x.astype(np.uint8), y


QUICK = Recipe(epochs=6, batch=32, device="cpu")


def accuracy(model, x, y):
    return float((model.predict(x).argmax(1) == y).mean())


@pytest.mark.parametrize("bf16", ["on", "off"])
def test_learns_what_it_is_shown(bf16):
    x, y = striped()
    model = network("small", 2, size=8)
    result = fit(model, x, y, QUICK.model_copy(update={"bf16": bf16}))
    assert accuracy(model, *striped(200, seed=1)) > 0.9
    assert result.losses[-1] < 0.5 * result.losses[0]
    assert (result.steps, len(result.losses), result.bf16, result.device) == (18, 6, bf16 == "on", "cpu")
    assert result.images_per_second == pytest.approx(96 * 6 / result.seconds)
    assert next(model.parameters()).dtype == torch.float32


def test_grey_images_and_other_layouts():
    x, y = striped(channels=1)
    model = network("small", 2, channels=1, size=8)
    fit(model, x, y, QUICK.model_copy(update={"channels_last": False, "schedule": "constant", "lr": 0.05}))
    assert accuracy(model, x, y) > 0.9


def test_same_seed_same_weights_other_seed_other_weights():
    x, y = striped(48)
    hashes = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(hashes))
        model = network("small", 2, size=8)
        fit(model, x, y, Recipe(epochs=2, batch=16, seed=seed, device="cpu"), [CropFlip()])
        hashes.append(model.weight_hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_nothing_global_is_changed():
    x, y = striped(32)
    model = network("small", 2, size=8).eval()
    model.net.head.train()
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    threads, before = torch.get_num_threads(), x.copy()
    with torch.no_grad():
        fit(model, x, y, Recipe(epochs=1, batch=16, device="cpu"), [CropFlip()])
        assert not torch.is_grad_enabled()
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])
    assert torch.get_num_threads() == threads
    assert not model.training
    assert model.net.head.training
    assert np.array_equal(x, before)


def test_callbacks_see_every_image_once_per_epoch_and_may_change_everything():
    seen, epochs = [], []

    class Watch(Callback):
        def prepare_batch(self, x, y, generator):
            assert x.dtype == torch.float32
            assert 0 <= float(x.min()) <= float(x.max()) <= 1
            seen.extend((x[:, 0, 0, 0] * 255).round().int().tolist())
            return x, F.one_hot(y, 2).float()

        def before_step(self, model, x, y, generator):
            assert y.shape == (len(x), 2)
            assert model.training
            return torch.zeros_like(x)

        def on_epoch_end(self, model, epoch, loss):
            epochs.append((epoch, loss))

    x = np.zeros((33, 8, 8, 3), np.uint8)
    x[:, 0, 0, 0] = np.arange(33)
    model = network("small", 2, size=8)
    result = fit(model, x, np.arange(33) % 2, Recipe(epochs=2, batch=16, device="cpu"), [Watch(), Callback()])
    assert sorted(seen) == sorted([*range(33), *range(33)])
    assert seen[:33] != sorted(seen[:33])
    assert epochs == list(enumerate(result.losses))
    # Every image was blanked before the step, so nothing can have been learned.
    assert min(result.losses) > 0.6


@given(items=st.integers(2, 300), batch=st.integers(2, 64))
@settings(max_examples=60, deadline=None)
def test_no_batch_of_one_and_nothing_lost(items, batch):
    parts = list(_batches(items, Recipe(batch=batch), torch.Generator().manual_seed(0)))
    sizes = [len(p) for p in parts]
    assert sorted(torch.cat(parts).tolist()) == list(range(items))
    assert len(parts) == Recipe(batch=batch).batches_per_epoch(items)
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 2 or (batch, items % 2) == (2, 1) or items <= 3


@pytest.mark.parametrize("n", [2, 3, 17])
def test_fewer_images_than_a_batch_and_awkward_remainders(n):
    x, y = striped(n)
    assert fit(network("small", 2, size=8), x, y, Recipe(epochs=1, batch=16, device="cpu")).steps == -(
        -n // 16
    )


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((4, 8, 8, 3), np.float32), np.zeros(4, int)),
        (np.zeros((4, 8, 8), np.uint8), np.zeros(4, int)),
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros(3, int)),
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4)),
        (np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, int)),
        (np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, int)),
        (np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, -1, 0])),
    ],
)
def test_wrong_arrays_are_refused(x, y):
    with pytest.raises(DataError):
        fit(network("small", 2, size=8), x, y, QUICK)


def test_divergence_is_an_error_not_a_number():
    class Poison(Callback):
        def before_step(self, model, x, y, generator):
            return x * float("nan")

    x, y = striped(32)
    with pytest.raises(RunError, match="diverged"):
        fit(network("small", 2, size=8), x, y, Recipe(epochs=2, batch=16, device="cpu"), [Poison()])


def test_another_loss_compares_with_what_a_callback_gives():
    """Regression instead of classes: the network learns each picture's mean colour."""
    x = np.random.default_rng(0).integers(0, 256, (96, 1, 1, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)

    class MeanColour(Callback):
        def prepare_batch(self, x, y, generator):
            return x, x.mean((2, 3))

    def error(model):
        return float(np.mean((model.predict(x) - x[:, 0, 0] / 255) ** 2))

    model = network("tiny", 3, size=8)
    before = error(model)
    recipe = Recipe(epochs=20, batch=32, lr=0.02, device="cpu", optimiser="adam", bf16="off")
    fit(model, x, np.zeros(96, np.int64), recipe, [MeanColour()], F.mse_loss)
    assert error(model) < before / 10


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_weights_without_gradient_stay(optimiser):
    model = network("tiny", 2, size=8)
    model.net.body.requires_grad_(False)
    kept = [weight.clone() for weight in model.net.body.parameters()]
    head = model.net.head.weight.clone()
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    fit(model, x, np.arange(40) % 2, Recipe(epochs=1, device="cpu", optimiser=optimiser))
    assert all(torch.equal(a, b) for a, b in zip(kept, model.net.body.parameters(), strict=True))
    assert not torch.equal(head, model.net.head.weight)


def test_adam_follows_torch():
    """Two steps by hand with the schedule's rates."""
    x = np.random.default_rng(1).integers(0, 256, (8, 8, 8, 3)).astype(np.uint8)
    y = np.arange(8) % 2
    recipe = Recipe(epochs=2, batch=8, lr=0.01, optimiser="adam", schedule="constant", grad_clip=None,
                    channels_last=False, bf16="off", device="cpu")  # fmt: skip
    model, twin = network("tiny", 2, size=8), network("tiny", 2, size=8)
    fit(model, x, y, recipe)
    adam = torch.optim.AdamW(twin.parameters(), 0.01, weight_decay=recipe.weight_decay)
    twin.train()
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        order = torch.randperm(8, generator=generator)
        adam.zero_grad()
        batch = torch.from_numpy(x)[order].permute(0, 3, 1, 2).contiguous().float() / 255
        F.cross_entropy(twin(batch), torch.from_numpy(y)[order]).backward()
        adam.step()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
