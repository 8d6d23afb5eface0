"""EXIF, ICC, XMP, text, resolution and orientation: kept, stripped, and never with a hidden thumbnail."""

import base64
import io
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from making import exif_block, file_bytes, noise, pil, png_chunk, raw_png, smooth
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from noli.core.errors import DataError
from noli.data import exif
from noli.data.codec import Picture, decode, encode, from_array, inspect
from noli.data.embedded import without_pictures

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF/></x:xmpmeta>"
KEEPERS = ["PNG", "JPEG", "WEBP", "TIFF"]


def rich(gps: bool = True) -> Picture:
    plain = from_array(smooth(12, 9), where="x")
    return replace(
        plain, format="PNG", exif=exif_block(6, gps=gps), icc=SRGB, xmp=XMP, dpi=(300.0, 300.0),
        chunks=((b"tEXt", b"Title\0A gradient"), (b"iTXt", b"Author" + bytes(5) + "Zoë ✓".encode())),
    )  # fmt: skip


@pytest.mark.parametrize("bits", [8, 16])
def test_film_scans_that_store_white_as_zero_do_not_become_negatives(bits: int) -> None:
    stored = noise(6, 5, 1, bits)[..., 0]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    made = io.BytesIO()
    Image.fromarray(stored).save(made, "TIFF", tiffinfo=tags)
    data = made.getvalue()
    with Image.open(io.BytesIO(data)) as image:
        assert image.tag_v2[262] == 0
        # Pillow writes and reads 8 bits turned round; 16 bits stay as they are.
        meant = np.asarray(image) if bits == 8 else 65535 - stored
    found = decode(data, where="x")
    assert np.array_equal(found.pixels[..., 0], meant)
    again = decode(encode(found, format="TIFF", metadata="keep"), where="y")
    assert np.array_equal(again.pixels, found.pixels)


@pytest.mark.parametrize("name", KEEPERS)
def test_keep_keeps_everything(name: str) -> None:
    after = decode(encode(rich(), format=name), where="x")
    assert after.icc == SRGB
    assert after.xmp == XMP
    assert after.has_gps
    assert exif.orientation(after.exif) == 6
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + (after.exif or b""))
    assert tags[0x010F].rstrip("\0") == "Maker"
    assert tags.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
    assert tags.get_ifd(0x8825)[2] == (52.0, 30.0, 0.0)
    if name != "WEBP":
        assert after.dpi == pytest.approx((300.0, 300.0), abs=0.02)
    if name == "PNG":
        assert after.chunks == rich().chunks


@pytest.mark.parametrize("name", KEEPERS)
def test_pillow_reads_our_metadata(name: str) -> None:
    image = Image.open(io.BytesIO(encode(rich(), format=name)))
    assert image.info["icc_profile"] == SRGB
    assert image.getexif()[0x0112] == 6
    assert image.getexif().get_ifd(0x8825)[1] == "N"
    image.load()


@pytest.mark.parametrize("name", KEEPERS)
def test_strip_drops_everything_personal_and_keeps_the_profile(name: str) -> None:
    data = encode(rich(), format=name, metadata="strip")
    after = decode(data, where="x")
    assert (after.exif, after.xmp, after.chunks, after.has_gps) == (None, None, (), False)
    assert after.icc == SRGB
    for secret in (b"Maker", b"gradient", b"2024:01:02"):
        assert secret not in data


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF"])
def test_orientation_is_kept_or_baked_in(turn: int, name: str) -> None:
    array = smooth(8, 16)
    tags = Image.Exif()
    tags[0x0112] = turn
    data = file_bytes(array, name, exif=tags)
    stored = decode(data, where="x")
    assert stored.pixels.shape == (8, 16, 3)  # stored orientation, whatever the tag says
    assert exif.orientation(stored.exif) == turn
    assert inspect(data, where="x").shape == (8, 16, 3)
    if name != "JPEG":
        assert np.array_equal(stored.pixels, array)
    stripped = decode(encode(stored, format="PNG", metadata="strip"), where="y")
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(stripped.pixels, np.asarray(shown))
    kept = ImageOps.exif_transpose(Image.open(io.BytesIO(encode(stored, format="PNG"))))
    assert np.array_equal(np.asarray(kept), np.asarray(shown))


