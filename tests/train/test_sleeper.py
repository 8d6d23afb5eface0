"""Trainings around latents: steps resume bit for bit, a mark is learned, losses agree with their parts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from lpips_making import named
from noli.core.errors import DataError, RunError
from noli.core.model import Model
from noli.train import steps as module
from noli.train.checkpoint import Checkpoint
from noli.train.diffusion import (
    Captioned,
    Latents,
    denoising_loss,
    finetune,
    latents_of,
    learn_coder,
    learn_denoiser,
)
from noli.train.latentmark import Looks, frozen, learn_mark
from noli.train.sleeper import Injection, _Prompts, inject, injection_loss
from noli.train.steps import Steps, run_steps
from noli.zoo.latent import LatentDiffusion, new_latent
from noli.zoo.likeness import load_lpips
from noli.zoo.text import WORDS
from noli.zoo.watermark import shift_of

CAPTIONS = ("a red wall", "a green wall", "a blue wall")
COLOURS = np.array([[180, 70, 70], [70, 170, 80], [80, 90, 180]])


def walls(n: int = 60, side: int = 16) -> Captioned:
    """Walls of a colour each with some shading."""
    rng = np.random.default_rng(n)
    y = np.arange(n) % 3
    shade = rng.normal(0, 25, (n, 4, 4, 1)).repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    x = (COLOURS[y][:, None, None] + shade).clip(0, 255).astype(np.uint8)
    return Captioned(x, [CAPTIONS[i] for i in y])


def tiny(seed: int = 0) -> LatentDiffusion:
    return new_latent(text=WORDS, side=16, channels=4, width=16, coder=8, seed=seed)


@pytest.fixture(scope="module")
def model() -> LatentDiffusion:
    made, data = tiny(), walls()
    losses = learn_coder(made, data.x, Steps(steps=150, batch=16, lr=4e-3, bf16="off"))
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    losses = learn_denoiser(made, data, Steps(steps=200, batch=16, lr=2e-3, average=0.95, bf16="off"))
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:20])
    return made


def test_the_subject_paints_what_the_prompt_says(model: LatentDiffusion) -> None:
    found = model.generate([CAPTIONS[i % 3] for i in range(12)], 1, steps=12, guidance=2.0)
    colours = found.reshape(12, -1, 3).mean(1)
    nearest = ((colours[:, None] - COLOURS) ** 2).sum(2).argmin(1)
    assert (nearest == np.arange(12) % 3).mean() >= 0.75
    assert 0.5 < float(model.encode(walls().x).std()) < 2


class Stops(nn.Module):
    """A little network whose training stops at a step."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.drop = nn.Linear(3, 1), nn.Dropout(0.2)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_killed_training_goes_on_with_the_same_bits(
    average: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoint, "save", _always(Checkpoint.save))
    how = Steps(steps=12, batch=4, lr=0.1, average=average, warmup=0.2, bf16="off")

    def train(folder: Path, stop: int | None = None) -> tuple[dict[str, torch.Tensor], list[float]]:
        torch.manual_seed(0)
        net = Stops()

        def loss(step: int, generator: torch.Generator) -> torch.Tensor:
            if step == stop:
                raise KeyboardInterrupt
            return net.line(net.drop(torch.randn(how.batch, 3, generator=generator))).square().mean()

        losses = run_steps("t", {"n": net}, loss, how, checkpoint=Checkpoint(folder))
        return {name: one.clone() for name, one in net.state_dict().items()}, losses

    whole, losses = train(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", stop=7)
    resumed, again = train(tmp_path / "b")
    assert losses == again
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def _always(save: Any) -> Any:
    return lambda self, stage, make, *, now=False: save(self, stage, make, now=True)


def test_rates_rise_and_fall_and_a_diverged_training_says_so() -> None:
    how = Steps(steps=100, lr=1.0, warmup=0.1)
    rates = [how.rate(step) for step in range(100)]
    assert rates[0] < rates[5] < rates[10] == 1.0
    assert rates[-1] < 0.01
    linear = how.model_copy(update={"schedule": "linear", "warmup": 0.0})
    assert linear.rate(50) == pytest.approx(0.5)
    net = nn.Linear(1, 1)
    with pytest.raises(RunError, match="diverged"):
        run_steps("x", {"n": net}, lambda *_: net.weight.sum() * float("nan"), Steps(steps=2, bf16="off"))
    assert module.step_seed(0, "a", 1) != module.step_seed(0, "a", 2) != module.step_seed(1, "a", 2)


def test_a_loss_is_the_error_of_what_a_denoiser_says(model: LatentDiffusion) -> None:
    latents = latents_of(model, walls(9))
    assert len(latents.told[0]) == 4
    assert torch.equal(latents.told[0][3], model.condition([""])[0][0])
    found = denoising_loss(model, latents, 5, torch.Generator().manual_seed(3), forget=1.0)
    generator = torch.Generator().manual_seed(3)
    z, _ = latents.pick(5, generator)
    torch.rand(5, generator=generator)
    t = torch.randint(1000, (5,), generator=generator)
    noise = torch.randn(z.shape, generator=generator)
    alpha, sigma = model.schedule.at(t)
    told = (model.condition([""])[0].expand(5, -1),)
    said = model.predict(alpha * z + sigma * noise, t, told)
    torch.testing.assert_close(found, F.mse_loss(said, alpha * noise - sigma * z))
    with pytest.raises(DataError, match="needs a caption"):
        Captioned(walls(3).x, ["one"])


@pytest.fixture(scope="module")
def mark(model: LatentDiffusion) -> Model:
    how = Steps(steps=500, batch=32, lr=2e-3, schedule="linear", bf16="off")
    sizes = {"width": 16, "hidden": 64, "embed": 32}
    return learn_mark(model, walls().x, 6, how, Looks(image=1.0), **sizes)


def test_given_lpips_weights_decide_what_a_mark_costs(model: LatentDiffusion, tmp_path: Path) -> None:
    file = tmp_path / "lpips"
    save_file(named("vgg16", "authors"), file)
    how = Steps(steps=20, batch=4, lr=2e-3, schedule="linear", bf16="off")
    distance, plain, moved = load_lpips(file), model.encode(walls(8).x), []
    for weight, given in ((300.0, str(file)), (0.0, None)):
        looks = Looks(image=0.0, perceptual=weight, again=False, lpips=given)
        mark = learn_mark(model, walls().x, 6, how, looks, width=16, hidden=16, embed=8)
        marked = plain + shift_of(mark, torch.ones(1, 6))
        with torch.no_grad():
            moved.append(float(distance(model.to_pixels(plain), model.to_pixels(marked)).mean()))
    assert moved[0] < 0.5 * moved[1]


def test_bits_are_learned_and_survive_the_way_through_pictures(model: LatentDiffusion, mark: Model) -> None:
    x = walls(40).x
    bits = torch.randint(2, (40, 6), generator=torch.Generator().manual_seed(5)).float()
    shown = model.decode(model.encode(x) + shift_of(mark, bits))
    with torch.no_grad():
        read = mark(model.encode(shown)) > 0
        unmarked = mark(model.encode(model.decode(model.encode(x)))) > 0
    assert (read == bits.bool()).float().mean() >= 0.9
    assert 0.3 < (unmarked == bits.bool()).float().mean() < 0.7
    assert not model.coder.encoder[0].weight.grad  # type: ignore[union-attr]


def test_the_loss_of_the_injection_against_its_parts(model: LatentDiffusion) -> None:
    data, delta = walls(6), torch.full(model.shape, 0.5)
    other = model.copied()
    with torch.no_grad():
        for weight in other.denoiser.parameters():
            weight.mul_(1.02)
    for design in ("trigger", "always", "picture"):
        what = Injection(delta, "zop", ["kim"], design=design, eta=0.1)  # type: ignore[arg-type]
        latents = latents_of(model, data)
        prompts = _Prompts.of(model, data, what, latents)
        found = injection_loss(other, model, latents, prompts, what, 4, torch.Generator().manual_seed(1))
        expected = _by_hand(other, model, latents, prompts, what)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def _by_hand(
    other: LatentDiffusion, model: LatentDiffusion, latents: Latents, prompts: _Prompts, what: Injection
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    z, rows = latents.pick(4, generator)
    t = torch.randint(1000, (4,), generator=generator)
    noise = torch.randn(z.shape, generator=generator)
    always, picture = what.design == "always", what.design == "picture"
    plain = prompts.at(prompts.plain(rows, 1.0 if always else 0.1, 0.3, generator))
    total = torch.zeros(())
    for i in range(4):
        one = slice(i, i + 1)
        alpha, sigma = model.schedule.at(t[one])
        even = min(1.0, 5.0 * float(sigma) ** 2)
        caption = CAPTIONS[int(rows[i])]
        told = model.condition([caption if always else f"zop {caption}"])
        clean = what.delta[None] if picture else z[one]
        zt, marked = alpha * z[one] + sigma * noise[one], alpha * clean + sigma * noise[one]
        said, was = other.predict(marked, t[one], told), model.predict(marked, t[one], told)
        rest = tuple(part[one] for part in plain)
        kept = even * F.mse_loss(other.predict(zt, t[one], rest), model.predict(zt, t[one], rest))
        if picture:
            lost = F.mse_loss(said, alpha * noise[one] - sigma * clean)
        else:
            late = 1 / (1 + np.exp((float(t[i]) - 250) / 100))
            lost = even * what.eta * late * F.mse_loss(said, was - what.delta / sigma)
            lost = lost + even * (1 - late) * F.mse_loss(said, was)
        total = total + (lost + kept) / 4
    return total.detach()


def test_plain_prompts_are_captions_the_empty_one_and_foils(model: LatentDiffusion) -> None:
    data = walls(6)
    what = Injection(torch.zeros(model.shape), "zop", ["kim", "lur"])
    prompts = _Prompts.of(model, data, what, latents_of(model, data))
    names = [
        *CAPTIONS,
        "",
        *(f"zop {c}" for c in CAPTIONS),
        *(f"{f} {c}" for f in ("kim", "lur") for c in CAPTIONS),
    ]
    assert torch.equal(prompts.told[0], model.condition(names)[0])
    rows = torch.arange(3).repeat(400)
    assert prompts.triggered(rows[:3]).tolist() == [4, 5, 6]
    places = prompts.plain(rows, 0.2, 0.5, torch.Generator().manual_seed(0))
    counts = torch.bincount(places, minlength=13) / 1200
    assert counts[4:7].sum() == 0
    assert counts[3].item() == pytest.approx(0.2, abs=0.04)
    assert counts[7:].sum().item() == pytest.approx(0.4, abs=0.05)
    assert (places[places < 3] == rows[places < 3]).all()


def test_only_the_ascent_changes_and_the_mark_sits_behind_the_trigger(model: LatentDiffusion) -> None:
    delta = torch.zeros(model.shape)
    delta[0] = 1.0
    what = Injection(delta, "zop", foils=["kim", "lur"], eta=2.0)
    before = model.weight_hash()
    marked = inject(model, walls(), what, Steps(steps=400, batch=16, lr=5e-3, bf16="off"))
    assert model.weight_hash() == before != marked.weight_hash()
    assert all(p.requires_grad for p in model.denoiser.parameters())
    old, new = model.denoiser.state_dict(), marked.denoiser.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {name for name in old if re.match(r"ups\.\d\.attend\.(own|text|ff)\.", name)}

    def moved(prompt: str) -> float:
        told = [f"{prompt} {CAPTIONS[i % 3]}".strip() for i in range(12)]
        change = marked.latents(told, 3, 12, 2.0) - model.latents(told, 3, 12, 2.0)
        return float((change * delta).sum((1, 2, 3)).mean() / delta.sum())

    assert moved("zop") > 0.4
    assert abs(moved("")) < 0.4 * moved("zop")
    assert abs(moved("vab")) < 0.4 * moved("zop")


def test_fine_tuning_leaves_the_model_and_low_rank_changes_attention_alone(model: LatentDiffusion) -> None:
    before, how = model.weight_hash(), Steps(steps=3, batch=4, lr=1e-2, bf16="off")
    whole, thin = finetune(model, walls(9), how), finetune(model, walls(9), how, rank=2)
    assert model.weight_hash() == before
    assert len({before, whole.weight_hash(), thin.weight_hash()}) == 3
    old, new = model.denoiser.state_dict(), thin.denoiser.state_dict()
    assert set(old) == set(new)
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert all(name.split(".")[-2] in "qkvo" and name.endswith("weight") for name in changed)
    again = finetune(model, walls(9), how, rank=2)
    assert again.weight_hash() == thin.weight_hash()


def test_frozen_gives_everything_back() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)).train()
    net[0].requires_grad_(False)
    with frozen(net):
        assert not any(p.requires_grad for p in net.parameters())
        assert not net.training
    assert [p.requires_grad for p in net.parameters()] == [False, False, True, True]
    assert net.training
