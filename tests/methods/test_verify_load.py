import cv2
import numpy as np
import pytest
from coloured_shapes import NAMES, frame, shapes
from hypothesis import given, settings
from hypothesis import strategies as st

from noli.core.dataset import Ref
from noli.core.errors import DataError
from noli.data.exif import upright
from noli.methods.verify import load as loading
from noli.methods.verify.config import Config
from noli.methods.verify.learnability import judge
from noli.methods.verify.load import load
from noli.methods.verify.pairing import hold_out, match, sample, stem
from noli.ops.filters import filter_batch

CFG = Config(device="cpu")


def write(root, images, labels, split=None, suffix=".png", start=0):
    for i, (image, label) in enumerate(zip(images, labels, strict=True), start):
        folder = root / (split or "") / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = image if image.shape[2] == 1 else np.ascontiguousarray(image[..., ::-1])
        assert cv2.imwrite(str(folder / f"{i:03d}{suffix}"), pixels)


@pytest.fixture
def split_folders(tmp_path):
    x, y = shapes(60)
    write(tmp_path / "clean", x[:40], y[:40], "train")
    write(tmp_path / "clean", x[40:], y[40:], "test", start=40)
    write(tmp_path / "safe", frame(x[:40], y[:40]), y[:40], "train")
    write(tmp_path / "safe", frame(x[40:], y[40:]), y[40:], "test", start=40)
    return tmp_path, x, y


def in_order(images):
    return sorted(image.tobytes() for image in images)


def test_split_folders_are_read_as_stored(split_folders):
    root, x, y = split_folders
    calls = []
    data = load(root / "safe", root / "clean", CFG, progress=lambda *call: calls.append(call))
    assert data.classes == NAMES
    assert in_order(data.clean_x) == in_order(x[:40])
    assert in_order(data.test_x) == in_order(x[40:])
    assert np.array_equal(data.protected_x, frame(data.clean_x, data.clean_y))
    assert np.array_equal(data.clean_y, data.protected_y)
    assert np.bincount(data.test_y).tolist() == np.bincount(y[40:]).tolist()
    assert data.restored is None
    assert set(data.counts.values()) == {0.0}
    assert "split 'test'" in data.notes[0]
    assert calls[-1] == (100, 100, "images")


def test_without_a_split_a_share_of_every_class_is_held_out_of_both(tmp_path):
    x, y = shapes(80)
    write(tmp_path / "clean", x, y)
    write(tmp_path / "safe", frame(x, y), y)
    data = load(tmp_path / "safe", tmp_path / "clean", CFG)
    assert np.bincount(data.test_y).tolist() == [4] * 4
    assert np.bincount(data.clean_y).tolist() == [16] * 4
    held = {image.tobytes() for image in data.test_x}
    assert not held & {image.tobytes() for image in data.clean_x}
    assert np.array_equal(data.protected_x, frame(data.clean_x, data.clean_y))
    again = load(tmp_path / "safe", tmp_path / "clean", CFG)
    assert again.hashes() == data.hashes()
    assert "20 %" in data.notes[0]


