"""Lock pictures: a scrambled copy that only the key brings back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from noli import registry
from noli.api._protect import ProtectRun, finished, request_for
from noli.core.errors import UsageError
from noli.core.key import Key
from noli.core.method import Arrow, Spec
from noli.core.run import Run
from noli.data.picture import FormatPolicy, Metadata
from noli.engine.lockedmodels import kind_of, refuse_other_models
from noli.engine.locking import LockRequest
from noli.engine.progress import Progress
from noli.engine.request import ErrorPolicy, KeyLike, begun_id, folder_of, key_for, open_key
from noli.ops.keyspace import capped_bits
from noli.options import resolve

BANNER = (
    "Perceptual encryption is obfuscation, not confidentiality: it hides pictures from a casual look, not "
    "from somebody who attacks them. For storage and transport encrypt the files instead."
)


def lock(
    data: str | Path,
    output: str | Path,
    method: str = "etc",
    *,
    key: KeyLike,
    workers: int | None = None,
    format: FormatPolicy = "png",  # noqa: A002
    metadata: Metadata = "strip",
    on_error: ErrorPolicy = "fail",
    labels: str | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> ProtectRun:
    """Write a scrambled copy of a data set; :func:`noli.undo` brings the pictures back with the key.

    Perceptual encryption is obfuscation, not confidentiality. The same call again resumes, or adds what is
    new in the source. Sides are extended to whole blocks; undo gives the size back.

    Args:
        data: Folder, CSV, Parquet, ``.npz`` or URL with pictures, with or without classes.
        output: New place of the same kind.
        method: Registry name (``lock/etc``) or the short one (``etc``).
        key: The owner's key, or the path of a key file without a passphrase.
        workers: Processes; all cores when None.
        format: ``png`` or ``same``: JPEG stays JPEG, with full chroma, where the method survives that (EtC
            with blocks of a multiple of 8 pixels). PNG and JPEG carry a header by which they come back
            without the run folder; other formats do not.
        metadata: ``strip`` (default: thumbnails and positions tell what is in a picture) or ``keep``.
        on_error: ``fail`` before any work when an item cannot be read, or ``skip`` such items.
        labels: Column or array with the class, where the layout does not say.
        run: Run folder; ``OUT.noli`` beside the output when None.
        progress: Where progress goes; nowhere when None.
        options: Options of the method.

    Raises:
        UsageError: Unknown method or option, a bad value, an output that is in the way, JPEG for a method
            that does not survive it.
        DataError: Items that cannot be used, arrays whose sides are no whole blocks.
        RunError: Disk full, place not writable, worker killed; the same call resumes.
        Interrupted: Ctrl-C; the same call resumes.
    """
    name = found_method(method, "data->data", "This method locks no pictures.").name
    request = request_for(
        data, output, name, key=key, workers=workers, format=format, metadata=metadata, on_error=on_error,
        labels=labels, run=run, progress=progress, **options,
    )  # fmt: skip
    if format == "webp":
        why = "it has no place for the header by which a picture is brought back"
        raise UsageError(
            "Scrambled pictures are not written as WebP.", why=why, fix="leave --format out (PNG)"
        )
    survives = getattr(registry.module(name), "survives_jpeg", None)
    if format == "same" and not (survives and survives(request.cfg)):
        raise UsageError(
            "JPEG would garble these pictures for good.",
            where=name,
            why="what is scrambled within a block of eight pixels cannot be brought back from a JPEG",
            fix="leave --format out (PNG), or take noli lock etc with blocks of 8 pixels or more",
        )
    return finished(request)


def rotate(
    data: str | Path,
    output: str | Path,
    *,
    key: KeyLike,
    former: KeyLike = None,
    workers: int | None = None,
    on_error: ErrorPolicy = "fail",
    run: str | Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Write scrambled pictures, or a keyed model, under another key; no plain pictures are made in between.

    Of a keyed model the columns of the secret first layers change places, exactly and without training: it
    stays the same function of plain pictures, and nothing is taken from who has the former key and files.
    Files keep their formats: a JPEG is decoded and compressed once more. What was scrambled under the former
    key stays as it is: who has it and that key can bring it back, so delete it.

    Args:
        data: Scrambled pictures with headers (PNG or JPEG), as ``noli lock`` writes them, or the folder of a
            keyed model.
        output: New place.
        key: The new key, or the path of a key file, whose active key is taken.
        former: The key so far, or the path of its file; None: an older key of the file `key`.
        workers: Processes; all cores when None.
        on_error: ``fail`` before any work when an item cannot be read, or ``skip`` such items.
        run: Run folder; ``OUT.noli`` beside the output when None.
        progress: Where progress goes; nowhere when None.

    Raises:
        UsageError: The pictures have no headers, or this key already.
        WrongKey: The former key did not scramble them.
        DataError, RunError, Interrupted: As for :func:`lock`.
    """
    from noli.engine.opening import first_header
    from noli.engine.rotating import rotate_pictures

    if key is None:
        fix = "pass the new key, and the former one if it is not in the same file"
        raise UsageError("A rotation needs two keys.", fix=fix)
    if kind_of(data) == "keyed-model":
        from noli.engine.model_rotating import rotate_model

        return rotate_model(data, output, key=key, former=former, run=run, progress=progress)
    refuse_other_models(data, "rotated")
    header = first_header(data)
    if header is None:
        raise UsageError(
            "These pictures say nothing about how they were scrambled.",
            where=str(data),
            why="none of them has a header: they are in plain, or a program dropped the text in the files",
            fix="lock them; if they are scrambled, undo them with their run folder first",
        )
    old = open_key(key if former is None else former, header.key_id)
    # A rotation that was begun is ended with its own key, whatever came into the file since.
    new = open_key(key, begun_id(key, folder_of(run, output)))
    return rotate_pictures(
        str(data),
        str(output),
        cast(Key, new),
        cast(Key, old),
        workers=workers,
        on_error=on_error,
        run=run,
        progress=progress,
    )


