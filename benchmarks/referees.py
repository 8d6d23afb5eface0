"""Our attacks beside those of pyautoattack and foolbox: the accuracy that each leaves, on the same networks.

    pip install "torch==2.13.0" -e ".[referee]"
    python benchmarks/referees.py

Two networks on CIFAR-10: a plain one at 1/255, and one trained on images of PGD at 4/255. 200 test images,
no restarts, the same steps, targets and queries. Ours may leave at most 1 point more than the referee does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import CLASSES, cifar10, save, work_file
from noli import zoo
from noli.core.images import to_float
from noli.core.model import Model
from noli.ops.adversarial.apgd import apgd, apgd_targeted
from noli.ops.adversarial.fab import fab
from noli.ops.adversarial.losses import dlr
from noli.ops.adversarial.square import square
from noli.ops.pgd import pgd_l2, pgd_linf
from noli.train.callbacks import Adversarial, CropFlip
from noli.train.fit import fit
from noli.train.recipe import Recipe

IMAGES, STEPS, TARGETS, QUERIES, SLACK = 200, 50, 9, 1000, 0.01
NETWORKS = {"plain": 1 / 255, "adversarial": 4 / 255}


def network(name: str, eps: float) -> Model:
    """A small network, trained once."""
    file = work_file(f"referees-{name}.safetensors")
    if not file.exists():
        x, y = cifar10("train", 10_000)
        model = zoo.network("small", CLASSES)
        callbacks: list[Any] = [CropFlip()]
        if name == "adversarial":
            callbacks.append(Adversarial(eps=eps, steps=5))
        fit(model, x, y, Recipe(epochs=10), callbacks)
        model.save(file)
    return zoo.load(file).eval().requires_grad_(False)


def own(model: Model, x: Tensor, y: Tensor, eps: float) -> dict[str, Callable[[], Tensor]]:
    """Our attacks."""

    def start() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    def near() -> Tensor:
        made = fab(model, x, y, steps=STEPS, targets=TARGETS)
        inside = (made - x).abs().flatten(1).amax(1) <= eps
        return torch.where(inside[:, None, None, None], made, x)

    return {
        "apgd-ce": lambda: apgd(model, x, y, eps=eps, steps=STEPS, generator=start()),
        "apgd-dlr": lambda: apgd(model, x, y, eps=eps, steps=STEPS, loss=dlr, generator=start()),
        "apgd-t": lambda: apgd_targeted(
            model, x, y, eps=eps, steps=STEPS, targets=TARGETS, generator=start()
        ),
        "fab-t": near,
        "square": lambda: square(model, x, y, eps=eps, queries=QUERIES, generator=start()),
        "pgd": lambda: pgd_linf(model, x, y, eps=eps, steps=STEPS, step_size=eps / 10, generator=start()),
        "pgd, L2": lambda: pgd_l2(
            model, x, y, eps=eps * 20, steps=STEPS, step_size=eps * 2, generator=start()
        ),
    }


def referees(model: Model, x: Tensor, y: Tensor, eps: float) -> dict[str, Callable[[], Tensor]]:
    """The same by pyautoattack and foolbox, with as much work."""
    import foolbox
    from pyautoattack import AutoAttack

    logging.getLogger("auto-attack").setLevel(logging.CRITICAL)

    def auto(name: str) -> Tensor:
        judge = AutoAttack(model, attacks=[name], eps=eps, version="custom", seed=0)
        judge.verbose = False
        for part in (judge.apgd, judge.apgd_targeted, judge.fab):
            part.n_restarts, part.n_iter = 1, STEPS
        judge.apgd_targeted.n_target_classes = judge.fab.n_target_classes = TARGETS
        judge.square.n_queries = QUERIES
        made, _ = judge.run_standard_evaluation(x, y, batch_size=len(x))
        return made

    def fool(attack: Any, length: float) -> Tensor:
        judged = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        _, made, _ = attack(judged, x, y, epsilons=length)
        return made

    torch.manual_seed(0)  # foolbox has no other
    found: dict[str, Callable[[], Tensor]] = {
        name: lambda name=name: auto(name)  # type: ignore[misc]
        for name in ("apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square")
    }
    pgd, l2 = foolbox.attacks.LinfPGD, foolbox.attacks.L2PGD
    found["pgd"] = lambda: fool(pgd(steps=STEPS, abs_stepsize=eps / 10), eps)
    found["pgd, L2"] = lambda: fool(l2(steps=STEPS, abs_stepsize=eps * 2), eps * 20)
    return found


def measured(model: Model, y: Tensor, attack: Callable[[], Tensor]) -> dict[str, float]:
    """Accuracy that an attack leaves, and what it costs."""
    begun = time.process_time()
    made = attack()
    spent = time.process_time() - begun
    right = model.predict(made.detach().numpy()).argmax(1) == y.numpy()
    return {"accuracy": float(right.mean()), "cpu_seconds": spent}


def main() -> None:
    images, labels = cifar10("test", IMAGES)
    x, y = torch.from_numpy(np.ascontiguousarray(to_float(images))), torch.from_numpy(labels)
    table: dict[str, Any] = {}
    for name, eps in NETWORKS.items():
        model = network(name, eps)
        clean = float((model.predict(images).argmax(1) == labels).mean())
        ours, theirs = own(model, x, y, eps), referees(model, x, y, eps)
        rows = {row: {"ours": measured(model, y, ours[row]), "referee": measured(model, y, theirs[row])}
                for row in ours}  # fmt: skip
        for row in rows.values():
            row["as good"] = row["ours"]["accuracy"] <= row["referee"]["accuracy"] + SLACK  # type: ignore[assignment]
        table[name] = {"clean": clean, "eps": eps, "attacks": rows}
    save("referees", {"networks": table, "images": IMAGES, "steps": STEPS, "slack": SLACK})


if __name__ == "__main__":
    main()
