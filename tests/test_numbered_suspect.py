"""A service that answers with numbers: what they are taken for is a label map, and stands in the claim."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from noli.api._suspects import PictureQueries
from noli.proof.claim import Suspect
from noli.proof.protocol import Protocol
from noli.proof.trust import resting

CLASSES = ("cat", "dog", "owl")
PROTOCOL = Protocol(
    claim="c", null="n", test="labels", parameters={"classes": list(CLASSES), "k": 1}, secrets=3, budget=3
)
QUERIES = PictureQueries([[np.zeros((4, 4, 3), np.uint8)]] * 3, PROTOCOL)


def described(folder: Path, more: str) -> Path:
    file = folder / "suspect.yaml"
    body = 'body: {kind: json, template: {image: "{image_png_base64}"}}'
    file.write_text(f"url: http://127.0.0.1:9/classify\n{body}\nresponse_path: label\n{more}\n")
    return file


@pytest.mark.parametrize(
    ("more", "known"),
    [
        ("", {}),
        ("classes: [dog, cat, cat]", {"0": ("dog",), "1": ("cat",), "2": ("cat",)}),
        ("classes: [wolf, owl]", {"1": ("owl",)}),
        ("classes: [a, b]\nlabel_map: {a: [cat], b: [owl]}", {"a": ("cat",), "b": ("owl",)}),
    ],
)
def test_numbers_are_read_by_a_map_that_the_claim_has(
    tmp_path: Path, more: str, known: dict[str, tuple[str, ...]]
) -> None:
    with ExitStack() as stack:
        _, facts = QUERIES.served(described(tmp_path, more), stack, None)
    assert facts["label_map"] == known
    suspect = Suspect(name="s", **facts)
    words = [one.word for one in resting(PROTOCOL, suspect, None)]
    assert ("labels" in words) is bool(known)