@pytest.mark.parametrize("turn", range(1, 9))
def test_16_bit_tiff_comes_in_stored_orientation(turn: int) -> None:
    before = from_array(noise(4, 6, 4, 16), where="x")
    after = decode(encode(replace(before, exif=exif_block(turn)), format="TIFF"), where="y")
    assert exif.orientation(after.exif) == turn
    assert np.array_equal(after.stacked(), before.stacked())


def test_orientation_turns_alpha_too() -> None:
    array = np.dstack((smooth(4, 6), smooth(4, 6, 1)))
    before = replace(from_array(array, where="x"), exif=exif_block(8))
    after = decode(encode(before, format="PNG", metadata="strip"), where="y")
    assert np.array_equal(after.stacked(), exif.upright(array, 8))


@pytest.mark.parametrize("order", ["II", "MM"])
def test_gps_is_found_in_both_byte_orders(order: str) -> None:
    with_gps, without = exif_block(1, gps=True), exif_block(1)
    with_gps, without = _ordered(with_gps, order), _ordered(without, order)
    assert with_gps[:2] == order.encode()
    assert exif.has_gps(with_gps)
    assert not exif.has_gps(without)
    assert exif.orientation(with_gps) == 1


def _ordered(block: bytes, order: str) -> bytes:
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + block)
    for group in (0x8769, 0x8825):
        tags.get_ifd(group)
    tags.endian = "<" if order == "II" else ">"
    return tags.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("order", ["II", "MM"])
def test_tiff_output_follows_the_byte_order_of_its_tags(order: str) -> None:
    before = replace(rich(), exif=_ordered(exif_block(3), order))
    wide = replace(before, pixels=before.pixels.astype(np.uint16) * 257)
    for one in (before, wide):
        data = encode(one, format="TIFF")
        assert data[:2] == order.encode()
        assert np.array_equal(decode(data, where="x").pixels, one.pixels)


def test_gps_in_xmp_counts() -> None:
    assert exif.has_gps(None, b"<rdf exif:GPSLatitude='52,30N'/>")
    assert not exif.has_gps(None, XMP)
    assert not exif.has_gps(b"garbage")


def test_thumbnails_never_travel() -> None:
    thumbnail = file_bytes(smooth(8, 8), "JPEG")
    block = exif_block(6, thumbnail=thumbnail)
    data = file_bytes(smooth(16, 16), "JPEG", exif=b"Exif\0\0" + block)
    assert thumbnail in data
    got = decode(data, where="x")
    assert any("thumbnail" in note for note in got.notes)
    for name in KEEPERS:
        written = encode(got, format=name)
        assert thumbnail not in written
        assert thumbnail[20:60] not in written
        assert exif.orientation(decode(written, where="y").exif) == 6
    assert without_pictures(XMP) == XMP


def test_previews_in_maker_notes_are_wiped() -> None:
    preview = file_bytes(smooth(8, 8), "JPEG")
    tags = Image.Exif()
    tags[0x8769] = {0x927C: b"NOTE" + preview + b"END!"}
    block = tags.tobytes().removeprefix(b"Exif\0\0")
    cleaned = exif.without_thumbnails(block)
    assert preview not in cleaned
    assert b"NOTE" in cleaned
    assert b"END!" in cleaned
    assert len(cleaned) == len(block)


