"""DICOM in and out: what is shown, what comes back, what the copy says about itself, what is refused."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from making import noise, snapshot

import noli
from noli.cli.main import main
from noli.core.errors import DataError, MissingPrerequisite
from noli.core.images import to_float, to_uint8, to_uint16
from noli.data import dicom
from noli.data.codec import decode, encode, inspect
from noli.data.picture import Picture
from noli.data.scan import scan
from noli.data.sources import open_source

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: pip install 'noli[dicom]'")
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.pixels import apply_modality_lut, apply_voi_lut  # noqa: E402
from pydicom.uid import (  # noqa: E402
    JPEG2000,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)
from pydicom.valuerep import DSfloat  # noqa: E402

SECRETS = ("Doe^Jane", "4711-X", "19700102", "Saint Nowhere", "Dr^Who", "ACC77", "call her mother", "PRIVATE")
UIDS = {"StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": "1.2.3.2", "SOPInstanceUID": "1.2.3.3"}


def values(bits: int = 12, signed: int = 0, shape: tuple[int, ...] = (9, 7), seed: int = 0) -> np.ndarray:
    """Random stored values of all that the bits can hold, both ends among them."""
    low = -(1 << bits - 1) if signed else 0
    made = np.random.default_rng([bits, signed, seed]).integers(low, low + (1 << bits), shape)
    made.flat[0], made.flat[-1] = low, low + (1 << bits) - 1
    return made


def whole(bits: int, signed: int = 0) -> np.ndarray:
    """Every stored value once."""
    low = -(1 << bits - 1) if signed else 0
    return np.arange(low, low + (1 << bits)).reshape(1 << bits // 2, -1)


def make(
    stored: np.ndarray | None = None,
    *,
    bits: int = 12,
    signed: int = 0,
    syntax: str = ExplicitVRLittleEndian,
    edit: Any = None,
    **tags: Any,
) -> bytes:
    """A DICOM file with the usual tags, patient and all."""
    stored = values(bits, signed) if stored is None else stored
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = syntax
    file.file_meta.SourceApplicationEntityTitle = "PRIVATE"
    file.SOPClassUID = CTImageStorage
    for name, uid in UIDS.items():
        setattr(file, name, uid)
    file.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    file.PatientName, file.PatientID, file.PatientBirthDate, file.PatientSex = (
        SECRETS[0],
        SECRETS[1],
        SECRETS[2],
        "F",
    )
    file.InstitutionName, file.ReferringPhysicianName, file.AccessionNumber = SECRETS[3:6]
    file.PatientComments, file.StudyDate, file.Modality = SECRETS[6], SECRETS[2], "CT"
    file.LossyImageCompression, file.BurnedInAnnotation = "00", "YES"
    file.SliceThickness, file.PixelSpacing = "1.250", ["0.70", "0.70"]
    inner = Dataset()
    inner.ReferencedSOPClassUID, inner.ReferencedSOPInstanceUID = CTImageStorage, UIDS["SOPInstanceUID"]
    inner.PatientID = SECRETS[1]
    file.ReferencedImageSequence = [inner]
    file.private_block(0x0099, "NOBODY", create=True).add_new(1, "LO", "PRIVATE")
    file.Rows, file.Columns = stored.shape[:2]
    file.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    file.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
    if stored.ndim == 3:
        file.PlanarConfiguration = 0
    file.BitsAllocated, file.BitsStored, file.HighBit = (8 if bits <= 8 else 16), bits, bits - 1
    file.PixelRepresentation = signed
    kind = "<u1" if bits <= 8 else "<u2"
    body = stored.astype(kind).tobytes()
    file.add_new(0x7FE00010, "OB" if bits <= 8 else "OW", body + bytes(len(body) % 2))
    for name, value in tags.items():
        setattr(file, name, value)
    if edit:
        edit(file)
    buffer = io.BytesIO()
    if syntax == RLELossless:
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.compress(RLELossless, generate_instance_uid=False)
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def read(data: bytes) -> Any:
    return pydicom.dcmread(io.BytesIO(data))


def stored_in(data: bytes) -> np.ndarray:
    return np.asarray(read(data).pixel_array, np.int64)


def opened(data: bytes) -> Picture:
    return decode(data, where="x.dcm")


def written(data: bytes, pixels: np.ndarray | None = None, metadata: Any = "keep") -> bytes:
    picture = opened(data)
    picture = picture if pixels is None else picture.with_pixels(pixels)
    return encode(picture, format="DICOM", metadata=metadata)


def refusal(data: bytes) -> DataError:
    with pytest.raises(DataError) as caught:
        inspect(data, where="x.dcm")
    assert caught.value.where == "x.dcm"
    assert "--on-error skip" in str(caught.value.fix)
    return caught.value


# --- pixels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("grey", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"RescaleSlope": "1", "RescaleIntercept": "-1024", "WindowCenter": "40", "WindowWidth": "400"},
        {
            "RescaleSlope": "-0.37",
            "RescaleIntercept": "7.3",
            "WindowCenter": ["10", "5"],
            "WindowWidth": ["33", "9"],
        },
        {"WindowCenter": "60", "WindowWidth": "1000000", "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": "99999999", "WindowWidth": "2"},
        {"WindowCenter": "50", "WindowWidth": "1"},
    ],
)
def test_an_unchanged_working_image_gives_back_every_stored_value(
    grey: str, signed: int, bits: int, shown: dict[str, Any]
) -> None:
    data = make(whole(bits, signed), bits=bits, signed=signed, PhotometricInterpretation=grey, **shown)
    picture = opened(data)
    assert (picture.channels, picture.bits) == (1, 8 if bits == 8 else 16)
    back = (to_uint8 if bits == 8 else to_uint16)(to_float(picture.pixels[None]))[0]
    assert np.array_equal(stored_in(written(data, back)), whole(bits, signed))


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_come_back(bits: int) -> None:
    stored = noise(6, 5, 3, bits)
    for planar, syntax in ((0, ExplicitVRLittleEndian), (1, ImplicitVRLittleEndian), (0, RLELossless)):

        def edit(file: Any, planar: int = planar) -> None:
            file.PlanarConfiguration = planar
            if planar:
                file["PixelData"].value = np.moveaxis(stored, 2, 0).tobytes()

        data = make(stored, bits=bits, syntax=syntax, edit=edit)
        assert np.array_equal(opened(data).pixels, stored)
        made = written(data, ~stored)
        assert np.array_equal(stored_in(made), ~stored)
        assert read(made).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2.5, -300), (-1, 900)])
@pytest.mark.parametrize("grey", ["MONOCHROME1", "MONOCHROME2"])
def test_the_working_image_is_what_a_viewer_shows(
    function: str | None, slope: float, intercept: float, grey: str
) -> None:
    tags = {"RescaleSlope": slope, "RescaleIntercept": intercept, "WindowCenter": 40, "WindowWidth": 400}
    if function:
        tags["VOILUTFunction"] = function
    data = make(whole(12), PhotometricInterpretation=grey, **tags)
    file = read(data)
    real = slope * whole(12) + intercept
    exact = function == "LINEAR_EXACT"  # PS3.3 C.11.2.1.2 and C.11.2.1.3.2
    shown = np.clip((real - 40) / 400 + 0.5 if exact else (real - 39.5) / 399 + 0.5, 0, 1)
    if slope > 0:  # pydicom, a second opinion, takes a negative slope twice
        theirs = apply_voi_lut(apply_modality_lut(file.pixel_array, file), file)
        theirs = (theirs - theirs.min()) / (theirs.max() - theirs.min())
        assert np.allclose(theirs, shown)
    shown = 1 - shown if grey == "MONOCHROME1" else shown
    # The ends of the range are whole stored values.
    assert np.abs(opened(data).pixels[..., 0] / 65535 - shown).max() < 2 * abs(slope) / 400
    assert shown.std() > 0.1


def test_without_a_window_8_bits_are_shown_whole_and_more_from_end_to_end() -> None:
    assert np.array_equal(opened(make(whole(8)[3:9], bits=8)).pixels[..., 0], whole(8)[3:9])
    assert "WindowCenter" not in read(written(make(whole(8)[3:9], bits=8)))
    low, high = opened(make(whole(12, 1), signed=1)).pixels[..., 0].flat[[0, -1]]
    assert (low, high) == (0, 65535)
    flat = make(np.full((3, 3), 700), bits=16)
    assert set(opened(flat).pixels.flat) == {700}


BESIDE = {"WindowCenter": 99999, "WindowWidth": 100, "VOILUTFunction": "SIGMOID"}


@pytest.mark.parametrize("tags", [{}, BESIDE])
def test_a_change_is_a_share_of_what_16_bits_hold_not_of_what_they_could(tags: dict[str, Any]) -> None:
    """Twelve bits of a scanner in sixteen of a file, as scanners write them."""
    stored = values(12)
    data = make(stored, bits=16, **tags)
    levels = opened(data).pixels.astype(int)
    assert any("smallest to the largest" in note for note in opened(data).notes)
    assert any("lies outside" in note for note in opened(data).notes) == bool(tags)
    after = np.clip(levels + round(8 / 255 * 65535), 0, 65535).astype(np.uint16)
    made = written(data, after)
    assert np.abs(stored_in(made) - stored).max() <= round(8 / 255 * 4095) + 1
    assert np.abs(opened(made).pixels.astype(int) - after).max() <= 65535 / 4095
    assert (read(made).WindowCenter, read(made).WindowWidth) == (2048, 4096)
    assert "VOILUTFunction" not in read(made)


@pytest.mark.parametrize("stored", [whole(12), np.full((64, 64), 700)])
@pytest.mark.parametrize("tags", [{}, BESIDE])
def test_the_copy_of_a_full_or_flat_picture_is_read_in_its_range_as_well(
    stored: np.ndarray, tags: dict[str, Any]
) -> None:
    """Their copies do not fill the range, or are not flat: what they hold says nothing of it."""
    data = make(stored, **tags)
    after = np.linspace(20000, 20900, 4096).round().astype(np.uint16).reshape(64, 64, 1)
    shown = opened(written(data, after)).pixels.astype(int)
    assert np.abs(shown - after).max() <= 65535 / 4095


# Sixteen characters of the window's text once moved an end by one stored value here.
@example(ends={-1144, 5024}, slope=1.1824918571473972, intercept=0.0, grey="MONOCHROME1")
@settings(max_examples=120, deadline=None)
@given(
    ends=st.sets(st.integers(-32768, 32767), min_size=2, max_size=2),
    slope=st.one_of(st.sampled_from([1.0, -1.0, 0.5]), st.floats(1e-4, 1e4), st.floats(-1e4, -1e-4)),
    intercept=st.one_of(st.sampled_from([0.0, -1024.0]), st.floats(-1e5, 1e5)),
    grey=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
)
def test_the_copy_is_read_in_the_range_of_its_original(
    ends: set[int], slope: float, intercept: float, grey: str
) -> None:
    def edit(file: Any) -> None:
        file.RescaleSlope, file.RescaleIntercept = (DSfloat(v, auto_format=True) for v in (slope, intercept))

    low, high = sorted(ends)
    stored = np.array([[low, high, low]])
    data = make(stored, bits=16, signed=1, PhotometricInterpretation=grey, edit=edit)
    # Both ends leave their places: only the window can say where they were.
    inner = np.full((1, 3, 1), 30000, np.uint16)
    shown = opened(written(data, inner)).pixels.astype(int)
    assert np.abs(shown - 30000).max() <= 65535 / (high - low)


def test_a_change_is_a_share_of_the_window_and_is_shown_exactly() -> None:
    tags = {"RescaleIntercept": -1024, "RescaleSlope": 1, "WindowCenter": 40, "WindowWidth": 400}
    stored = np.array([[0, 800, 1000, 1200, 2000, 4095]])
    data = make(stored, **tags)
    levels = opened(data).pixels[..., 0].astype(int)
    assert levels[0, :2].tolist() == [0, 0]
    assert levels[0, 4:].tolist() == [65535, 65535]
    assert any("beyond the window" in note for note in opened(data).notes)
    eps = round(8 / 255 * 65535)
    for sign in (1, -1):
        after = np.clip(levels + sign * eps, 0, 65535)[..., None].astype(np.uint16)
        made = written(data, after)
        change = stored_in(made) - stored
        assert np.abs(np.abs(change[0, 2:4]) - 8 / 255 * 400).max() <= 1
        assert np.abs(opened(made).pixels.astype(int) - after).max() <= 65535 / 400
        # What gets no darker than black keeps its value; what gets brighter becomes visible.
        kept, moved = (slice(4, 6), slice(0, 2)) if sign > 0 else (slice(0, 2), slice(4, 6))
        assert change[0, kept].tolist() == [0, 0]
        assert np.unique(stored_in(made)[0, moved]).size == 1


def test_the_smallest_and_largest_value_are_kept_true() -> None:
    tags = {"SmallestImagePixelValue": 0, "LargestImagePixelValue": 4095}
    data = make(whole(12), **tags)
    made = read(written(data, opened(data).pixels // 2 + 10000))
    assert made.SmallestImagePixelValue == made.pixel_array.min() > 0
    assert made.LargestImagePixelValue == made.pixel_array.max() < 4095
    signed = make(whole(12, 1), signed=1)
    edited = make(whole(12, 1), signed=1, edit=lambda file: file.add_new(0x00280106, "SS", -2048))
    assert "SmallestImagePixelValue" not in read(written(signed, opened(signed).pixels // 2))
    made = read(written(edited, np.maximum(opened(edited).pixels, 9)))
    assert made.SmallestImagePixelValue == made.pixel_array.min() < 0


@pytest.mark.parametrize("limit", [None, -1990])
def test_padding_never_changes_and_nothing_becomes_padding(limit: int | None) -> None:
    def edit(file: Any) -> None:
        file.add_new(0x00280120, "SS", -2000)
        if limit is not None:
            file.add_new(0x00280121, "SS", limit)

    stored = np.array([[-2000, -1990, 5, -1980]])
    data = make(stored, signed=1, edit=edit)
    padding = [True, limit is not None, False, False]
    for level in (0, 65535):
        back = stored_in(written(data, np.full((1, 4, 1), level, np.uint16)))[0]
        assert back[padding].tolist() == stored[0][padding].tolist()
        # Padding is no value of the picture: it does not count among the smallest.
        end = 5 if level else -1980 if limit is not None else -1990
        assert (back[~np.array(padding)] == end).all()


def test_a_value_that_would_become_padding_steps_beside_it() -> None:
    stored = np.array([[0, 700, 100, 200]])
    data = make(stored, edit=lambda file: file.add_new(0x00280120, "US", 150))
    level = round((150 - 0) / 700 * 65535)
    assert stored_in(written(data, np.full((1, 4, 1), level, np.uint16)))[0].tolist() == [151] * 4


def test_a_modality_table_makes_the_window_unusable() -> None:
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [4096, 0, 16], "HU", bytes(8192)
    table["LUTDescriptor"].VR = "US"
    data = make(whole(12), ModalityLUTSequence=[table], WindowCenter=40, WindowWidth=400)
    assert opened(data).pixels.max() == 65535
    assert np.array_equal(np.unique(opened(data).pixels).size, 4096)


# --- what the copy says ---------------------------------------------------------------------------


def changed(data: bytes) -> np.ndarray:
    pixels = opened(data).pixels.copy()
    pixels[0, 0] ^= 0x0F0F if pixels.dtype == np.uint16 else 15
    return pixels


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 900, "WindowWidth": 500}])
def test_the_copy_is_derived_and_keeps_every_other_tag(syntax: str, window: dict[str, Any]) -> None:
    data = make(syntax=syntax, DerivationDescription="Reformatted.", **window)
    before, after = read(data), read(written(data, changed(data)))
    if not window:  # the one that it was shown in is new
        assert (after.WindowCenter, after.WindowWidth) == (2048, 4096)
        del after.WindowCenter, after.WindowWidth
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert after.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert list(after.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    assert after.DerivationDescription.startswith("Reformatted. Pixel values changed by noli")
    link = after.SourceImageSequence[0]
    assert (link.ReferencedSOPClassUID, link.ReferencedSOPInstanceUID) == (CTImageStorage, "1.2.3.3")
    assert (after.LossyImageCompression, after.BurnedInAnnotation) == ("00", "YES")
    for name in ("SOPInstanceUID", "ImageType", "DerivationDescription", "SourceImageSequence", "PixelData"):
        for file in (before, after):
            if name in file:
                del file[name]
    assert [str(element) for element in before.iterall()] == [str(element) for element in after.iterall()]
    assert dicom.NOTE in opened(data).notes


def test_equal_pictures_give_equal_bytes_and_others_another_uid() -> None:
    data, other = make(), make(PatientID="another")
    made = [written(data), written(data), written(data, changed(data)), written(other)]
    made.append(written(data, metadata="strip"))
    assert made[0] == made[1]
    uids = {read(one).SOPInstanceUID for one in made}
    assert len(uids) == 4
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)


def test_the_copy_of_a_copy_names_both_and_says_it_once() -> None:
    first = written(make())
    second = read(written(first))
    named = [link.ReferencedSOPInstanceUID for link in second.SourceImageSequence]
    assert named == ["1.2.3.3", read(first).SOPInstanceUID]
    assert second.DerivationDescription == read(first).DerivationDescription


def test_icons_and_signatures_go() -> None:
    data = make(IconImageSequence=[Dataset()], DigitalSignaturesSequence=[Dataset()])
    assert {"DICOM: IconImageSequence removed", "DICOM: DigitalSignaturesSequence removed"} < set(
        opened(data).notes
    )
    made = read(written(data))
    assert "IconImageSequence" not in made
    assert "DigitalSignaturesSequence" not in made


def test_no_copy_of_the_pixels_stays_at_any_level() -> None:
    icon, link = Dataset(), Dataset()
    icon.BitsAllocated = link.BitsAllocated = 8
    icon.PixelData, icon.Rows = b"ICON" * 20, 4
    link.ReferencedSOPInstanceUID, link.IconImageSequence, link.PixelData = "1.2.3.4", [icon], b"COPY" * 20

    def edit(file: FileDataset) -> None:
        file.ReferencedImageSequence = [link]
        block = file.private_block(0x7FE1, "VENDOR", create=True)
        block.add_new(0x10, "OB", b"MORE" * 200)
        block.add_new(0x11, "LO", "short words stay")

    data = make(edit=edit)
    assert "DICOM: long private binary data removed" in opened(data).notes
    made = written(data)
    assert not [mark for mark in (b"ICON", b"COPY", b"MORE") if mark in made]
    assert b"short words stay" in made
    assert read(made).ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_strip_leaves_no_name_date_or_identity_at_any_level(syntax: str) -> None:
    data = make(syntax=syntax)
    made = written(data, changed(data), "strip")
    assert all(secret.encode() in data for secret in SECRETS)
    assert not [secret for secret in SECRETS if secret.encode() in made]
    file = read(made)
    assert (file.PatientName, file.PatientID, file.StudyDate) == ("", "", "")
    assert "PatientComments" not in file
    assert not [e for e in file.iterall() if e.tag.is_private]
    assert not [e for e in file.iterall() if e.VR == "UI" and str(e.value).startswith("1.2.3.")]
    assert (file.SOPClassUID, file.Modality, file.PixelSpacing[0]) == (CTImageStorage, "CT", 0.7)
    assert "PatientIdentityRemoved" not in file
    assert np.array_equal(stored_in(made), stored_in(written(data, changed(data))))
    # Files of one study still belong together.
    sister = read(written(make(SOPInstanceUID="1.2.3.4"), metadata="strip"))
    assert sister.StudyInstanceUID == file.StudyInstanceUID != read(data).StudyInstanceUID
    assert sister.SOPInstanceUID != file.SOPInstanceUID
    inner = file.ReferencedImageSequence[0].ReferencedSOPInstanceUID
    assert inner == file.SourceImageSequence[0].ReferencedSOPInstanceUID


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lambda: make(NumberOfFrames=2), "several frames"),
        (lambda: make(syntax=JPEGBaseline8Bit, bits=8, edit=lambda f: encapsulated(f)), "JPEG Baseline"),
        (lambda: make(syntax=JPEG2000, edit=lambda f: encapsulated(f)), "JPEG 2000"),
        (lambda: make(syntax=DeflatedExplicitVRLittleEndian), "deflated"),
        (lambda: make(syntax=ExplicitVRBigEndian), "Big Endian"),
        (lambda: make(PhotometricInterpretation="PALETTE COLOR"), "PALETTE COLOR"),
        (lambda: make(noise(4, 4, 3), bits=8, PhotometricInterpretation="YBR_FULL"), "YBR_FULL"),
        (lambda: make(HighBit=15), "high bit 15"),
        (lambda: make(BitsAllocated=32), "32 bits"),
        (lambda: make(edit=lambda f: f.__delattr__("PixelData")), "PixelData"),
    ],
)
def test_refused_kinds_name_the_fix(data: Any, why: str) -> None:
    error = refusal(data())
    assert error.what == "This kind of DICOM file is not supported."
    assert why in str(error.why)


def encapsulated(file: Any) -> None:
    file.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])


def test_lossless_compression_without_a_plug_in_names_the_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import base

    monkeypatch.setattr(base.Decoder, "is_available", False)
    error = refusal(make(syntax=JPEGLSLossless, edit=encapsulated))
    assert "JPEG-LS Lossless" in str(error.why)
    assert "pip install pylibjpeg" in str(error.fix)


def test_a_truncated_file_is_found_wherever_it_ends() -> None:
    data = make()
    for end in range(132, len(data) - 1, 7):
        refusal(data[:end])
    assert inspect(data, where="x").shape == (9, 7, 1)


def test_a_damaged_file_gives_a_picture_or_a_typed_error() -> None:
    data, rng = make(syntax=RLELossless), np.random.default_rng(5)
    for _ in range(150):
        broken = bytearray(data)
        for at in rng.integers(132, len(data), 3):
            broken[at] = rng.integers(256)
        try:
            picture = opened(bytes(broken))
        except DataError:
            continue
        encode(picture, format="DICOM")
        encode(picture, format="DICOM", metadata="strip")


def test_sizes_are_checked_before_the_pixels() -> None:
    with pytest.raises(DataError, match="larger than the limit"):
        decode(make(Rows=60000, Columns=60000), where="x")


def test_only_what_came_from_dicom_becomes_dicom() -> None:
    picture = replace(opened(make()), original=None)
    with pytest.raises(DataError, match="read from DICOM"):
        encode(picture, format="DICOM")


def test_a_preamble_that_looks_like_a_tiff_does_not_hide_the_dicom() -> None:
    data = b"II*\0" + make()[4:]
    assert opened(data).format == "DICOM"
    assert written(data)[:128] == bytes(128)


def test_without_pydicom_the_run_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(tmp_path / "in", 1)
    noli.Key.new(tmp_path / "key")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingPrerequisite, match=r'pip install "noli\[dicom\]"'):
        list(scan(open_source(tmp_path / "in"), workers=2))
    words = ["protect", "cuda", tmp_path / "in", "-o", tmp_path / "out", "--key", tmp_path / "key"]
    assert main([*map(str, words), "--on-error", "skip"]) == 3
    assert 'pip install "noli[dicom]"' in capsys.readouterr().err


# --- whole runs -----------------------------------------------------------------------------------


def smooth(seed: int) -> np.ndarray:
    y, x = np.mgrid[0:40, 0:36]
    wave = 1000 + 500 * np.sin(x / 5 + seed) + 400 * np.cos(y / 7 - seed) + 40 * seed
    return wave.astype(int)


def folder(root: Path, each: int = 3) -> Path:
    """Class folders; some of the names are those of an archive: a number, and none at all."""
    for number in range(2 * each):
        name = ("a.dcm", "IM0001", "1.2.840.5", "B.DCM")[number // 2 % 4]
        path = root / ("sick", "well")[number % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = {"WindowCenter": 1000, "WindowWidth": 2400} if number % 3 else {}
        path.write_bytes(make(smooth(number), SOPInstanceUID=f"1.2.3.{number + 10}", **shown))
    return root


@pytest.fixture
def key(tmp_path: Path) -> noli.Key:
    return noli.Key.new(tmp_path / "owner.key")


def test_protect_undo_and_diff(tmp_path: Path, key: noli.Key) -> None:
    folder(tmp_path / "in", 4)
    run = noli.protect(tmp_path / "in", tmp_path / "out", key=key, workers=1)
    names = sorted(snapshot(tmp_path / "in"))
    assert sorted(snapshot(tmp_path / "out")) == names
    assert run.manifest.results["dicom"] == 8
    difference = noli.diff(tmp_path / "in", tmp_path / "out")
    assert (difference.items, difference.identical) == (8, 0)
    assert difference.psnr_mean == pytest.approx(run.manifest.results["psnr_mean"], abs=0.01)
    found = noli.undo(tmp_path / "out", tmp_path / "back", key=key, workers=1)
    assert sorted(snapshot(tmp_path / "back")) == names
    assert found.compared == 8
    assert found.psnr_min is not None
    assert difference.psnr_mean is not None
    assert found.psnr_min > difference.psnr_mean + 6
    first = tmp_path / "back" / names[0]
    assert read(first.read_bytes()).PatientName == SECRETS[0]
    assert dicom.NOTE in (run.path / "report.html").read_text("utf-8")


def test_salm_touches_a_share_of_the_pixels_and_keeps_the_tags(tmp_path: Path, key: noli.Key) -> None:
    folder(tmp_path / "in", 4)
    quick = {"network": "tiny", "rounds": 1, "steps": 2, "train_steps": 1, "size": 32, "device": "cpu"}
    run = noli.protect(
        tmp_path / "in", tmp_path / "out", method="protect/salm", key=key, config=quick, workers=1
    )
    assert run.manifest.results["dicom"] == 8
    for name, data in snapshot(tmp_path / "in").items():
        before, after = read(data), read((tmp_path / "out" / name).read_bytes())
        changed = (before.pixel_array != after.pixel_array).mean()
        # A quarter is asked for, at the side of learning.
        assert 0 < changed < 0.5
        assert after.SOPInstanceUID != before.SOPInstanceUID
        assert "changed by noli" in after.DerivationDescription
        assert after.PatientName == before.PatientName
        assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
    found = noli.undo(tmp_path / "out", tmp_path / "back", key=key, workers=1)
    assert found.compared == 8


def test_values_beyond_the_window_are_told_when_they_can_be_lost(
    tmp_path: Path, key: noli.Key, capsys: pytest.CaptureFixture[str]
) -> None:
    from noli.cli.main import main

    for name, stored in (
        ("one/a/far.dcm", [[0, 800, 1200, 4095]] * 4),
        ("two/b/near.dcm", [[900, 1100] * 2] * 4),
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        tags = {"RescaleIntercept": -1024, "RescaleSlope": 1, "WindowCenter": 40, "WindowWidth": 400}
        (tmp_path / name).write_bytes(make(np.array(stored), SOPInstanceUID=f"1.2.{len(name)}", **tags))
    for source, count in (("one", 1), ("two", 0)):
        out = tmp_path / f"out{count}"
        words = (
            "protect",
            "cuda",
            str(tmp_path / source),
            "-o",
            str(out),
            "--key",
            str(tmp_path / "owner.key"),
        )
        assert main([*words, "-q", "-j", "1"]) == 0
        told = capsys.readouterr().err
        assert ("values beyond their display window" in told) == bool(count)
        assert (
            noli.Run.open(noli.engine.request.run_folder(out)).manifest.results.get("beyond_window", 0)
            == count
        )


def test_one_unusable_file_is_left_out(tmp_path: Path, key: noli.Key) -> None:
    folder(tmp_path / "in", 2)
    (tmp_path / "in/sick/film.dcm").write_bytes(make(NumberOfFrames=3))
    with pytest.raises(DataError, match="several frames"):
        noli.protect(tmp_path / "in", tmp_path / "out", key=key, workers=1)
    run = noli.protect(tmp_path / "in", tmp_path / "out", key=key, workers=1, on_error="skip")
    assert (run.manifest.results["items"], run.manifest.results["skipped"]) == (4, 1)
    assert not (tmp_path / "out/sick/film.dcm").exists()


@pytest.mark.parametrize("metadata", ["keep", "strip"])
def test_the_command_says_loudly_that_this_is_no_de_identification(
    tmp_path: Path, key: noli.Key, capsys: pytest.CaptureFixture[str], metadata: str
) -> None:
    folder(tmp_path / "in", 1)
    call = ["protect", "cuda", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--metadata", metadata]
    call += ["--key", str(tmp_path / "owner.key"), "--workers", "1", "--quiet"]
    undo = ["undo", str(tmp_path / "out"), "-o", str(tmp_path / "back"), *call[-5:], "--json"]
    for words in ([*call, "--dry-run"], call, undo):
        assert main(words) == 0
        assert "this is not de-identification" in capsys.readouterr().err


KILLED = """
import os, signal, sys
count, replace = 0, os.replace
def step(*args):
    global count
    count += 1
    if count == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(*args)
