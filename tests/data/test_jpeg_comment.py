from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from noli.data.codec import decode, encode, lost


def commented(text: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(buffer, "JPEG", comment=text.encode())
    return buffer.getvalue()


@pytest.mark.parametrize("text", ["a plain comment", "Grüße 漢字"])
def test_comments_survive_and_can_be_stripped(text: str) -> None:
    picture = decode(commented(text), where="x.jpg")
    assert picture.comment == text
    assert decode(encode(picture, format="JPEG"), where="y").comment == text
    assert Image.open(io.BytesIO(encode(picture, format="PNG"))).text == {"Comment": text}
    assert decode(encode(picture, format="JPEG", metadata="strip"), where="y").comment == ""
    assert decode(encode(picture, format="PNG", metadata="strip"), where="y").chunks == ()


def test_a_format_without_comments_is_told() -> None:
    picture = decode(commented("hello"), where="x.jpg")
    assert "WEBP" in lost(picture, "WEBP")[0]
    assert lost(picture, "PNG") == lost(picture, "JPEG") == ()
