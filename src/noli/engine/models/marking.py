"""Mark a text-to-image model: subject, extractor, secrets, marked copy; resumes to the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from noli.core.errors import DataError, OutputExists
from noli.core.files import storage_error
from noli.core.manifest import DataInfo, KeyInfo, ModelInfo
from noli.core.method import State
from noli.core.run import Run
from noli.data.captions import captioned
from noli.data.sources import open_source
from noli.data.writers import check_paths
from noli.engine.models.request import CHECKPOINT, EXTRACTOR, LEARNED, MARKED, SUBJECT, ModelRequest
from noli.engine.progress import Progress
from noli.methods.mark import sleepermark as method
from noli.proof.records import sha256

if TYPE_CHECKING:
    from noli.core.model import Model
    from noli.train.checkpoint import Checkpoint
    from noli.train.diffusion import Captioned
    from noli.zoo.subject import LatentModel


@dataclass(frozen=True)
class Ready:
    """What a mark needs before its secrets are drawn.

    Attributes:
        subject: The model that is marked.
        extractor: Encoder and decoder of messages.
        data: Pictures with captions.
        state: What the claims bind.
    """

    subject: LatentModel
    extractor: Model
    data: Captioned
    state: State


def begun(request: ModelRequest) -> Run:
    """Open the run of a request, or create it; the caller holds its lock.

    Raises:
        OutputExists: Something that is not of this run lies at the output, or output and inputs overlap.
        UsageError: The run was begun with other arguments, or a place is missing.
    """
    folder = request.folder
    run = Run.open(folder) if Run.exists(folder) else None
    owned = run is not None and MARKED in (run.manifest.state or {})
    check_paths(request.source, request.output, owned=owned)
    if request.model:
        check_paths(request.model, request.output, owned=owned)
    for place in (request.source, request.model):
        if place and folder.resolve().is_relative_to(Path(place).resolve()):
            fix = "name another --run"
            raise OutputExists("The run folder lies inside the input.", where=str(folder), fix=fix)
    if run is None:
        return _created(request)
    run.refuse_other("mark", request.resolved())
    return run


def _created(request: ModelRequest) -> Run:
    resolved = request.resolved()
    return Run.create(
        request.folder,
        verb="mark",
        method=request.spec.name,
        args_resolved=resolved,
        key=KeyInfo(id=request.key.id, commitment=request.key.commit()),
        input=DataInfo(uri=resolved["source"], layout="captioned"),
        output=DataInfo(uri=resolved["output"], layout="model"),
        state={},
    )


def ready(request: ModelRequest, run: Run) -> Ready:
    """Read the pictures, and load or learn the subject and its extractor; what was learned before is kept.

    Raises:
        DataError: Pictures without captions, other pictures than the run was begun with, a model or an
            extractor that does not fit.
        MissingPrerequisite: A package is not installed.
    """
    from noli.train.hardware import pick_device
    from noli.zoo.likeness import picture_distance

    cfg, bar = request.cfg, request.progress
    device = pick_device(cfg.device)
    given = _loaded(request.model) if request.model else None
    # Now rather than after an hour.
    picture_distance(cfg.lpips, cfg.perceptual, side=given.side if given else cfg.side)
    data = _pictures(request, given.side if given else cfg.side)
    _same_pictures(run, data, request.source)
    subject = (given or _own(request, run, data)).to(device)
    extractor = _extractor(request, run, subject, data)
    bar.finish()
    return Ready(subject, extractor, data, method.prepare(subject, extractor, cfg))


def _loaded(folder: str) -> LatentModel:
    from noli.zoo.pipelines import load_subject

    return load_subject(folder)


def _pictures(request: ModelRequest, side: int) -> Captioned:
    from noli.train.diffusion import Captioned

    source = open_source(request.source, labels=request.labels)
    tell = stages(request.progress)
    return Captioned(*captioned(source, side, tell, most=request.cfg.pictures, by_class=True))


def _same_pictures(run: Run, data: Captioned, where: str) -> None:
    digest = sha256(data.x.tobytes(), "\0".join(data.captions).encode("utf-8", "replace"))
    state = run.manifest.state or {}
    if state.get(LEARNED, digest) != digest:
        raise DataError(
            "The pictures are not those that the run was begun with.",
            where=where,
            why="a picture or a caption was added, removed or changed since",
            fix="put them back as they were, or mark into a new output",
        )
    run.update(state={**state, LEARNED: digest})


def _own(request: ModelRequest, run: Run, data: Captioned) -> LatentModel:
    """Return the model of our own, trained on the pictures by an earlier call or by this one."""
    from noli.train.diffusion import CODER, DENOISER, learn_coder, learn_denoiser
    from noli.train.hardware import pick_device
    from noli.zoo.latent import WEIGHTS, LatentDiffusion, new_latent

    folder, cfg, tell = run.artifact(SUBJECT), request.cfg, stages(request.progress)
    if not (folder / WEIGHTS).is_file():
        made = new_latent(text=cfg.encoder, side=cfg.side, width=cfg.width).to(pick_device(cfg.device))
        coder = CODER.model_copy(update={"steps": cfg.coder_steps})
        denoiser = DENOISER.model_copy(update={"steps": cfg.denoiser_steps})
        learn_coder(made, data.x, coder, _checkpoint(run), tell)
        learn_denoiser(made, data, denoiser, _checkpoint(run), tell)
        made.save(folder)
    return LatentDiffusion.load(folder)


def _extractor(request: ModelRequest, run: Run, subject: LatentModel, data: Captioned) -> Model:
    from noli.core.model import Model
    from noli.zoo.watermark import build

    file = run.artifact(EXTRACTOR)
    if not file.is_file():
        if request.extractor:
            found = Model.load(request.extractor, build)
        else:
            tell = stages(request.progress)
            found = method.extractor(subject, data, request.cfg, checkpoint=_checkpoint(run), tell=tell)
        _check_fits(found, subject, request)
        found.save(file)
    return Model.load(file, build).to(subject.device)


def _checkpoint(run: Run) -> Checkpoint:
    """Return a checkpoint for one more training of the run; what it depends on begins anew."""
    from noli.train.checkpoint import Checkpoint

    return Checkpoint(run.artifact(CHECKPOINT))


def _check_fits(extractor: Model, subject: LatentModel, request: ModelRequest) -> None:
    facts = extractor.arch_args
    _check_plain(extractor, request.extractor)
    wanted = {"bits": request.cfg.bits, "shape": list(subject.shape)}
    found = {"bits": facts["bits"], "shape": list(facts["shape"])}
    if found != wanted:
        raise DataError(
            "The extractor does not fit the model.",
            where=request.extractor,
            why=f"it has {found['bits']} bits and latents {found['shape']}; wanted are "
            f"{wanted['bits']} and {wanted['shape']}",
            fix="name the extractor of an earlier marking of this model, or leave it out",
        )


def _check_plain(extractor: Model, where: str) -> None:
    """Refuse an extractor that shifts or scales latents first: its hash would not cover that.

    Raises:
        DataError: It does.
    """
    if (extractor.mean, extractor.std) != ((0.0,), (1.0,)):
        raise DataError(
            "The extractor's description was changed.",
            where=where,
            why="it shifts or scales what it reads",
            fix="put it back as it was when the model was marked",
        )


def injected(request: ModelRequest, run: Run, made: Ready) -> None:
    """Write the marked model, look at what it shows, and finish the run.

    Raises:
        DataError: What an earlier call wrote was changed.
    """
    from noli.engine.models.looks import look

    tell = stages(request.progress)
    state, output = run.manifest.state or {}, Path(request.output)
    if MARKED in state and output.exists():
        marked = confirmed(output, state[MARKED])
    else:
        marked = method.transform(
            made.subject, made.data, request.key, request.cfg, made.extractor, state,
            checkpoint=_checkpoint(run), tell=tell,
        ).model  # fmt: skip
        _released(run, marked, output)
    results = look(run, request, made, marked.to(made.subject.device))
    _checkpoint(run).clear()
    identity = ModelInfo(id=output.name, weights_sha256=run.manifest.state[MARKED])  # type: ignore[index]
    run.finish(results, model=identity)


def _released(run: Run, marked: LatentModel, output: Path) -> None:
    """Write the model beside its place, note its hash, and put it there in one step."""
    partial = output.with_name(f".{output.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        marked.save(partial)
        run.update(state={**(run.manifest.state or {}), MARKED: marked.weight_hash()})
        with suppress(OSError):
            output.rmdir()  # an empty folder may stand there
        partial.rename(output)
    except OSError as error:
        raise storage_error(error, str(output)) from error


def confirmed(output: Path, wanted: str) -> LatentModel:
    """Load the marked model of a run.

    Raises:
        DataError: It is gone or has other weights.
    """
    found = _loaded(str(output))
    if found.weight_hash() != wanted:
        raise DataError(
            "This is not the marked model of the run.",
            where=str(output),
            why="its weights have changed since it was written",
            fix="remove it and give the noli mark command again, which makes it anew",
        )
    return found


def reader(run: Run) -> tuple[LatentModel, Model]:
    """Load what reads the bits of a suspect's pictures: the encoder of latents, and the extractor.

    Raises:
        DataError: One of them is missing, or not the one that was committed.
    """
    from noli.core.model import Model
    from noli.engine.undo import output_of
    from noli.zoo.watermark import build

    state = run.manifest.state or {}
    kept = run.path / "artifacts" / SUBJECT
    place = str(kept) if kept.is_dir() else str(run.manifest.args_resolved["model"])
    base = _loaded(place if Path(place).is_dir() else output_of(run))
    extractor = Model.load(run.path / "artifacts" / EXTRACTOR, build)
    _check_plain(extractor, str(run.path / "artifacts" / EXTRACTOR))
    for what, found in (("coder", base.coder_hash()), ("extractor", extractor.weight_hash())):
        if found != state[what]:
            raise DataError(
                f"The {what} is not the one that was committed.",
                where=place if what == "coder" else str(run.path / "artifacts" / EXTRACTOR),
                fix="put it back as it was when the model was marked",
            )
    return base, extractor


def stages(bar: Progress) -> Callable[[int, int, str], None]:
    """Return a callback ``(done, all, what)`` that begins a stage of progress whenever `what` changes."""
    stage, told = "", 0

    def tell(done: int, total: int, what: str) -> None:
        nonlocal stage, told
        if what != stage:
            bar.start(total, what)
            stage, told = what, 0
        bar.advance(done - told)
        told = done

    return tell
