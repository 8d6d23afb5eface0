"""Keyed models: the transform against an oracle, exact algebra, picking pairs, and files that hide keys."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noli import zoo
from noli.core.errors import DataError, OutputExists, UsageError, WrongKey
from noli.core.key import Key
from noli.core.model import DESCRIBED, Model
from noli.ops.schemes import shf
from noli.ops.scramble import scramble
from noli.zoo.keyed import KeyedModel, Pair, isotropic_parts, patch_order, permuted
from noli.zoo.keyed_folder import load_keyed
from noli.zoo.keyed_folding import carried, converted, folded, rotated, stolen

OTHER = Key.from_bytes(bytes(32), "other")
UNLIKE = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}
ARCHS = {"convmixer": {"width": 16, "depth": 2, "kernel": 3}, "vit": {"width": 16, "depth": 2, "side": 12}}


def plain(arch: str = "convmixer", channels: int = 3, unlike: bool = False, seed: int = 0) -> Model:
    made = zoo.network(arch, ("cat", "dog", "owl"), channels, size=12, seed=seed, **ARCHS[arch])
    described = {name: getattr(made, name) for name in DESCRIBED} | (UNLIKE if unlike else {})
    return Model(made.net, **described).eval()


def images(n: int = 5, side: int = 12, channels: int = 3) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(1))


def pair(model: Model, key: Key, seed: int, number: int = 0) -> Pair:
    """A pair with weights of its own."""
    embed, _, head = isotropic_parts(plain(model.arch, len(model.mean), seed=seed))
    return Pair(embed, head, key, number)


def three(key: Key, **how: object) -> KeyedModel:
    model = plain()
    return KeyedModel(model, [pair(model, key, i + 1, i) for i in range(3)], **how)


def patch_by_patch(x: np.ndarray, order: np.ndarray, m: int) -> np.ndarray:
    """The oracle: one value at a time, counted row by row, column by column, channels last."""
    n, c, h, w = x.shape
    out = np.empty_like(x)
    for one, top, left in itertools.product(range(n), range(0, h, m), range(0, w, m)):
        patch = [
            x[one, channel, top + row, left + column]
            for row in range(m)
            for column in range(m)
            for channel in range(c)
        ]
        for k, value in enumerate(patch[i] for i in order):
            row, rest = divmod(k, m * c)
            out[one, rest % c, top + row, left + rest // c] = value
    return out


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3]), st.integers(0, 99))
def test_the_transform_is_the_oracles_and_its_argsort_undoes_it(
    m: int, down: int, across: int, channels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.random((2, channels, m * down, m * across), np.float32)
    order = rng.permutation(channels * m * m)
    found = permuted(torch.from_numpy(x), torch.from_numpy(order), m)
    assert np.array_equal(found, patch_by_patch(x, order, m))
    assert np.array_equal(permuted(found, torch.from_numpy(order).argsort(), m), x)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_order_of_values_is_that_of_scrambled_pictures(key: Key, channels: int) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (2, 12, 20, channels), np.uint8)
    how = shf((12, 20, channels), 4, lambda purpose, item: key.stream("lock/embeddings/patch", f"{item}/0"))
    order = torch.from_numpy(patch_order(key, 4, channels))
    found = permuted(torch.from_numpy(stored).permute(0, 3, 1, 2), order, 4).permute(0, 2, 3, 1)
    assert np.array_equal(found, scramble(stored, how))


def test_orders_are_permutations_fixed_by_key_sizes_and_number(key: Key) -> None:
    # Made with Key.from_bytes(bytes(range(32))).stream("lock/embeddings/patch", "b=4/c=3/0").permutation(48).
    assert patch_order(key, 4, 3)[:8].tolist() == [18, 25, 3, 12, 36, 20, 14, 26]
    orders = [patch_order(key, 4, 3), patch_order(key, 4, 3, 1), patch_order(OTHER, 4, 3)]
    for order in orders:
        assert sorted(order) == list(range(48))
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("unlike", [False, True])
@pytest.mark.parametrize("arch", sorted(ARCHS))
def test_conversion_keeps_all_logits_and_folding_takes_the_transform_out(
    arch: str, unlike: bool, key: Key
) -> None:
    model, x = plain(arch, unlike=unlike), images()
    keyed = converted(model, key)
    with torch.no_grad():
        assert torch.allclose(keyed(x), model(x), atol=1e-5)
        assert torch.allclose(keyed.features(x), model.features(x), atol=1e-5)
        other = KeyedModel(model, [pair(model, key, 7)])
        assert torch.allclose(folded(other, 0)(x), other(x), atol=1e-5)
        assert not torch.allclose(other(x), model(x), atol=1e-2)


def test_a_grey_model_can_be_keyed(key: Key) -> None:
    model, x = plain("vit", 1), images(channels=1)
    with torch.no_grad():
        assert torch.allclose(converted(model, key)(x), model(x), atol=1e-5)


def test_an_embedding_is_carried_as_one_computes_by_hand() -> None:
    embed = isotropic_parts(plain())[0]
    order = torch.from_numpy(np.random.default_rng(3).permutation(48))
    mean, std = (torch.tensor(UNLIKE[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    x = images(side=4)
    with torch.no_grad():
        expected = embed((x - mean) / std)
        found = carried(embed, order, **UNLIKE)((permuted(x, order, 4) - mean) / std)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_folded_model_is_an_ordinary_one(key: Key, tmp_path: Path) -> None:
    model = folded(three(key), 1)
    model.save(tmp_path / "folded")
    stored = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8)
    assert np.array_equal(zoo.load(tmp_path / "folded").predict(stored), model.predict(stored))
    assert all(weight.requires_grad for weight in model.parameters())


def test_files_without_the_key_or_with_a_wrong_one_are_another_function(key: Key) -> None:
    model, x = plain(), images()
    keyed = converted(model, key)
    with torch.no_grad():
        wrong = KeyedModel(model, [Pair(keyed.pairs[0].embed, keyed.pairs[0].head, OTHER)])
        assert not torch.allclose(wrong(x), keyed(x), atol=1e-2)
        bare = copy.deepcopy(keyed)
        bare.pairs[0].order.copy_(torch.arange(48))
        assert torch.allclose(stolen(keyed, 0)(x), bare(x), atol=1e-5)
        assert not torch.allclose(bare(x), keyed(x), atol=1e-2)


@pytest.mark.parametrize("unlike", [False, True])
def test_rotation_is_conversion_with_the_new_key(key: Key, unlike: bool) -> None:
    model = plain(unlike=unlike)
    found, expected = rotated(converted(model, key), 0, key, OTHER), converted(model, OTHER)
    if not unlike:
        assert found.weight_hash() == expected.weight_hash()
    with torch.no_grad():
        assert torch.allclose(found(images()), expected(images()), atol=1e-5)
    assert found.pairs[0].opens(OTHER)
    assert not found.pairs[0].opens(key)
    with pytest.raises(WrongKey):
        rotated(found, 0, key, OTHER)


def test_rotating_one_pair_leaves_the_others(key: Key) -> None:
    before = three(key)
    after = rotated(before, 1, key, OTHER)
    x = images()
    with torch.no_grad():
        for number in range(3):
            assert torch.allclose(after(x, pair=number), before(x, pair=number), atol=1e-5)
    assert torch.equal(after.pairs[1].order, torch.from_numpy(patch_order(OTHER, 4, 3, 1)))
    assert [one.key_id for one in after.pairs] == [key.id, OTHER.id, key.id]


def answers(keyed: KeyedModel, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([keyed(x, pair=number) for number in range(3)])


@pytest.mark.parametrize("samples", [1, 2])
def test_every_image_asks_its_own_pairs(key: Key, samples: int) -> None:
    keyed = three(key, pick="average", samples=samples) if samples > 1 else three(key)
    x = images(1).expand(200, -1, -1, -1)
    each = answers(keyed, x[:1])[:, 0]
    possible = [each[list(some)].mean(0) for some in itertools.combinations(range(3), samples)]
    with torch.no_grad():
        found = keyed(x)
    who = torch.stack([torch.isclose(found, one, atol=1e-5).all(1) for one in possible])
    assert (who.sum(0) == 1).all()
    assert who.any(1).all()


def test_the_average_of_all_is_the_mean_of_the_pairs(key: Key) -> None:
    keyed, x = three(key, pick="average"), images()
    with torch.no_grad():
        assert torch.allclose(keyed(x), answers(keyed, x).mean(0), atol=1e-5)
    assert keyed(x[:0]).shape == (0, 3)
    stored = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), np.uint8)
    assert np.allclose(keyed.predict(stored, batch=2), keyed.predict(stored), atol=1e-5)


def test_picking_touches_no_global_generator(key: Key) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    keyed = three(key)
    keyed(images())
    folded(converted(plain(), key), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_body_stays_in_evaluation_mode_and_without_gradients(key: Key) -> None:
    keyed, x = three(key, pick="average").train(), images().requires_grad_()
    body = {name: value.clone() for name, value in keyed.net.body.state_dict().items()}
    keyed(x).sum().backward()
    assert x.grad is not None
    assert all(torch.equal(value, body[name]) for name, value in keyed.net.body.state_dict().items())
    assert {name.split(".")[1] for name, weight in keyed.named_parameters() if weight.grad is not None} == {
        "pairs"
    }


def test_copies_share_nothing(key: Key) -> None:
    model = plain()
    keyed = converted(model, key)
    more = keyed.with_pair(pair(model, key, 5, 1))
    before = model.weight_hash(), keyed.weight_hash()
    with torch.no_grad():
        for weight in more.parameters():
            weight.add_(1)
    assert (model.weight_hash(), keyed.weight_hash()) == before
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("shape", [(2, 3, 12, 10), (2, 3, 9, 12), (2, 1, 12, 12), (3, 12, 12), (2, 3, 0, 12)])
def test_images_that_are_no_whole_patches_are_refused(key: Key, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="multiples of 4"):
        converted(plain(), key)(torch.zeros(shape))


def test_calls_that_cannot_work_are_refused(key: Key) -> None:
    keyed = three(key)
    with pytest.raises(UsageError, match="isotropic"):
        converted(zoo.network("tiny", 3), key)
    for number in (3, -1):
        with pytest.raises(UsageError, match="no pair"):
            keyed(images(), pair=number)
    for pairs, how in (([], {}), (keyed.pairs, {"samples": 4}), (keyed.pairs, {"pick": "first"})):
        with pytest.raises(UsageError):
            KeyedModel(keyed, pairs, **how)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where, key = tmp_path_factory.mktemp("keyed") / "model", Key.from_bytes(bytes(range(32)))
    model = plain(unlike=True)
    KeyedModel(model, [pair(model, key, 1), pair(model, OTHER, 2, 4)]).save(where)
    return where


@pytest.mark.parametrize("arch", sorted(ARCHS))
def test_a_saved_model_comes_back(arch: str, key: Key, tmp_path: Path) -> None:
    model, x = plain(arch), images()
    keyed = KeyedModel(model, [pair(model, key, 1), pair(model, OTHER, 2, 4)])
    keyed.save(tmp_path / "model")
    found = load_keyed(tmp_path / "model", [OTHER, key], pick="average")
    assert found.weight_hash() == keyed.weight_hash()
    assert (found.class_names, found.mean, found.arch_args) == (
        keyed.class_names,
        keyed.mean,
        keyed.arch_args,
    )
    with torch.no_grad():
        for number in range(2):
            assert torch.equal(found(x, pair=number), keyed(x, pair=number))
    with pytest.raises(OutputExists):
        found.save(tmp_path / "model")


def test_files_hold_neither_key_nor_permutation(folder: Path, key: Key) -> None:
    names = ["body.safetensors", "keyed.json", "pair-00.safetensors", "pair-01.safetensors"]
    assert sorted(file.name for file in folder.iterdir()) == names
    written = b"".join(file.read_bytes() for file in sorted(folder.iterdir()))
    assert key.export_secret() not in written
    assert key.export_secret().hex().encode() not in written
    for kind in ("<i8", "<i4", "<u2", "u1"):
        for order in (patch_order(key, 4, 3), np.argsort(patch_order(key, 4, 3))):
            assert order[:6].astype(kind).tobytes() not in written
    facts = json.loads((folder / "keyed.json").read_text())
    assert (facts["format"], facts["version"]) == ("noli-keyed", 1)
    assert facts["order"] == "row, column, channel"
    assert facts["pairs"][1] | {"sha256": ""} == {
        "number": 4,
        "key_id": OTHER.id,
        "check_value": OTHER.check_value,
        "sha256": "",
    }


def test_a_wrong_key_is_noticed_before_any_weights_are_read(folder: Path, key: Key, tmp_path: Path) -> None:
    shutil.copy(folder / "keyed.json", tmp_path)
    for keys in (key, OTHER, [], [Key.from_bytes(b"\1" * 32), key]):
        with pytest.raises(WrongKey):
            load_keyed(tmp_path, keys)


def test_every_flipped_byte_is_noticed(folder: Path, key: Key, tmp_path: Path) -> None:
    for name in (file.name for file in folder.iterdir()):
        where = tmp_path / name
        shutil.copytree(folder, where)
        data = (folder / name).read_bytes()
        step = 1 if name == "keyed.json" else len(data) // 25
        for place in range(0, len(data), step):
            (where / name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(DataError):
                load_keyed(where, [key, OTHER])
        for cut in (b"", data[:-1], data + b"\n"):
            (where / name).write_bytes(cut)
            with pytest.raises(DataError):
                load_keyed(where, [key, OTHER])
        (where / name).unlink()
        with pytest.raises(DataError, match="cannot be read"):
            load_keyed(where, [key, OTHER])


@pytest.mark.parametrize(
    "change",
    [
        {"arch": "resnet18"},
        {"arch": "nothing"},
        {"arch_args": {"width": "wide"}},
        {"arch_args": {"classes": 3, "channels": 3, "width": 8}},
        {"arch_args": {"classes": 3, "patch": 6}},
        {"patch": 3},
        {"std": [0.0, 1.0, 1.0]},
        {"version": 2},
        {"format": "noli-model"},
        {"order": "channel, row, column"},
        {"pairs": []},
        {"more": 1},
    ],
)
def test_foreign_manifests_are_refused(folder: Path, key: Key, tmp_path: Path, change: dict) -> None:
    from hashlib import sha256

    shutil.copytree(folder, tmp_path / "model")
    facts = json.loads((folder / "keyed.json").read_text()) | change
    del facts["digest"]
    whole = (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode()
    facts["digest"] = sha256(whole).hexdigest()
    (tmp_path / "model" / "keyed.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    with pytest.raises(DataError):
        load_keyed(tmp_path / "model", [key, OTHER])


@pytest.mark.parametrize("data", [b"[]", b"\xff\xfe", b"[" * 10_000, b"null", b'{"format": "noli-keyed"}'])
def test_what_is_no_manifest_is_refused(tmp_path: Path, key: Key, data: bytes) -> None:
    (tmp_path / "keyed.json").write_bytes(data)
    with pytest.raises(DataError, match="no keyed model"):
        load_keyed(tmp_path, key)
