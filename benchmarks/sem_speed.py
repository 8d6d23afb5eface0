"""Cost of learning SEM's and REM's noise: our search against the published formulation, and SEM against REM.

The reference follows the papers as their scripts are organised: float32, contiguous layout, one image at a
time in the augmentation, a gradient per random transform. Ours: batched augmentation, channels-last, bf16
where the processor has it. Both search the noise of one batch (10 steps of 5 transforms) with the same frozen
network. SEM against REM is a whole visit of an image: the search, ten steps of the adversary that hardens the
surrogate, and the surrogate's own step. CPU seconds per image, one thread, median of three. Every kind of
processor has a file of its own: ``amx`` and ``avx512`` (both with bf16), and ``float32``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from common import clock, machine, peak_mb, save
from noli import zoo
from noli.core.model import Model
from noli.train.fit import fit
from noli.train.hardware import fast_bf16
from noli.train.perturb import Adversary, Descent, NoiseThenAdversary, Perturb, Uniform, search
from noli.train.recipe import Recipe

EPS, RADIUS = 8 / 255, 4 / 255
STEPS, SAMPLES = 10, 5
HARDENED = Adversary(RADIUS, RADIUS / 5, 10)
CASES = (("tiny", 32), ("small", 32), ("resnet18", 32))


def one_by_one(x: torch.Tensor, generator: torch.Generator, pad: int = 4) -> torch.Tensor:
    """Crop and flip every image by itself, as a transform of a data set does."""
    out = []
    for image in x:
        if torch.rand(1, generator=generator) < 0.5:
            image = image.flip(2)
        top, left = torch.randint(0, 2 * pad + 1, (2,), generator=generator).tolist()
        grown = F.pad(image, (pad, pad, pad, pad))
        out.append(grown[:, top : top + image.shape[1], left : left + image.shape[2]])
    return torch.stack(out)


def reference(
    model: Model, x: torch.Tensor, y: torch.Tensor, generator: torch.Generator, ascent: int
) -> torch.Tensor:
    """SEM's defender with `ascent` 0, else REM's with so many PGD steps."""
    noise = (torch.rand(x.shape, generator=generator) * 2 - 1) * EPS
    for _ in range(STEPS):
        total = torch.zeros_like(x)
        for _ in range(SAMPLES):
            variable = noise.clone().requires_grad_(True)
            z = one_by_one((x + variable).clamp(0, 1), generator)
            u = (torch.rand(z.shape, generator=generator) * 2 - 1) * RADIUS
            for _ in range(ascent):
                u.requires_grad_(True)
                (gradient,) = torch.autograd.grad(F.cross_entropy(model(z.detach() + u), y), u)
                u = (u.detach() + RADIUS / 5 * gradient.sign()).clamp(-RADIUS, RADIUS)
            loss = F.cross_entropy(model((z + u).clamp(0, 1)), y)
            (gradient,) = torch.autograd.grad(loss, variable)
            total += gradient
        noise = (noise - EPS / 5 * total.sign()).clamp(-EPS, EPS)
    return noise


def visit(model: Model, x: np.ndarray, y: np.ndarray, defender: Perturb) -> None:
    """One step of SEM's or REM's training on a batch, as the methods make it."""
    how = Descent(EPS, EPS / 5, STEPS, samples=SAMPLES, shift=4, perturb=defender)
    recipe = Recipe(epochs=1, max_steps=1, batch=len(x), schedule="step", grad_clip=None)
    fit(model, x, y, recipe, [NoiseThenAdversary(how, HARDENED)])


def kind() -> str:
    """Return what the processor has for bf16."""
    if not fast_bf16("cpu"):
        return "float32"
    return "amx" if "amx_bf16" in machine()["features"] else "avx512"


def main() -> None:
    torch.set_num_threads(1)
    rng, rows = np.random.default_rng(0), []
    bf16 = fast_bf16("cpu")
    for network, count in CASES:
        model = zoo.network(network, 10, 3, seed=0)
        model.eval()
        x = torch.from_numpy(rng.random((count, 3, 32, 32), np.float32))
        y = torch.arange(count) % 10
        last = x.contiguous(memory_format=torch.channels_last)

        def ours(perturb: object, m: Model = model, x: torch.Tensor = last, y: torch.Tensor = y) -> None:
            how = Descent(EPS, EPS / 5, STEPS, samples=SAMPLES, shift=4, perturb=perturb)  # type: ignore[arg-type]
            with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                search(m, x, y, None, how, torch.Generator().manual_seed(0))

        def theirs(ascent: int, m: Model = model, x: torch.Tensor = x, y: torch.Tensor = y) -> None:
            reference(m, x, y, torch.Generator().manual_seed(0), ascent)

        def cpu(work: Callable[[], None], n: int = count) -> float:
            return clock(work, repeats=3)["cpu"] / n

        base = cpu(lambda: theirs(0))
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        sem = cpu(lambda: ours(Uniform(RADIUS)))
        row = {"network": network, "reference_sem_s": base, "sem_s": sem, "speedup": base / sem}
        if network != "resnet18":
            stored, labels = (x.permute(0, 2, 3, 1) * 255).byte().numpy(), y.numpy()
            visits = {}
            for name, defender in (("sem", Uniform(RADIUS)), ("rem", HARDENED)):
                once = partial(visit, model, stored, labels, defender)
                visits[f"{name}_visit_s"] = cpu(once)
            row |= visits | {"rem_to_sem_cpu": visits["rem_visit_s"] / visits["sem_visit_s"]}
        rows.append(row)
    # Search, then ten steps of the surrogate's adversary and its own step.
    passes = {name: STEPS * SAMPLES * (1 + inner) + 10 + 1 for name, inner in (("sem", 0), ("rem", 10))}
    save(
        f"sem_speed_{kind()}",
        {
            "rows": rows,
            "bf16": bf16,
            "passes_per_visit": passes,
            "rem_to_sem_passes": passes["rem"] / passes["sem"],
            "peak_mb": peak_mb(),
        },
    )


if __name__ == "__main__":
    main()
