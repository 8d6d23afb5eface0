"""Peak memory of `noli protect` at 1,000 and 100,000 images: each run in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from common import save

COUNTS = (1_000, 100_000)
RUN = """
import json, resource, sys
from common import bench_key
from noli.engine.request import RunRequest
from noli.engine.runner import run_data
from noli.methods.protect import cuda
run_data(RunRequest(sys.argv[1], sys.argv[2], cuda.SPEC, cuda.Config(), key=bench_key(0), workers=2))
peak = lambda who: resource.getrusage(who).ru_maxrss / 1024
own, worker = peak(resource.RUSAGE_SELF), peak(resource.RUSAGE_CHILDREN)
print(json.dumps({"parent_mb": own, "largest_worker_mb": worker}))
"""


def main() -> None:
    rows = []
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(50)]
    blobs = [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures]
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as name:
            for i in range(count):
                place = Path(name) / "in" / f"class {i % 10}" / f"{i:06}.png"
                if i < 10:
                    place.parent.mkdir(parents=True)
                place.write_bytes(blobs[i % 50])
            done = subprocess.run(
                [sys.executable, "-c", RUN, f"{name}/in", f"{name}/out"],
                capture_output=True, text=True, check=True, cwd=Path(__file__).parent,
            )  # fmt: skip
            rows.append({"images": count, **json.loads(done.stdout.splitlines()[-1])})
    growth = rows[-1]["parent_mb"] - rows[0]["parent_mb"]
    save("memory", {"rows": rows, "parent_growth_mb": growth})


if __name__ == "__main__":
    main()