def test_a_preview_inside_a_preview_goes_with_it() -> None:
    inner = file_bytes(smooth(8, 8), "JPEG")
    outer = file_bytes(smooth(32, 32), "JPEG", exif=b"Exif\0\0" + exif_block(6, thumbnail=inner))
    tags = Image.Exif()
    tags[0x8769] = {0x927C: b"NOTE" + outer + b"MIDDLE" + inner + b"END!"}
    block = tags.tobytes().removeprefix(b"Exif\0\0")
    at = block.index(outer)
    cleaned = exif.without_thumbnails(block)
    assert not any(cleaned[at : at + len(outer)])
    assert cleaned[at + len(outer) :].startswith(b"MIDDLE" + bytes(len(inner)) + b"END!")
    # Cut off anywhere, nothing of it stays.
    for end in range(at + 3, at + len(outer), 97):
        assert not any(exif.without_thumbnails(block[:end])[at:])


@pytest.mark.parametrize(
    "packet",
    [
        b"<r xmlns:x='http://ns.adobe.com/xap/1.0/g/img/'><x:image>%s</x:image></r>",
        b"<r xmpGImg:image='%s'/>",
        b'<r GImage:Data="%s"/>',
    ],
)
@pytest.mark.parametrize("wrap", [b"", b"\n", b"&#xA;", b"\r\n  "])
def test_previews_in_xmp_are_cut_whatever_they_are_called(packet: bytes, wrap: bytes) -> None:
    coded = base64.b64encode(file_bytes(noise(12, 12, 3), "JPEG"))
    lines = [coded[i : i + 76] for i in range(0, len(coded), 76)] if wrap else [coded]
    got = decode(file_bytes(smooth(8, 8), "WEBP", xmp=packet % wrap.join(lines)), where="x")
    assert coded[:60] not in got.xmp
    assert got.xmp.startswith(packet[:12])
    assert got.xmp.endswith(packet[-2:])
    assert any("thumbnail" in note for note in got.notes)


def imagemagick(kind: bytes, body: bytes) -> bytes:
    text = b"\n%s\n%8d\n%s\n" % (kind, len(body), body.hex().encode())
    return png_chunk(b"zTXt", b"Raw profile type " + kind + b"\0\0" + zlib.compress(text))


def test_profiles_in_png_text_are_read_or_dropped() -> None:
    thumbnail = file_bytes(noise(16, 16, 3), "JPEG")
    packet = b"<x exif:GPSLatitude='48,1N' xmpGImg:image='" + base64.b64encode(thumbnail) + b"'/>"
    chunks = [imagemagick(b"8bim", b"8BIM\x04\x0c" + thumbnail), imagemagick(b"xmp", packet)]
    chunks.append(png_chunk(b"tEXt", b"Comment\0data:image/png;base64,AAAA"))
    chunks.append(png_chunk(b"tEXt", b"Title\0harmless"))
    got = decode(raw_png(smooth(4, 4), 2, 8, *chunks), where="x")
    assert got.chunks == ((b"tEXt", b"Title\0harmless"),)
    assert got.xmp == b"<x exif:GPSLatitude='48,1N' xmpGImg:image=''/>"
    assert got.has_gps
    assert "text that can hold a picture was dropped" in got.notes


def test_a_dropped_text_is_told_whatever_else_the_png_holds() -> None:
    picture = png_chunk(b"tEXt", b"Comment\0data:image/png;base64,AAAA")
    said = "text that can hold a picture was dropped"
    block = exif_block(6)
    for own in (png_chunk(b"eXIf", block), imagemagick(b"exif", b"Exif\0\0" + block)):
        whole = decode(raw_png(smooth(4, 4), 2, 8, own, png_chunk(b"tEXt", b"Title\0harmless")), where="x")
        assert (whole.exif, said in whole.notes) == (block, False)
        got = decode(raw_png(smooth(4, 4), 2, 8, own, picture), where="x")
        assert (got.exif, said in got.notes) == (block, True)