import noli.data.batch
from noli import registry
from noli.core.key import Key
from noli.engine.request import RunRequest
from noli.engine.runner import run_data
spec = registry.get("protect/cuda")
os.replace = step
key = Key.from_bytes(bytes(range(32)))
run_data(RunRequest({source!r}, {output!r}, spec, spec.config(), key, shard_size=2))
"""


def test_a_killed_run_resumes_with_the_same_uids_and_bytes(tmp_path: Path) -> None:
    folder(tmp_path / "in")

    def start(output: str, at: int) -> int:
        code = KILLED.format(at=at, source=str(tmp_path / "in"), output=str(tmp_path / output))
        return subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ)).returncode

    assert start("whole", 0) == 0
    assert start("out", 5) == -signal.SIGKILL
    written_before = snapshot(tmp_path / "out")
    assert 0 < len(written_before) < 6
    assert start("out", 0) == 0
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")
    assert len({read(data).SOPInstanceUID for data in snapshot(tmp_path / "out").values()}) == 6


def test_verify_reads_what_was_written(tmp_path: Path, key: noli.Key) -> None:
    from noli.methods.verify.config import Config
    from noli.methods.verify.load import load

    for split, each in (("train", 8), ("test", 2)):
        for number in range(2 * each):
            path = tmp_path / "in" / split / ("sick", "well")[number % 2] / f"{number}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make(smooth(number + each), SOPInstanceUID=f"1.2.{each}.{number + 1}"))
    noli.protect(tmp_path / "in", tmp_path / "out", key=key, workers=1)
    data = load(tmp_path / "out", tmp_path / "in", Config(device="cpu"))
    assert data.classes == ("sick", "well")
    assert len(data.protected_x) == len(data.clean_x) == 16
    assert not np.array_equal(data.protected_x, data.clean_x)
