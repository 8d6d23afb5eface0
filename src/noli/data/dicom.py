"""DICOM files in and out: single-frame grey or RGB, 8 to 16 bits, without any loss.

The working image is what a viewer shows: for grey pictures the stored values that the first window spans
(after the rescale slope and intercept), black to white; MONOCHROME1 and negative slopes are turned round.
Without a usable window, more than 8 bits are shown from the picture's smallest to its largest value: 16 bits
are seldom filled, and a share of all of them would drown the picture. The copy then has that window. A change
of eps is therefore eps of the displayed range. Going back, a pixel that is not shown differently keeps its
stored value, also beyond the window; any other gets the value that shows its new level, so that the file
shows what the method made and an undo starts from that. A pixel beyond the window that a method changes thus
moves into it. Padding (*Pixel Padding Value*) never changes, and nothing else becomes padding.

Written files are derived copies in Explicit VR Little Endian, see `encode`. This is NOT de-identification.
"""

from __future__ import annotations

import hashlib
import io
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from noli.core.errors import DataError, MissingPrerequisite
from noli.data.dicom_tags import new_uid, replaced, strip, without_copies
from noli.data.picture import Metadata, Picture, Pixels
from noli.data.reading import check_size, damaged, quiet, reading

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

NOTE = "DICOM: this is not de-identification; burned-in annotations, file names and many tags stay"
BEYOND = "DICOM: some pixels lie beyond the window; those that change move into it"
# Implicit and Explicit VR Little Endian, RLE.
_PLAIN = frozenset(["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
_DEFLATED = b"1.2.840.10008.1.2.1.99"
# JPEG Lossless (two), JPEG-LS, JPEG 2000 and High-Throughput JPEG 2000 (two), all of them lossless only.
_LOSSLESS = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in ("57", "70", "80", "90", "201", "202"))
_EXPLICIT = "1.2.840.10008.1.2.1"
_IMPLEMENTATION = "2.25.182446339706263459912104403416411823465"
_ORIGIN = "Pixel values changed by noli (protection, or its removal). Not for diagnosis."
_CONVERT = "store it as Explicit VR Little Endian"


class _Scale(NamedTuple):
    """Stored values `low` .. `high` are possible; `black` is shown as 0 and `white` as `top`.

    The file may name these ends as its window; else they are the picture's `own`, and its copy has to.
    """

    low: int
    high: int
    black: int
    white: int
    top: int
    own: bool

    def levels(self, stored: Pixels) -> Pixels:
        """Return the working levels of stored values."""
        inside = self.shown(np.arange(self.low, self.high + 1, dtype=np.float64))
        table: Pixels = np.rint((inside - self.black) * (self.top / (self.white - self.black)))
        return np.asarray(table.astype(np.uint8 if self.top == 255 else np.uint16)[stored - self.low])

    def stored(self, levels: Pixels, before: Pixels) -> Pixels:
        """Return the stored values of working levels; a value of `before` that shows the same stays."""
        share = (self.white - self.black) / self.top
        table = np.rint(self.black + share * np.arange(self.top + 1)).astype(np.int32)
        made = table[levels]
        return np.asarray(np.where(made == self.shown(before), before, made))

    def shown(self, stored: Pixels) -> Pixels:
        """Return stored values brought into the window."""
        return np.asarray(np.clip(stored, min(self.black, self.white), max(self.black, self.white)))


def decode(data: bytes, max_pixels: int) -> Picture:
    """Decode a DICOM file; whatever it raises is for `reading` to turn into a typed error.

    Raises:
        DataError: A kind of file that is not read; the error names what to do.
        MissingPrerequisite: pydicom is not installed.
    """
    with quiet():
        file = _open(data)
        check_size(int(file.Columns), int(file.Rows), max_pixels)
        stored = _stored(file)
        scale, notes = _scale(file, stored)
        for element in file.iterall():  # what can be read can be written
            if element.tag.group < 8:
                raise damaged(f"group {element.tag.group:04x} is not for data sets")
    if not np.array_equal(scale.shown(stored), stored):
        notes += (BEYOND,)
    notes += tuple(f"DICOM: {name} removed" for name in without_copies(file))
    return Picture(scale.levels(stored), format="DICOM", notes=(NOTE, *notes), original=data)


def encode(picture: Picture, metadata: Metadata) -> bytes:
    """Return the derived copy of the picture's own file with its pixels changed.

    New or changed are SOP Instance UID (from the file and the new pixels: equal pictures give equal bytes),
    Image Type, Derivation Description, Source Image Sequence, smallest and largest pixel value, the window
    where none was usable, and the file meta group; icons, signatures and long private binary data go. All
    else stays, or goes by `noli.data.dicom_tags` under ``strip``.
    """
    if picture.original is None:
        raise DataError("Only what was read from DICOM can be written as DICOM.", fix="choose another format")
    with quiet(), reading("a DICOM file to be written"):
        file = _open(picture.original)
        before = _stored(file)
        scale, _ = _scale(file, before)
        pixels = _unpadded(file, scale.stored(picture.pixels, before), before, scale)
        body = pixels.astype("<u2" if file.BitsAllocated == 16 else "u1").tobytes()  # two's complement
        without_copies(file)
        source = (str(file.SOPClassUID), str(file.SOPInstanceUID))
        if metadata == "strip":
            source = (source[0], replaced(source[1]))
            strip(file)
        if scale.own:
            _set_window(file, scale)
        _derive(file, source, new_uid(metadata.encode() + hashlib.sha256(picture.original).digest() + body))
        if not np.array_equal(pixels, before):
            _set_extremes(file, pixels)
        file.add_new(0x7FE00010, "OW" if file.BitsAllocated == 16 else "OB", body + bytes(len(body) % 2))
        if pixels.shape[2] == 3:
            file.PlanarConfiguration = 0
        return _written(file)


def _open(data: bytes) -> FileDataset:
    """Read a file and refuse what noli cannot write back without loss."""
    try:
        import pydicom
        from pydicom.pixels.decoders.base import get_decoder
    except ImportError as exc:
        fix = 'pip install "noli[dicom]"'
        raise MissingPrerequisite("DICOM files need pydicom.", why=str(exc), fix=fix) from exc
    if _DEFLATED in data[132:2048]:  # it would be unpacked before its size is known
        raise _refused("it is deflated as a whole", f"{_CONVERT}, for example with dcmconv +te")
    file = pydicom.dcmread(io.BytesIO(data))
    syntax = file.file_meta.get("TransferSyntaxUID")
    for name in ("TransferSyntaxUID", "PixelData", "SOPClassUID", "SOPInstanceUID"):
        if name not in file and name not in file.file_meta:
            raise _refused(f"it has no {name}: cut off, or no picture", "get it again or leave it out")
    if syntax in _LOSSLESS and not get_decoder(syntax).is_available:
        fix = "decompress it, for example with gdcmconv --raw, or pip install pylibjpeg pylibjpeg-libjpeg"
        raise _refused(f"{syntax.name} needs a plug-in of pydicom", f"{fix} pylibjpeg-openjpeg")
    if syntax not in _PLAIN | _LOSSLESS:
        fix = f"get the uncompressed original, or {_CONVERT}, for example with gdcmconv --raw"
        raise _refused(f"its transfer syntax is {syntax.name}, which is lossy, retired or unknown", fix)
    if int(file.get("NumberOfFrames") or 1) != 1:
        raise _refused("it has several frames", "split it, for example with emf2sf of dcm4che")
    kind = (file.SamplesPerPixel, file.PhotometricInterpretation)
    if kind not in ((1, "MONOCHROME1"), (1, "MONOCHROME2"), (3, "RGB")):
        raise _refused(f"its colours are {kind[1]}", "convert it to MONOCHROME2 or RGB")
    if file.BitsAllocated not in (8, 16) or file.HighBit != file.BitsStored - 1:
        why = f"{file.BitsAllocated} bits allocated, high bit {file.HighBit}"
        raise _refused(why, "convert it to 8 or 16 bits allocated, stored from bit 0")
    return file


def _refused(why: str, fix: str) -> DataError:
    return DataError("This kind of DICOM file is not supported.", why=why, fix=f"{fix}, or --on-error skip")


def _stored(file: FileDataset) -> npt.NDArray[np.int32]:
    """Return the stored values ``[H, W, C]``, sign extended."""
    from pydicom.pixels.utils import pixel_array

    stored = np.asarray(pixel_array(file, raw=True), np.int32)
    return stored[..., None] if stored.ndim == 2 else stored


def _scale(file: Dataset, stored: Pixels) -> tuple[_Scale, tuple[str, ...]]:
    """Return how stored values are shown, and a note when that is not what the window says."""
    bits, signed, grey = int(file.BitsStored), int(file.PixelRepresentation), file.SamplesPerPixel == 1
    low = -(1 << bits - 1) if signed else 0
    high = low + (1 << bits) - 1
    slope = float(file.get("RescaleSlope") or 1) if grey else 1.0
    window = _window(file, slope) if grey else None
    black, white = (max(low, window[0]), min(high, window[1])) if window else (high, low)
    notes: tuple[str, ...] = ()
    own = black >= white and grey and bits > 8 and "ModalityLUTSequence" not in file
    if black >= white:
        notes = ("DICOM: the window lies outside the pixel values and is ignored",) if window else ()
        black, white = low, high
    if own:
        black, white = _filled(stored[~_padding(file, stored)], (low, high))
        notes += ("DICOM: shown from the smallest to the largest value, which become the copy's window",)
    if (slope < 0) != (file.PhotometricInterpretation == "MONOCHROME1"):
        black, white = white, black
    return _Scale(low, high, black, white, 255 if bits <= 8 else 65535, own), notes


def _filled(stored: Pixels, ends: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest and the largest value, or `ends` where they do not differ."""
    if not stored.size or stored.min() == stored.max():
        return ends
    return int(stored.min()), int(stored.max())


def _set_window(file: Dataset, scale: _Scale) -> None:
    """Name the ends of a picture's own range as its window, so that a reader and an undo find them."""
    from pydicom.valuerep import DSfloat

    for tag in ("VOILUTFunction", "WindowCenterWidthExplanation"):
        if tag in file:
            delattr(file, tag)
    slope, intercept = float(file.get("RescaleSlope") or 1), float(file.get("RescaleIntercept") or 0)
    low, high = sorted(slope * end + intercept for end in (scale.black, scale.white))
    for inset in (0.0, abs(slope) / 2):  # decimals are cut off: an end must not move to the next value
        # As text: the number beside it keeps decimals that are not written.
        file.WindowCenter = str(DSfloat(low / 2 + high / 2 + 0.5, auto_format=True))
        file.WindowWidth = str(DSfloat(high - low + 1 - inset, auto_format=True))
        if _window(file, slope) == tuple(sorted((scale.black, scale.white))):
            return


def _window(file: Dataset, slope: float) -> tuple[int, int] | None:
    """Return the stored values at the ends of the first window, or None when there is no usable window."""
    centre, width = _first(file.get("WindowCenter")), _first(file.get("WindowWidth"))
    if centre is None or not width or "ModalityLUTSequence" in file:
        return None
    if (
        file.get("VOILUTFunction", "LINEAR") == "LINEAR"
    ):  # PS3.3 C.11.2.1.2.1; SIGMOID: where its tangent ends
        centre, width = centre - 0.5, width - 1
    intercept = float(file.get("RescaleIntercept") or 0)
    low, high = sorted((centre + side * width / 2 - intercept) / slope for side in (-1, 1))
    return math.floor(low), math.ceil(high)


def _first(value: Any) -> float | None:
    values = list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    return float(values[0]) if values and values[0] not in (None, "") else None


def _unpadded(file: Dataset, pixels: Pixels, before: Pixels, scale: _Scale) -> Pixels:
    """Keep padding as it is, and everything else out of its values."""
    ends = _padded(file)
    if ends is None:
        return pixels
    beside = ends[1] + 1 if ends[1] < scale.high else ends[0] - 1
    pixels = np.where(_padding(file, pixels), beside, pixels)
    return np.where(_padding(file, before), before, pixels)


def _padded(file: Dataset) -> tuple[int, int] | None:
    """Return the smallest and largest stored value that mean padding."""
    if file.SamplesPerPixel == 3 or _first(file.get("PixelPaddingValue")) is None:
        return None
    low, high = sorted((file.PixelPaddingValue, file.get("PixelPaddingRangeLimit", file.PixelPaddingValue)))
    return low, high


def _padding(file: Dataset, stored: Pixels) -> npt.NDArray[np.bool_]:
    low, high = _padded(file) or (1, 0)
    return np.asarray((stored >= low) & (stored <= high))


def _derive(file: Dataset, source: tuple[str, str], identity: str) -> None:
    """Say in the tags that this is a derived copy, and of what."""
    from pydicom.dataset import Dataset

    purpose, link = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    link.ReferencedSOPClassUID, link.ReferencedSOPInstanceUID = source
    link.PurposeOfReferenceCodeSequence = [purpose]
    file.SourceImageSequence = [*(file.get("SourceImageSequence") or ()), link]
    file.ImageType = ["DERIVED", *(list(file.get("ImageType") or ())[1:] or ["SECONDARY"])]
    told = str(file.get("DerivationDescription") or "").removesuffix(_ORIGIN).strip()
    file.DerivationDescription = f"{told[: 1023 - len(_ORIGIN)]} {_ORIGIN}".strip()
    file.SOPInstanceUID = identity


def _set_extremes(file: Dataset, pixels: Pixels) -> None:
    for tag, value in ((0x00280106, pixels.min()), (0x00280107, pixels.max())):
        if tag in file:
            file.add_new(tag, "SS" if file.PixelRepresentation else "US", int(value))


def _written(file: FileDataset) -> bytes:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = file.SOPClassUID, file.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = UID(_EXPLICIT), UID(_IMPLEMENTATION)
    meta.ImplementationVersionName = "NOLI"
    file.file_meta, file.preamble = meta, bytes(128)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