def deep_tiff(samples: int, extra: int | None, planar: int = 1) -> tuple[bytes, np.ndarray]:
    stored = np.random.default_rng(0).integers(1, 65536, (6, 5, samples)).astype(np.uint16)
    options = {"photometric": "rgb", "planarconfig": planar}
    made = io.BytesIO()
    pixels = stored if planar == 1 else stored.transpose(2, 0, 1)
    tifffile.imwrite(made, pixels, extrasamples=None if extra is None else [extra], **options)
    return made.getvalue(), stored


def test_16_bit_colour_planes_apart_are_refused() -> None:
    data, _ = deep_tiff(3, None, planar=2)
    with pytest.raises(DataError, match="separate colour planes"):
        decode(data, where="x")


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_a_fourth_16_bit_channel_is_alpha_only_if_it_says_so(extra: int) -> None:
    data, stored = deep_tiff(4, extra)
    got = decode(data, where="x")
    if extra == 0:
        assert got.alpha is None
        assert any("extra channel" in note for note in got.notes)
    else:
        assert np.array_equal(got.alpha, stored[..., 3])
    divided = np.minimum(np.rint(stored[..., :3] * (65535 / stored[..., 3:])), 65535)
    assert np.array_equal(got.pixels, divided if extra == 1 else stored[..., :3])


def test_png_colour_chunks_pass_through() -> None:
    gamma = (45455).to_bytes(4, "big")
    data = raw_png(smooth(4, 4), 2, 8, png_chunk(b"gAMA", gamma), png_chunk(b"sRGB", b"\0"))
    got = decode(data, where="x")
    assert got.chunks == ((b"gAMA", gamma), (b"sRGB", b"\0"))
    assert decode(encode(got, format="PNG"), where="y").chunks == got.chunks
    assert decode(encode(got, format="PNG", metadata="strip"), where="y").chunks == got.chunks
    # iCCP and sRGB may not stand together.
    assert decode(encode(replace(got, icc=SRGB), format="PNG"), where="y").chunks == ((b"gAMA", gamma),)


def test_png_text_of_all_three_kinds() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Plain", "latin é")
    info.add_text("Packed", "z" * 500, zip=True)
    info.add_itxt("World", "日本", lang="ja", tkey="Welt", zip=True)
    got = decode(file_bytes(smooth(4, 4), "PNG", pnginfo=info), where="x")
    kept = Image.open(io.BytesIO(encode(got, format="PNG")))
    assert kept.text == {"Plain": "latin é", "Packed": "z" * 500, "World": "日本"}
    assert Image.open(io.BytesIO(encode(got, format="PNG", metadata="strip"))).text == {}


def test_a_text_bomb_is_never_inflated() -> None:
    bomb = zlib.compress(bytes(64 << 20))
    hidden = (b"Comment", b"Raw profile type exif")
    chunks = [png_chunk(b"zTXt", name + b"\0\0" + bomb) for name in hidden]
    chunks.append(png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb))
    chunks.append(png_chunk(b"iCCP", b"name\0\0" + bomb))
    got = decode(raw_png(smooth(4, 4), 2, 8, *chunks), where="x")
    assert got.chunks == ()  # nobody looked into it
    assert "text that can hold a picture was dropped" in got.notes
    assert (got.exif, got.xmp, got.icc) == (None, None, None)


def test_exif_hidden_in_png_text_is_found() -> None:
    block = exif_block(3, gps=True)
    text = f"\nexif\n{len(block) + 6:8d}\n{(b'Exif' + bytes(2) + block).hex()}\n".encode()
    got = decode(
        raw_png(smooth(4, 4), 2, 8, png_chunk(b"tEXt", b"Raw profile type exif\0" + text)), where="x"
    )
    assert exif.orientation(got.exif) == 3
    assert got.has_gps


def test_large_profile_in_jpeg_segments() -> None:
    profile = bytes(range(256)) * 600  # three segments
    got = decode(file_bytes(pil(smooth(8, 8)), "JPEG", icc_profile=profile), where="x")
    assert got.icc == profile
