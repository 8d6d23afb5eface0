"""Does the draw of the key matter, does a number computed from the filters predict it, does selection help?

CIFAR-10 subset (10,000 training images), small network, crop and flip, one training per key. Unselected
paper keys and unselected keyed keys (``candidates=1``) against keys selected by attraction entropy.
Spearman correlation of the criterion with accuracy over the unselected keys; mean and worst before and after.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.stats import spearmanr, wilcoxon

from common import CLASSES, Cells, bench_key, cifar10, protect_arrays, psnr, save
from noli.core.method import DataSummary
from noli.methods.protect import cuda
from noli.methods.verify.battery import REFERENCE, LearnabilityData, Trainer, table, unpack
from noli.methods.verify.config import Config
from noli.ops.spectra import attraction_entropy, signature

KEYS = 12
VARIANTS = {
    "paper": cuda.Config(mode="paper"),
    "keyed unselected": cuda.Config(candidates=1),
    "keyed selected": cuda.Config(),
}


def criterion(number: int, cfg: cuda.Config) -> float:
    """Attraction entropy of the filters that this key uses."""
    key = bench_key(number)
    state = cuda.prepare(DataSummary(1, CLASSES, {(32, 32, 3): 1}), key, cfg)
    kernels = [cuda.class_filter(key, c, d, 3, 0.3, cfg.binary)[0] for c, d in state["draws"].items()]
    return attraction_entropy(np.linalg.norm(signature(np.stack(kernels)), axis=1))


def main() -> None:
    x, y = cifar10("train", 10_000)
    test_x, test_y = cifar10("test", 5_000)
    cells, judge = Cells("keys"), Config()
    row = next(m for m in table(judge) if m.name == REFERENCE)

    def measure(number: int, cfg: cuda.Config | None) -> dict[str, float]:
        protected = x if cfg is None else protect_arrays(x, y, bench_key(number), cfg)
        subject = LearnabilityData(x, protected, y, y, test_x, test_y, CLASSES)
        result = Trainer(subject, judge).run(row, "protected", 0)
        correct = unpack(result["correct"]["untouched"], result["n"])
        quality = {} if cfg is None else {"psnr": psnr(x, protected), "criterion": criterion(number, cfg)}
        return {"accuracy": float(correct.mean()), **quality}

    summary: dict[str, object] = {"clean": cells.get("clean", lambda: measure(0, None))["accuracy"]}
    part, parts = (int(a) for a in sys.argv[1:3]) if len(sys.argv) > 2 else (0, 1)
    for name, cfg in VARIANTS.items():
        rows = [
            cells.get(f"{name}/{n}", lambda n=n, cfg=cfg: measure(n, cfg))
            for n in range(KEYS)
            if n % parts == part
        ]
        accuracy = [r["accuracy"] for r in rows]
        entry = {"keys": len(rows), "mean": np.mean(accuracy), "worst": max(accuracy), "best": min(accuracy),
                 "psnr": np.mean([r["psnr"] for r in rows])}  # fmt: skip
        if name != "keyed selected":
            found = spearmanr([r["criterion"] for r in rows], accuracy)
            entry |= {"spearman": found.statistic, "p": found.pvalue}
        summary[name] = {k: float(v) for k, v in entry.items()}
    if parts == 1:
        before, after = (
            np.array([cells.done[f"keyed {kind}/{n}"]["accuracy"] for n in range(KEYS)])
            for kind in ("unselected", "selected")
        )
        summary["selection"] = {
            "keys_improved": int((after < before).sum()),
            "keys_worse": int((after > before).sum()),
            "mean_change": float((after - before).mean()),
            "wilcoxon_p": float(wilcoxon(after, before, alternative="less").pvalue),
        }
        save("keys", summary, cells)


if __name__ == "__main__":
    main()