def test_arrays_load_like_files(tmp_path):
    x, y = shapes(60)
    for name, images in (("clean", x), ("safe", frame(x, y))):
        np.savez(tmp_path / f"{name}.npz", x_train=images[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    data = load(tmp_path / "safe.npz", tmp_path / "clean.npz", CFG)
    assert np.array_equal(data.clean_x, x[:40])
    assert np.array_equal(data.protected_x, frame(x[:40], y[:40]))
    assert np.array_equal(data.test_y, y[40:])


def test_other_formats_match_and_their_loss_is_part_of_the_data(tmp_path):
    x, y = shapes(40)
    write(tmp_path / "clean", x, y)
    write(tmp_path / "safe", x, y, suffix=".jpg")
    data = load(tmp_path / "safe", tmp_path / "clean", CFG)
    assert len(data.clean_y) == 32
    assert not np.array_equal(data.protected_x, data.clean_x)
    assert np.abs(data.protected_x.astype(int) - data.clean_x).mean() < 20


def test_unmatched_items_are_left_out_and_counted(split_folders):
    root, x, y = split_folders
    write(root / "safe", x[:3], y[:3], "train", start=900)
    removed = sorted((root / "safe/train/bar").glob("*.png"))[:2]
    for file in removed:
        file.unlink()
    data = load(root / "safe", root / "clean", CFG)
    assert len(data.clean_x) == len(data.protected_x) == 38
    assert data.counts["unmatched_clean"] == 2
    assert data.counts["unmatched_protected"] == 3
    assert any("2 clean and 3 protected" in note for note in data.notes)
    assert np.array_equal(data.protected_x, frame(data.clean_x, data.clean_y))


def test_limits_sample_by_name(split_folders):
    root, *_ = split_folders
    data = load(root / "safe", root / "clean", CFG.model_copy(update={"max_items": 10, "max_test": 7}))
    assert (len(data.clean_x), len(data.test_x)) == (10, 7)
    assert data.counts["left_out_by_sampling"] == 30
    assert np.array_equal(data.protected_x, frame(data.clean_x, data.clean_y))


def test_size_is_the_native_one_within_bounds_and_shapes_are_unified(tmp_path):
    generator = np.random.default_rng(0)
    sides = [(40, 50), (44, 40), (90, 64)] * 8
    images = [
        generator.integers(0, 256, (h, w, 1 if i % 5 == 0 else 3), np.uint8) for i, (h, w) in enumerate(sides)
    ]
    labels = np.arange(24) % 2
    write(tmp_path / "clean", images, labels)
    write(tmp_path / "safe", images, labels)
    data = load(tmp_path / "safe", tmp_path / "clean", CFG)
    assert data.clean_x.shape[1:] == (40, 40, 3)
    assert any("reduced to 40 x 40" in note for note in data.notes)
    small = load(tmp_path / "safe", tmp_path / "clean", CFG.model_copy(update={"size": 24}))
    assert small.test_x.shape[1:] == (24, 24, 3)


def test_grey_sets_stay_grey_and_tiny_ones_grow(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 9, 7, 1), np.uint8)
    write(tmp_path / "clean", images, np.arange(20) % 2)
    write(tmp_path / "safe", images, np.arange(20) % 2)
    data = load(tmp_path / "safe", tmp_path / "clean", CFG)
    assert data.clean_x.shape[1:] == (16, 16, 1)
    assert np.array_equal(data.clean_x, data.protected_x)


def test_sixteen_bits_become_eight(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    y = np.arange(20) % 2
    np.savez(tmp_path / "clean.npz", images=x.astype(np.uint16) * 257, labels=y)
    np.savez(tmp_path / "safe.npz", images=x, labels=y)
    data = load(tmp_path / "safe.npz", tmp_path / "clean.npz", CFG)
    assert np.array_equal(data.clean_x, data.protected_x)


@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_is_applied(value, tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    tag = Image.Exif()
    tag[0x0112] = value
    file = tmp_path / "a.png"
    Image.fromarray(pixels).save(file, exif=tag)
    assert np.array_equal(loading.decoded_upright(file.read_bytes(), "a.png"), upright(pixels, value))


def test_larger_images_are_attacked_at_native_size(tmp_path):
    small, y = shapes(20, side=18)
    x = np.stack([cv2.resize(image, (72, 72), interpolation=cv2.INTER_CUBIC) for image in small])
    generator = np.random.default_rng(0)
    taps = generator.uniform(0, 0.3, (4, 3, 3)).astype(np.float32)
    taps[:, 1, 1] = 1
    taps /= taps.sum((1, 2), keepdims=True)
    working = np.ascontiguousarray((x / np.float32(255)).astype(np.float32).transpose(0, 3, 1, 2))
    filtered = filter_batch(working, taps[y], "reflect").transpose(0, 2, 3, 1)
    write(tmp_path / "clean", x, y)
    write(tmp_path / "safe", np.clip(filtered * 255 + 0.5, 0, 255).astype(np.uint8), y)
    data = load(tmp_path / "safe", tmp_path / "clean", CFG.model_copy(update={"size": 36}))
    assert data.restored is not None
    restored = data.restored(data.protected_y, 1)
    assert restored.shape == data.protected_x.shape == (16, 36, 36, 3)
    before = np.mean((data.protected_x.astype(float) - data.clean_x) ** 2)
    after = np.mean((restored.astype(float) - data.clean_x) ** 2)
    assert after < 0.5 * before


def test_unreadable_items_are_listed_together(split_folders):
    root, *_ = split_folders
    broken = sorted((root / "safe/train/disc").glob("*.png"))[:2]
    broken[0].write_bytes(broken[0].read_bytes()[:60])
    broken[1].write_bytes(b"")
    with pytest.raises(DataError) as caught:
        load(root / "safe", root / "clean", CFG)
    assert sorted(caught.value.items) == sorted(f"train/disc/{f.name}" for f in broken)


def test_the_side_of_unreadable_items_is_said(split_folders):
    root, *_ = split_folders
    names = [file.relative_to(root / "safe") for file in sorted((root / "safe/train/disc").glob("*.png"))[:2]]
    for broken in (root / "safe" / names[0], root / "safe" / names[1], root / "clean" / names[1]):
        broken.write_bytes(b"")
    with pytest.raises(DataError, match="1 clean and 2 protected items") as caught:
        load(root / "safe", root / "clean", CFG)
    assert caught.value.where == f"{names[1]} (clean)"
    assert sorted(caught.value.items) == [str(name) for name in names]


def test_items_that_a_source_cannot_read_are_listed_too(split_folders, monkeypatch):
    root, *_ = split_folders
    opened = loading.open_source(root / "safe")
    original = opened.read

    def read(ref):
        if ref.path.endswith("012.png"):
            raise DataError("gone")
        return original(ref)

    monkeypatch.setattr(type(opened), "read", lambda self, ref: read(ref))
    with pytest.raises(DataError, match="gone") as caught:
        load(opened, opened, CFG)
    assert [name.rsplit("/")[-1] for name in caught.value.items] == ["012.png"]


def test_protected_labels_are_kept_and_differences_counted(tmp_path):
    x, y = shapes(40)
    np.savez(tmp_path / "clean.npz", images=x, labels=y)
    np.savez(tmp_path / "safe.npz", images=x, labels=np.where(np.arange(40) < 8, (y + 1) % 4, y))
    data = load(tmp_path / "safe.npz", tmp_path / "clean.npz", CFG)
    changed = int(np.sum(data.clean_y != data.protected_y))
    assert 0 < changed == data.counts["changed_labels"] <= 8
    assert any("another label" in note for note in data.notes)


def test_class_names_of_its_own_count_as_other_labels(tmp_path):
    x, y = shapes(80)
    write(tmp_path / "clean", x, y)
    write(tmp_path / "safe", x, y)
    (tmp_path / "list.csv").write_text(
        "path,label\n"
        + "".join(
            f"safe/{NAMES[c]}/{i:03d}.png,{'hoop' if NAMES[c] == 'ring' else NAMES[c]}\n"
            for i, c in enumerate(y)
        )
    )
    made = {f"safe/{NAMES[c]}/{i:03d}.png": f"{NAMES[c]}/{i:03d}.png" for i, c in enumerate(y)}
    data = load(tmp_path / "list.csv", tmp_path / "clean", CFG, made=made)
    assert np.array_equal(data.clean_y, data.protected_y), "a trainer is judged with the true labels"
    assert data.counts["changed_labels"] == 16
    assert data.relabelled == 0.25
    evidence = judge(data, None, CFG.model_copy(update={"min_test": 8}))
    assert (evidence.verdict, evidence.value) == ("inconclusive", None)
    assert "25.0 % of the protected items carry another label" in evidence.reason


def test_items_without_a_label_are_not_relabelled(tmp_path):
    x, y = shapes(40)
    np.savez(tmp_path / "clean.npz", images=x, labels=y)
    np.savez(tmp_path / "safe.npz", images=x)
    assert load(tmp_path / "safe.npz", tmp_path / "clean.npz", CFG).relabelled == 0


def test_missing_labels_and_foreign_sets_are_refused(tmp_path):
    x, y = shapes(8)
    write(tmp_path / "clean", x, y)
    write(tmp_path / "other", x, y, start=500)
    with pytest.raises(DataError, match="in common"):
        load(tmp_path / "other", tmp_path / "clean", CFG)
    flat = tmp_path / "flat"
    flat.mkdir()
    cv2.imwrite(str(flat / "a.png"), x[0])
    with pytest.raises(DataError, match="no label"):
        load(flat, flat, CFG)


def ref(path, label="a", split=None):
    return Ref(path, label, split)


@pytest.mark.parametrize(
    ("clean", "protected", "expected"),
    [
        (["a.png"], ["a.png"], {"a.png": "a.png"}),
        (["a.jpg"], ["a.png"], {"a.jpg": "a.png"}),
        (["a.jpg", "a.png"], ["a.jpg.png", "a.png"], {"a.jpg": "a.jpg.png", "a.png": "a.png"}),
        (["a.jpg", "a.bmp"], ["a.png"], {}),
        (["a.jpg", "a.tiff"], ["a.png", "a.tiff"], {"a.jpg": "a.png", "a.tiff": "a.tiff"}),
        (["t.parquet#1", "t.parquet#2"], ["t.parquet#2"], {"t.parquet#2": "t.parquet#2"}),
        (["x/a.v2"], ["x/a.v3"], {}),
        (["c.parquet#1", "c.parquet#2"], ["s.parquet#2"], {"c.parquet#2": "s.parquet#2"}),
        (["c.parquet#1", "d.parquet#1"], ["s.parquet#1"], {}),
        (["x#0", "x#1"], ["images#0", "images#1"], {"x#0": "images#0", "x#1": "images#1"}),
    ],
)
def test_matching_by_name(clean, protected, expected):
    found = match([ref(p) for p in clean], [ref(p) for p in protected])
    assert {c.path: p.path for c, p in found.pairs} == expected
    assert {r.path for r in found.clean_only} == set(clean) - set(expected)
    assert {r.path for r in found.protected_only} == set(protected) - set(expected.values())


def test_what_a_run_recorded_goes_before_the_name():
    found = match([ref("a.png"), ref("b.png")], [ref("x.png"), ref("y.png")], {"x.png": "b.png"})
    assert [(c.path, p.path) for c, p in found.pairs] == [("b.png", "x.png")]


def test_matching_respects_the_split():
    found = match([ref("a.png", split="train")], [ref("a.png", split="test")])
    assert found.pairs == []
    assert stem("train/cat/1.JPEG") == "train/cat/1"


@given(count=st.integers(1, 60), share=st.floats(0.05, 0.9), limit=st.integers(1, 70))
@settings(max_examples=40, deadline=None)
def test_holding_out_and_sampling_ignore_the_order(count, share, limit):
    pairs = [(r, r) for r in (ref(f"{i}.png", label="abc"[i % 3]) for i in range(count))]
    kept, held = hold_out(pairs, share)
    assert sorted(p[0].path for p in kept + held) == sorted(p[0].path for p in pairs)
    assert {p[0].label for p in kept} == {p[0].label for p in pairs}
    other_kept, _ = hold_out(pairs[::-1], share)
    assert set(kept) == set(other_kept)
    chosen = sample(pairs, limit)
    assert len(chosen) == min(limit, count)
    assert set(chosen) == set(sample(pairs[::-1], limit))
    assert [p for p in pairs if p in chosen] == chosen
