"""The medical benchmark: how the sets are cut, how changes are made equal, and what is called a sign."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import medical
import medical_sets
import medical_signs


def test_a_quarter_of_every_class_is_held_out():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], (40, 21, 2)))
    held = medical_sets.held_out(labels, 0.25)
    assert np.bincount(labels[held], minlength=3).tolist() == [10, 5, 0]
    assert np.array_equal(held, medical_sets.held_out(labels, 0.25))


def test_identical_xrays_are_kept_once(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (12, 64, 64), dtype=np.uint8)
    images[7] = images[3]
    np.savez(tmp_path / "covid_xray_64.npz", images=images, labels=np.arange(12) % 2, classes=["a", "b"])
    monkeypatch.setattr(medical_sets, "DATA", tmp_path)
    found = medical_sets.chest(64)
    both = np.concatenate([found.x, found.test_x])[..., 0]
    assert sorted(map(bytes, both)) == sorted(map(bytes, np.delete(images, 7, axis=0)))
    assert medical_sets.chest(32).x.shape == (8, 32, 32, 1)


ENDS = "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
BOX = f"<object><name>{{}}</name><bndbox>{ENDS}</bndbox></object>"


def smears(place):
    """One smear per list with squares for cells: 3 red, 1 white, 1 platelet, and a box that is too small."""
    squares = [("RBC", 1), ("RBC", 21), ("RBC", 41), ("WBC", 61), ("Platelets", 81)]
    xml = "".join(BOX.format(name, left, 11, left + 9, 26) for name, left in squares)
    with zipfile.ZipFile(place, "w") as package:
        for number, part in enumerate(("train", "val", "test")):
            pixels = np.full((40, 100, 3), 40, np.uint8)
            for grey, (_, left) in enumerate(squares):
                pixels[10:26, left - 1 : left + 9] = 100 + 20 * grey + number
            package.writestr(f"BCCD/ImageSets/Main/{part}.txt", f"smear{number}\n")
            package.writestr(f"BCCD/JPEGImages/smear{number}.jpg", bytes(cv2.imencode(".png", pixels)[1]))
            small = BOX.format("WBC", 1, 1, 5, 5)
            package.writestr(f"BCCD/Annotations/smear{number}.xml", f"<annotation>{xml}{small}</annotation>")


def test_cells_are_cut_at_their_boxes_and_no_smear_is_in_both_parts(tmp_path, monkeypatch):
    smears(tmp_path / "bccd.zip")
    monkeypatch.setattr(medical_sets, "DATA", tmp_path)
    found = medical_sets.blood()
    # As many red cells as white ones.
    assert found.counts() == {"training": [1, 1, 1], "test": [2, 2, 2]}
    assert found.x.shape == (3, 32, 32, 3)
    greys = {name: {int(v) for v in np.unique(x)} for name, x in (("x", found.x), ("test", found.test_x))}
    assert {180, 160} < greys["x"] <= {100, 120, 140, 160, 180}
    assert {181, 161, 182, 162} <= greys["test"]
    assert not greys["x"] & greys["test"]


def test_missing_data_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(medical_sets, "DATA", tmp_path)
    for load in (medical_sets.blood, lambda: medical_sets.chest(32)):
        with pytest.raises(SystemExit, match="not available"):
            load()


def changed(levels):
    x = np.full((3, 5, 7, 1), 100, np.uint8)
    noise = np.random.default_rng(0).integers(-levels, levels + 1, x.shape)
    noise[1] = 0
    return x, (x + noise).astype(np.uint8)


def test_equal_linf_scales_down_and_never_up():
    x, images = changed(20)
    found = medical.change(x, medical.equal_linf(x, images, 8))
    assert np.abs(found).max() == 8
    assert np.array_equal(
        found[0], np.rint((images.astype(float) - x)[0] * 8 / np.abs(images.astype(float) - x)[0].max())
    )
    gentle = changed(3)
    assert np.array_equal(medical.equal_linf(*gentle, 8), gentle[1])


def test_equal_l2_reaches_the_norm_of_every_image():
    x, images = changed(40)
    wanted = np.array([0.3, 0.2, 0.1])
    reached = medical.l2(x, medical.equal_l2(x, images, wanted))
    assert reached == pytest.approx([0.3, 0, 0.1], rel=0.05)


def test_quality_counts_pixels_not_channels():
    x = np.full((2, 8, 8, 3), 50, np.uint8)
    images = x.copy()
    images[0, 1, 1] = (50, 53, 46)
    found = medical.quality(x, images)
    assert found["touched"] == 1 / 128
    assert found["linf"] == 4
    assert found["l2"] == pytest.approx(5 / 255 / 2)


def test_important_cells_come_first_and_meaningless_ones_never():
    jobs = [(n, r, s) for n in ("noise", "salm") for r in ("coin", "reader") for s in (1, 0)]
    ordered = sorted(jobs, key=lambda job: medical.urgency(("blood", *job)))
    assert ordered[:3] == [("salm", "reader", 0), ("salm", "reader", 1), ("noise", "reader", 0)]
    assert ordered[-1] == ("noise", "coin", 1)
    assert not medical.applies("clean", "reader", 3)
    assert not medical.applies("clean", "leak-1-pair", 1)
    assert not medical.applies("em", "grayscale", 1)
    assert medical.applies("em", "grayscale", 3)


def test_signs_compare_what_is_there():
    def setting(value, **numbers):
        row = {"value": value, "low": value - 0.02, "high": value + 0.02, "values": [value]}
        return {"rows": {"crop+flip": row}, **numbers}

    reader = {"difference": -0.01, "low": -0.015, "high": 0.0}
    found = {
        "clean": setting(0.8),
        "salm": setting(0.77, psnr=36.0, ssim=0.9, cpu_seconds=9.0, reader=reader),
        "em": setting(0.7, psnr=30.0, ssim=0.95, cpu_seconds=12.0),
    }
    holds = {one["sign"]: one["holds"] for one in medical_signs.signs(found)}
    assert list(holds.values()) == [False, False, True, False, True, True]
    harmed = found | {
        "salm": setting(0.5, psnr=36.0, ssim=0.9, cpu_seconds=9.0, reader=reader | {"low": -0.03})
    }
    assert [one["holds"] for one in medical_signs.signs(harmed)] == [True, True, True, False, True, False]
    assert medical_signs.signs({"em": setting(0.7)}) == []


def test_signs_compare_the_seeds_that_both_have():
    first = {"value": 0.5, "low": 0.4, "high": 0.6, "values": [0.7, 0.3]}
    second = {"value": 0.6, "low": 0.5, "high": 0.7, "values": [0.6]}
    clean = {"rows": {"crop+flip": first | {"low": 0.9}}}
    found = {"clean": clean, "salm": {"rows": {"crop+flip": first}}, "em": {"rows": {"crop+flip": second}}}
    sign = medical_signs.signs(found)[1]
    assert sign["holds"] is False
    assert sign["found"] == "50.0 % (40.0 to 60.0, seeds: 2) beside 60.0 % (50.0 to 70.0, seeds: 1)"
