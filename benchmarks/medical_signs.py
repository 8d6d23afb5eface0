"""Which signs of the paper on SALM (arXiv 2403.10573) were found; we know its words, not its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Found = Mapping[str, Mapping[str, Any]]
ROW = "crop+flip"
# A reader that loses less than this is called unharmed.
TOLERATED = 0.02


def signs(found: Found) -> list[dict[str, Any]]:
    """Expected beside found, for as much as was measured.

    Args:
        found: Setting -> rows with accuracies, quality, reader.

    Returns:
        Dicts of ``sign`` (what is expected), ``found`` (in figures), ``holds``.
    """
    return [{"sign": sign, "found": figures, "holds": holds} for sign, figures, holds in _signs(found)]


def _signs(found: Found) -> Iterator[tuple[str, str, bool]]:
    if (
        not {"clean", "salm"} <= set(found)
        or ROW not in found["salm"]["rows"]
        or ROW not in found["clean"]["rows"]
    ):
        return
    salm, clean = found["salm"], found["clean"]["rows"][ROW]
    mine = salm["rows"][ROW]
    yield (
        "SALM lowers accuracy (intervals apart)",
        f"{percent(mine)} after {percent(clean)}",
        mine["high"] < clean["low"],
    )
    for rival in ("em", "em, L2 of salm", "lsp", "lsp, L2 of salm"):
        if rival in found and ROW in found[rival]["rows"]:
            row = found[rival]["rows"][ROW]
            sign = f"SALM leaves no more accuracy than {rival}"
            yield sign, f"{percent(mine)} beside {percent(row)}", _mean_gap(mine, row) <= 0
    for rival in ("em", "lsp"):
        for measure in ("psnr", "ssim"):
            if rival in found and measure in found[rival]:
                sign = f"SALM's {measure.upper()} is above that of {rival} at equal L-infinity"
                figures = f"{salm[measure]:.3g} beside {found[rival][measure]:.3g}"
                yield sign, figures, salm[measure] > found[rival][measure]
    seconds = [found[name]["cpu_seconds"] for name in ("salm", "em") if "cpu_seconds" in found.get(name, {})]
    if len(seconds) == 2:
        yield (
            "SALM is made faster than em",
            "{:.0f} s beside {:.0f} s".format(*seconds),
            seconds[0] < seconds[1],
        )
    if "reader" in salm:
        reader = salm["reader"]
        span = f"{reader['difference']:+.3f} ({reader['low']:+.3f} to {reader['high']:+.3f})"
        sign = f"a clean-trained reader loses less than {TOLERATED} of AUC on SALM's images"
        yield sign, span, reader["low"] > -TOLERATED


def _mean_gap(mine: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Compare the seeds that both have (seeds are measured in order): keys differ much."""
    pairs = list(zip(mine["values"], other["values"], strict=False))
    return sum(a - b for a, b in pairs) / len(pairs)


def percent(row: Mapping[str, Any]) -> str:
    """Mean accuracy with its interval and the number of seeds."""
    spread = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}, seeds: {len(row['values'])}"
    return f"{100 * row['value']:.1f} % ({spread})"