def encode(
    data: str | Path,
    output: str | Path,
    method: str,
    *,
    key: KeyLike,
    on_error: ErrorPolicy = "fail",
    labels: str | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Write codes of pictures, to learn from instead of the pictures: NeuraCrypt or InstaHide, both broken.

    Args:
        data: Folder, CSV, Parquet, ``.npz`` or URL with pictures.
        output: A new local folder, for safetensors shards and ``codes.json``.
        method: Registry name (``lock/neuracrypt``) or the short one.
        key: The owner's key, or the path of a key file without a passphrase.
        on_error: ``fail`` before any work when an item cannot be read, or ``skip`` such items.
        labels: Column or array with the class, where the layout does not say.
        run: Run folder; ``OUT.noli`` beside the output when None.
        progress: Where progress goes; nowhere when None.
        options: Options of the method, ``i_understand_this_is_broken=True`` among them.

    Raises:
        UsageError: Unknown method or option, or nobody has said that he knows that it is broken.
        DataError, OutputExists, RunError, Interrupted: See :func:`noli.engine.codes.encode_data`.
    """
    from noli.engine.codes import encode_data

    spec = found_method(method, "data->codes", "This method makes no codes.")
    return encode_data(job_of(spec, data, output, key, run, progress, options, labels, on_error))


def lock_model(
    pictures: str | Path,
    output: str | Path,
    method: str = "embeddings",
    *,
    key: KeyLike,
    model: str | Path | None = None,
    on_error: ErrorPolicy = "fail",
    labels: str | None = None,
    run: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Make a classifier that is meant to be used with a key only; see :mod:`noli.methods.lock.embeddings`.

    Read it with :func:`noli.zoo.keyed_folder.load_keyed`. The run says what it is worth: accuracy with the
    key, without it, under other keys, and under attack by what an attacker knows.

    Args:
        pictures: Pictures with classes; a fifth of them only tests.
        output: A new local folder.
        method: Registry name, or the short one.
        key: The owner's key, or the path of a key file without a passphrase.
        model: Trained network of patches, whose body is kept: a file (`Model.save` of noli's ``convmixer`` or
            ``vit``), or a local folder in the layout of Hugging Face with a ViT or DeiT that classifies
            (:mod:`noli.zoo.imported`; the classes of the pictures must be among its own); None: one is
            trained on the pictures and kept in the run folder. Where it takes one side only, that is the
            default of `side`.
        on_error: ``fail`` before any work when an item cannot be read, or ``skip`` such items.
        labels: Column or array with the class, where the layout does not say.
        run: Run folder; ``OUT.noli`` beside the output when None.
        progress: Where progress goes; nowhere when None.
        options: Options of the method.

    Raises:
        UsageError, DataError, OutputExists, RunError, Interrupted: See :func:`noli.engine.keyed.lock_model`.
    """
    from noli.engine.keyed import lock_model as work

    spec = found_method(method, "model->model", "This method locks no models.")
    if model is not None and not Path(model).exists():
        raise UsageError("There is no such model.", where=str(model), fix="name one that is there")
    job = job_of(spec, pictures, output, key, run, progress, options, labels, on_error)
    return work(replace(job, model="" if model is None else str(model)))


def found_method(method: str, arrow: Arrow, otherwise: str) -> Spec:
    """Return a method of the family by its name, or its short one, if it does what is wanted."""
    spec = registry.get(method if "/" in method else f"lock/{method}")
    if spec.family != "lock" or spec.arrow != arrow:
        others = {
            "data->data": "noli.lock",
            "data->codes": "noli.encode",
            "model->model": "noli.lock_model",
            "model->models": "noli.proliferate",
        }
        fix = f"call {others[spec.arrow]}" if spec.family == "lock" else "see noli list lock"
        raise UsageError(otherwise, where=spec.name, fix=fix)
    return spec


def job_of(
    spec: Spec,
    data: str | Path,
    output: str | Path,
    key: KeyLike,
    run: str | Path | None,
    progress: Progress | None,
    options: dict[str, Any],
    labels: str | None,
    on_error: ErrorPolicy,
) -> LockRequest:
    """Return what all jobs of the family say of themselves; options and key are checked."""
    return LockRequest(
        source=str(data),
        output=str(output),
        spec=spec,
        cfg=resolve(spec, options),
        key=key_for(spec, key, folder_of(run, output)),
        run_dir=None if run is None else Path(run),
        progress=progress or Progress(),
        labels=labels,
        on_error=on_error,
    )


def key_size(run: Run) -> tuple[float, float] | None:
    """Return log2 of the number of keys, by the scheme's formula and as 256 bits allow, for one picture.

    The first picture of a run stands for all; None where the method says no formula.
    """
    module = registry.module(str(run.manifest.method))
    first = next((record for record in run.iter_records() if "error" not in record), None)
    if first is None or not hasattr(module, "nominal"):
        return None
    cfg = registry.get(str(run.manifest.method)).config.model_validate(run.manifest.args_resolved["config"])
    nominal = float(module.nominal(tuple(first["shape"]), cfg))
    return nominal, capped_bits(nominal)
