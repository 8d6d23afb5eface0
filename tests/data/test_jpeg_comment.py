from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from noli.data.codec import decode, encode


@pytest.mark.parametrize("text", ["a plain comment", "Grüße 漢字"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_comments_survive_and_can_be_stripped(text: str, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(buffer, "JPEG", comment=text.encode())
    picture = decode(buffer.getvalue(), where="x.jpg")
    assert picture.text == (("Comment", text),)
    assert decode(encode(picture, format=kind), where="y").text == (("Comment", text),)
    assert decode(encode(picture, format=kind, metadata="strip"), where="y").text == ()
