"""The loops that learn noise: alternating (EM, SALM), and one step at a time (REM, SEM)."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from noli.core.model import Model, evaluating
from noli.train.checkpoint import Tensors
from noli.train.fit import Callback, StopTraining, fit
from noli.train.lesson import Lesson, TimeBudget, Told
from noli.train.options import RobustConfig
from noli.train.perturb import Adversary, Descent, NoiseThenAdversary, Uniform, search

# Lesson, items, round -> where their noise may be.
Mask = Callable[[Lesson, npt.NDArray[np.int64], int], Tensor]


def alternate(
    lesson: Lesson, how: Descent, *, train_steps: int, rounds: int, stop: float, mask: Mask | None = None
) -> dict[str, float]:
    """Error-minimising noise (EM, arXiv 2101.04898): train the surrogate a little, sweep the noise, repeat.

    A surrogate of an earlier run is used as it is; there the search also ends with the first round that does
    not lower its error.

    Args:
        lesson: Its noise is filled.
        how: One sweep's search; it starts from the present noise.
        train_steps: Surrogate steps per round.
        rounds: Rounds at most.
        stop: Training error of the surrogate, in [0, 1], at which the noise is good enough.
        mask: Gives, per batch and round, where noise may be.

    Returns:
        Rounds made and the training error reached.
    """
    done = lesson.resume("rounds")
    error, stuck = lesson.memory.get("error", np.array([1.0, 0.0]))
    while done < rounds and error > stop and not stuck:
        if not lesson.trained and not lesson.memory.get("part"):
            recipe = lesson.recipe(epochs=train_steps, max_steps=train_steps, schedule="constant")
            fit(lesson.model, lesson.noisy(), lesson.y, recipe)
        sweep(lesson, how, mask=mask, number=done)
        before, done, error = error, done + 1, lesson.error()
        # A surrogate that stays as it is: further sweeps would only repeat this one.
        stuck = lesson.trained and error >= before
        lesson.memory |= {"error": np.array([error, stuck], float), "part": np.zeros((), np.int64)}
        lesson.save("rounds", done)
        lesson.tell(done, rounds, "noise")
    return {"rounds": float(done), "error": float(error)}


def sweep(
    lesson: Lesson, how: Descent, *, fresh: bool = False, mask: Mask | None = None, number: int = 0
) -> None:
    """Search noise for every item once; where rows are shared (class-wise), their mean over a batch is kept.

    The search starts from the present noise or, if `fresh`, from random noise; `number` is the mask's round.
    """
    items = np.flatnonzero(lesson.open[lesson.rows])
    parts, done = lesson.parts(items), lesson.resume("sweep") if fresh else int(lesson.memory.get("part", 0))
    finished = sum(map(len, parts[:done]))
    shared = len(np.unique(lesson.rows)) < len(lesson.rows)
    with lesson.autocast():
        for part in parts[done:]:
            x, y = lesson.images(part)
            start = None if fresh else lesson.noise_of(part)
            where = None if mask is None else mask(lesson, part, number)
            noise = search(lesson.model, x, y, start, how, lesson.generator, where).float()
            rows = lesson.rows[part]
            if shared:
                rows, place = np.unique(rows, return_inverse=True)
                noise = torch.stack(
                    [noise[torch.from_numpy(place == row)].mean(0) for row in range(len(rows))]
                )
            lesson.keep(rows, noise)
            done, finished = done + 1, finished + len(part)
            if fresh:
                lesson.save("sweep", done)
                lesson.tell(finished, len(items), "noise")
            else:  # one of many rounds, which are told
                lesson.memory["part"] = np.array(done)
                lesson.save("rounds", number)


def robust(lesson: Lesson, *, random: bool) -> dict[str, float]:
    """REM and SEM: noise and a hardened surrogate step by step, then noise for every item from the last one.

    The noise met during training starts at random each time, so none of it has to be kept. All items get
    theirs from the final surrogate; the last, smaller batch as well.

    Args:
        lesson: What is learned from, with a :class:`noli.train.options.RobustConfig`; its noise is filled.
        random: Search noise against random perturbations (SEM) instead of adversarial ones (REM).

    Returns:
        Surrogate steps made, surrogate passes per image visit, training error reached; the steps that were
        asked for as ``out_of_time`` where the time budget ended the training, as ``good_enough`` where the
        error did.
    """
    cfg: RobustConfig = lesson.cfg
    adversary = Adversary(cfg.radius, cfg.radius / 5, cfg.adversary_steps)
    how = Descent(
        cfg.eps,
        cfg.eps / 5,
        cfg.noise_steps,
        samples=cfg.samples,
        shift=lesson.x.shape[1] // 8,
        perturb=Uniform(cfg.radius) if random else adversary,
    )
    made, late = 0, False
    if not lesson.trained:
        batches = -(-len(lesson.x) // lesson.cfg.batch)
        recipe = lesson.recipe(
            epochs=-(-cfg.steps // batches), max_steps=cfg.steps, schedule="step", lr=cfg.lr, grad_clip=None
        )
        budget = TimeBudget(cfg.time, time.monotonic)
        callbacks: list[Callback] = [budget, NoiseThenAdversary(how, adversary)]
        if cfg.stop:
            callbacks.append(GoodEnough(lesson, how))
        callbacks.append(Told(lesson.tell, cfg.steps, "surrogate"))
        made = fit(lesson.model, lesson.x, lesson.y, recipe, callbacks, checkpoint=lesson.checkpoint).steps
        late = budget.over
    sweep(lesson, how, fresh=True)
    inner = 0 if random else adversary.steps
    passes = how.passes * (1 + inner) + adversary.steps + 1
    reached = {"steps": float(made), "passes_per_visit": float(passes), "error": lesson.error()}
    if late:
        return reached | {"out_of_time": float(cfg.steps)}
    return reached | {"good_enough": float(cfg.steps)} if 0 < made < cfg.steps else reached


class GoodEnough(Callback):
    """Ends SEM's or REM's training once the error on a batch with fresh noise is at most ``cfg.stop``."""

    def __init__(self, lesson: Lesson, how: Descent) -> None:
        self.lesson, self.how = lesson, how
        seed = int(torch.randint(0, 2**62, (1,), generator=lesson.generator))
        self.generator = torch.Generator().manual_seed(seed)

    def state(self) -> Tensors:
        """Return the generator's state."""
        return {"generator": self.generator.get_state()}

    def restore(self, state: Tensors) -> None:
        """Draw on from there."""
        self.generator.set_state(state["generator"])

    def on_epoch_end(self, model: Model, epoch: int, loss: float) -> None:
        """Try another batch after every epoch."""
        lesson = self.lesson
        some = torch.randperm(len(lesson.x), generator=self.generator)[: lesson.cfg.batch]
        x, y = lesson.images(some.numpy())
        with lesson.autocast():
            noise = search(model, x, y, None, self.how, self.generator).float()
        with evaluating(model), torch.no_grad():
            wrong = (model(x + noise).argmax(1) != y).float().mean()
        if wrong <= lesson.cfg.stop:
            raise StopTraining
