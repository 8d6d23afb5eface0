"""Pictures with boxes are read as they are; XML of strangers is refused or bounded."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxes_making import scenes, voc
from noli.core.errors import DataError
from noli.data.annotations import parse_voc, read_boxes


def folder(place: Path, xml: dict[str, str], pictures: dict[str, tuple[int, int]]) -> Path:
    place.mkdir(exist_ok=True)
    for name, text in xml.items():
        (place / name).write_text(text)
    for name, (width, height) in pictures.items():
        Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(place / name)
    return place


def test_boxes_are_squeezed_with_their_picture(tmp_path: Path) -> None:
    xml = voc("a.png", (40, 20), [("cat", (10, 5, 20, 15)), ("ant", (-3, 0, 50, 20)), ("cat", (7, 7, 7, 9))])
    found = read_boxes(folder(tmp_path / "f", {"a.xml": xml}, {"a.png": (40, 20)}), 80)
    assert found.classes == ("ant", "cat")
    assert found.images.shape == (1, 80, 80, 3)
    assert found.boxes[0].tolist() == [[20, 20, 40, 60], [0, 0, 80, 80]]  # clipped; the empty one is out
    assert found.labels[0].tolist() == [1, 0]
    assert found.dropped == 1
    assert found.items[0].path == "a.png"


def test_a_zip_file_reads_like_its_folder(tmp_path: Path) -> None:
    archive = scenes(tmp_path / "s.zip", 6)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "s")
    one, other = read_boxes(archive, 48), read_boxes(tmp_path / "s", 48)
    assert np.array_equal(one.images, other.images)
    assert one.items == other.items
    assert all(np.array_equal(a, b) for a, b in zip(one.boxes, other.boxes, strict=True))


def test_a_picture_stays_on_its_side(tmp_path: Path) -> None:
    many, few = read_boxes(scenes(tmp_path / "m.zip", 40), 48), read_boxes(scenes(tmp_path / "f.zip", 30), 48)
    sides = []
    for one in (many, few):
        train, test = one.split(0.3)
        assert sorted([*train, *test]) == list(range(len(one.items)))
        sides.append({one.items[i].id for i in test})
    assert sides[1] == sides[0] & {item.id for item in few.items}
    with pytest.raises(DataError, match="too few"):
        read_boxes(scenes(tmp_path / "two.zip", 2), 48).split(0.5)


BOMB = '<!DOCTYPE a [<!ENTITY b "boom"><!ENTITY c "&b;&b;&b;">]><annotation><x>&c;</x></annotation>'
FETCH = '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>'
OBJECT = "<annotation><object>{}</object></annotation>"
SIDES = "<bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        (BOMB, "document type"),
        (FETCH, "document type"),
        ("<annotation>", "no element"),
        ("", "no element"),
        ("<a>" * 40 + "</a>" * 40, "nested"),
        ("<annotation>" + "<object></object>" * 10_002 + "</annotation>", "too many"),
        (OBJECT.format("<name>cat</name>"), "bndbox/xmin"),
        (OBJECT.format(SIDES.format(1)), "name"),
        (OBJECT.format("<name></name>" + SIDES.format(1)), "name"),
        (OBJECT.format("<name>c</name>" + SIDES.format("nan")), "no number"),
        (OBJECT.format("<name>c</name>" + SIDES.format("one")), "one"),
    ],
)
def test_xml_that_is_refused(xml: str, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        parse_voc(xml.encode(), "bad.xml")
    assert caught.value.where == "bad.xml"


def test_parts_of_an_object_do_not_replace_its_box() -> None:
    part = "<part><name>head</name>" + SIDES.format(2) + "</part>"
    found = parse_voc(OBJECT.format(part + "<name>cat</name>" + SIDES.format(1)).encode(), "a.xml")
    assert found.names == ("cat",)
    assert found.boxes.tolist() == [[1, 1, 3, 4]]


def test_what_does_not_fit_is_named_or_left_out(tmp_path: Path) -> None:
    good = voc("a.png", (40, 20), [("cat", (1, 2, 9, 9))])
    place = folder(
        tmp_path / "f",
        {"a.xml": good, "b.xml": voc("b.png", (99, 20), []), "c.xml": voc("none.png", (4, 4), []),
         "d.xml": BOMB},
        {"a.png": (40, 20), "b.png": (40, 20)},
    )  # fmt: skip
    with pytest.raises(DataError, match="3 of 4") as caught:
        read_boxes(place, 32)
    assert caught.value.items == ("b.xml", "c.xml", "d.xml")
    assert len(read_boxes(place, 32, skip=True).items) == 1
    (place / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError):
        read_boxes(place, 32, skip=True)


def test_places_without_annotations(tmp_path: Path) -> None:
    for place in (tmp_path / "none", folder(tmp_path / "empty", {}, {"a.png": (4, 4)})):
        with pytest.raises(DataError, match=r"neither|no pictures"):
            read_boxes(place, 32)
    (tmp_path / "damaged.zip").write_bytes(scenes(tmp_path / "s.zip", 3).read_bytes()[:500])
    with pytest.raises(DataError, match="neither"):
        read_boxes(tmp_path / "damaged.zip", 32)


def shades(place: Path, names: dict[str, int]) -> None:
    """Write pictures of one grey each, so that it shows which of them was taken."""
    for name, grey in names.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), grey, np.uint8)).save(place / name)


def noted(place: Path, names: dict[str, str]) -> None:
    """Write annotations, each of which names a picture."""
    for name, picture in names.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(voc(picture, (20, 20), [("cat", (1, 2, 9, 9))]))


def taken(place: Path, **more: bool) -> dict[str, int]:
    found = read_boxes(place, 8, **more)
    return {item.path: int(image[0, 0, 0]) for item, image in zip(found.items, found.images, strict=True)}


LAYOUTS = {
    "one folder a split": (["train/0.png", "valid/0.png"], ["train/0.xml", "valid/0.xml"]),
    "voc in splits": (
        ["train/JPEGImages/0.png", "valid/JPEGImages/0.png", "train/SegmentationClass/0.png"],
        ["train/Annotations/0.xml", "valid/Annotations/0.xml"],
    ),
    "splits in voc": (
        ["images/train/0.png", "images/valid/0.png"],
        ["annotations/train/0.xml", "annotations/valid/0.xml"],
    ),
    "far away, but one": (["pictures/of/cats/0.png", "1.png"], ["xml/0.xml", "xml/1.xml"]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_annotation_gets_the_picture_of_its_own_folder(tmp_path: Path, layout: str) -> None:
    pictures, xml = LAYOUTS[layout]
    shades(tmp_path, {name: 10 * i + 10 for i, name in enumerate(pictures)})
    noted(tmp_path, dict.fromkeys(xml, "0.png"))
    assert taken(tmp_path) == {name: 10 * i + 10 for i, name in enumerate(pictures[: len(xml)])}


def test_of_two_types_the_one_that_is_named_is_taken(tmp_path: Path) -> None:
    shades(tmp_path, {"images/0.png": 10, "masks/0.bmp": 20, "a/1.png": 30, "a/1.bmp": 40})
    noted(tmp_path, {"xml/0.xml": "0.bmp", "a/1.xml": "1.png"})
    assert taken(tmp_path) == {"masks/0.bmp": 20, "a/1.png": 30}


def test_a_picture_that_could_be_several_is_refused_by_name(tmp_path: Path) -> None:
    shades(tmp_path, {"b/c/0.png": 10, "d/e/0.png": 20, "good/1.png": 30})
    noted(tmp_path, {"a/0.xml": "0.png", "good/1.xml": "1.png"})
    with pytest.raises(DataError, match=r"b/c/0\.png.*d/e/0\.png"):
        read_boxes(tmp_path, 8)
    assert taken(tmp_path, skip=True) == {"good/1.png": 30}


def test_a_picture_that_two_annotations_claim_is_refused(tmp_path: Path) -> None:
    shades(tmp_path, {"valid/0.png": 10, "good/1.png": 30})
    noted(tmp_path, {"train/0.xml": "0.png", "valid/0.xml": "0.png", "good/1.xml": "1.png"})
    with pytest.raises(DataError, match="2 of 3") as caught:
        read_boxes(tmp_path, 8)
    assert caught.value.items == ("train/0.xml", "valid/0.xml")
    assert taken(tmp_path, skip=True) == {"good/1.png": 30}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damaged_members_of_a_zip_file_are_named_or_left_out(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(scenes(tmp_path / "s.zip", 3)) as plain:
        members = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(tmp_path / "d.zip", "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    data, whole, refused = (tmp_path / "d.zip").read_bytes(), read_boxes(tmp_path / "d.zip", 8), 0
    for spot in range(0, 60, 3):
        broken = bytearray(data)
        start = 30 + len("images/000.png") + spot
        broken[start : start + 3] = b"\xff\xff\xff"
        (tmp_path / "d.zip").write_bytes(broken)
        found = read_boxes(tmp_path / "d.zip", 8, skip=True)
        if found.items == whole.items:  # bytes that the method does not read
            continue
        refused += 1
        assert found.items == whole.items[1:]
        with pytest.raises(DataError, match="1 of 3"):
            read_boxes(tmp_path / "d.zip", 8)
    assert refused >= 5


def test_long_texts_are_whole(tmp_path: Path) -> None:
    lines = "\n".join(map(str, range(100_000)))
    found = parse_voc(f"<annotation><filename>{lines}</filename></annotation>".encode(), "a.xml")
    assert found.picture == lines
