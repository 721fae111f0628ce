"""The distillation of a student, in a run folder that it can be resumed from."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
import torch
from msgspec.structs import replace

from motivnet import __version__
from motivnet.artifact.fidelity import METADATA, Fidelity, Teacher
from motivnet.checkpoints import load_checkpoint, save_model
from motivnet.checkpoints.shards import find_weights_file, sha256_of_weights
from motivnet.datasets.sample import Sample
from motivnet.files import write_atomic
from motivnet.path_kind import kind_of
from motivnet.prediction import softmax
from motivnet.preprocess import Preprocessing
from motivnet.printable import printable
from motivnet.schema import Schema, encode
from motivnet_training.data import Inputs, LabelledInputs
from motivnet_training.distill.fidelity import Outputs, Pair, measure_fidelity, outputs_of_model
from motivnet_training.distill.images import TaughtImages, read_images
from motivnet_training.distill.inputs import AnswerInputs, ViewInputs, decode_sources
from motivnet_training.distill.request import DistillRequest
from motivnet_training.distill.teacher import (
    Taught,
    ask_teacher,
    choose_temperature,
    load_teacher,
    outputs_in,
    preprocessing_of,
)
from motivnet_training.history import History
from motivnet_training.loop import train
from motivnet_training.model import fresh_model
from motivnet_training.plots import write_curves
from motivnet_training.recipe_file import yaml_from_recipe
from motivnet_training.run_folder import (
    RunIdentity,
    check_identity,
    check_usable,
    lock_folder,
    write_identity,
)
from motivnet_training.session import Session
from motivnet_training.signals import stopping
from motivnet_training.student import DistillationLoss, Student
from motivnet_training.unlabelled import Samples

logger = logging.getLogger(__name__)

LICENCE = (
    "taught by {name}: the licence of its weights may bind the student; "
    "Sapiens' weights are CC BY-NC 4.0"
)


class DistillSummary(Schema, frozen=True, kw_only=True):
    """What a student was made of, and how close it is to its teacher.

    ``images`` counts the training images by label; ``teacher_seconds`` is what the teacher's
    answers took, nearly nothing where they were cached.
    """

    checkpoint: str
    fidelity: Fidelity
    teacher_flop: int
    student_flop: int
    images: dict[str, int]
    format: str
    views: int
    seed: int
    epochs: int
    history: History
    teacher_seconds: float
    seconds: float


def distill(
    request: DistillRequest, *, on_message: Callable[[str], None] = lambda _: None
) -> DistillSummary:
    """Teach a student what a teacher answers, and leave it in the run folder with its fidelity.

    Args:
        on_message: Called with a line about what is learnt from, and about each epoch.

    Raises:
        ConfigError: If the student has another number of classes than the teacher.
        CheckpointError: If the teacher cannot be loaded, or a file of the cache or the state to
            resume from is damaged.
        DatasetError: If there are too few images.
        FileError: If the folder cannot be used.
        TrainingError: If a number stops being finite; the files of the last good epoch stay.
        TrainingStoppedError: If a signal asked for it; ``resume`` continues from there.
    """
    started = time.monotonic()
    folder = request.folder
    check_usable(folder, resume=request.resume)
    teacher = load_teacher(request)
    images = read_images(
        request.data,
        labels=teacher.labels,
        seed=request.seed,
        share=request.recipe.validation_share,
        allow_outside=request.allow_outside,
    )
    on_message(images.describe())
    sha256 = sha256_of_weights(request.teacher)
    with lock_folder(folder):
        preprocess = preprocessing_of(teacher)
        identity = _identify(request, images, preprocess=preprocess, teacher=sha256)
        check_identity(folder, identity)
        write_identity(folder, identity, recipe=yaml_from_recipe(request.recipe))
        asked = time.monotonic()
        with stopping(
            f"the teacher's answers so far are kept in {request.answers_folder}; "
            "repeat the command to go on"
        ):
            taught = ask_teacher(request, teacher, sha256, images)
        teacher_seconds = time.monotonic() - asked
        session = _session(request, taught, images, on_message)
        resume = folder.resume if kind_of(folder.resume) else None
        if request.resume and resume is None:
            logger.warning(
                "%s holds no state to resume from: the training starts from the beginning",
                request.out,
            )
        progress = train(session, resume=resume)
        with stopping(
            f"all epochs are done, but not the comparison with the teacher: finish {request.out} "
            "with --resume"
        ):
            fidelity = _finish(request, taught, images, temperature=_temperature(session))
            summary = DistillSummary(
                checkpoint=str(request.student),
                fidelity=fidelity,
                teacher_flop=teacher.config.flop,
                student_flop=request.config.flop,
                images=images.counts(),
                format=images.format,
                views=request.views,
                seed=request.seed,
                epochs=len(progress.history),
                history=progress.history,
                teacher_seconds=teacher_seconds,
                seconds=time.monotonic() - started,
            )
            write_curves(folder.curves, progress.history)
            write_atomic(folder.summary, encode(summary, errors="replace"))
    return summary


def _session(
    request: DistillRequest,
    taught: Taught,
    images: TaughtImages,
    on_message: Callable[[str], None],
) -> Session:
    config, seed = request.config, request.seed
    width = taught.checkpoint.config.encoder.embed_dim
    preprocess = replace(taught.preprocess, size=config.encoder.image_size)
    classes = len(images.labels)
    temperature = choose_temperature(taught, images, on_message)
    return Session(
        model=Student(fresh_model(config, seed=seed), width=width, seed=seed),
        config=config,
        recipe=request.recipe,
        labels=images.labels,
        preprocess=preprocess,
        training=_inputs(images.training, images, taught, preprocess, targets=None),
        validation=_inputs(
            images.validation,
            images,
            taught,
            preprocess,
            targets=softmax(
                taught.held_out_outputs(images, images.validation).logits.astype(np.float32)
            ),
        ),
        seed=seed,
        devices=request.devices,
        folder=request.folder,
        metadata=_describe(request, taught, images, temperature),
        checkpoint_seconds=request.checkpoint_seconds,
        on_message=on_message,
        loss=DistillationLoss(
            classes=classes,
            temperature=temperature,
            embedding_mean=torch.from_numpy(taught.training_outputs(images).embedding.mean(axis=0)),
        ),
        validated_on="agreement with the teacher",
    )


def _inputs(
    samples: Samples,
    images: TaughtImages,
    taught: Taught,
    preprocess: Preprocessing,
    *,
    targets: np.ndarray | None,
) -> LabelledInputs:
    """Return what is learnt from, or without ``targets`` what is validated on."""
    digests = tuple(images.digests[sample.name] for sample in samples)
    inputs: Inputs = ViewInputs(
        samples=samples,
        digests=digests,
        preprocess=preprocess,
        views=taught.views,
        decoded=decode_sources(samples),
    )
    names = tuple(sample.name for sample in samples)
    if targets is not None:
        return LabelledInputs(inputs=inputs, targets=torch.from_numpy(targets).float(), names=names)
    answers = AnswerInputs(store=taught.training, digests=digests, views=taught.views)
    return LabelledInputs(
        inputs=inputs, targets=images.targets(samples), names=names, answers=answers
    )


def _temperature(session: Session) -> float:
    return 1.0 if session.loss is None else session.loss.temperature


def _finish(
    request: DistillRequest, taught: Taught, images: TaughtImages, *, temperature: float
) -> Fidelity:
    """Compare the last weights with the teacher, and write them with the report.

    Not the weights of the lowest validation loss: a student that learns the teacher's function does
    not get worse the longer it learns (Beyer et al. 2022), and images that had chosen the weights
    would flatter them.
    """
    last = load_checkpoint(request.folder.last, quiet=True)
    if last.preprocessing is None:
        raise ValueError("a student's checkpoint has its preprocessing")
    device, batch_size = request.devices.single_device, request.recipe.batch_size
    teacher, teacher_preprocess = taught.checkpoint.model, taught.preprocess
    student, student_preprocess = last.model, last.preprocessing

    def ask_teacher(samples: Sequence[Sample]) -> Outputs:
        for store in (taught.training, taught.held_out):
            digests = [images.digests.get(sample.name, "") for sample in samples]
            if all(digest in store for digest in digests):
                return outputs_in(store, images, samples)
        return outputs_of_model(
            teacher,
            samples,
            preprocess=teacher_preprocess,
            batch_size=batch_size,
            device=device,
        )

    def ask_student(samples: Sequence[Sample]) -> Outputs:
        return outputs_of_model(
            student, samples, preprocess=student_preprocess, batch_size=batch_size, device=device
        )

    name = printable(find_weights_file(request.teacher).name)
    fidelity = measure_fidelity(
        Pair(teacher=ask_teacher, student=ask_student),
        Teacher(
            checkpoint=name,
            sha256=taught.sha256,
            flop=taught.checkpoint.config.flop,
            licence=LICENCE.format(name=name),
        ),
        training=images.training,
        measured=images.measured,
        unknown=images.unknown,
        labels=images.labels,
        unknown_names=sorted({images.names[sample.label] for sample in images.unknown}),
        measured_on=images.measured_on,
        image_size=last.config.encoder.image_size,
        temperature=temperature,
    )
    save_model(
        last.model,
        request.student,
        config=last.config,
        labels=last.labels,
        preprocessing=last.preprocessing,
        metadata={**last.metadata, METADATA: encode(fidelity).decode()},
    )
    return fidelity


def _identify(
    request: DistillRequest, images: TaughtImages, *, preprocess: Preprocessing, teacher: str
) -> RunIdentity:
    return RunIdentity(
        recipe=_hash(encode(request.recipe)),
        model=_hash(encode(request.config.to_dict())),
        encoder="none",
        training_images=_hash_samples(images.training, images),
        validation_images=_hash_samples((*images.validation, *images.measured), images),
        seed=request.seed,
        preprocess=preprocess.text,
        processes=1,
        strategy="auto",
        teacher=teacher,
        views=request.views,
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hash_samples(samples: Samples, images: TaughtImages) -> str:
    rows = (f"{each.name}\t{each.label}\t{images.digests[each.name]}" for each in samples)
    return _hash("\n".join(rows).encode("utf-8", "surrogatepass"))


def _describe(
    request: DistillRequest, taught: Taught, images: TaughtImages, temperature: float
) -> dict[str, str]:
    """Return what a student's checkpoint says about its making, as texts."""
    name = printable(request.teacher.name)
    versions = {"motivnet": __version__, "torch": version("torch")}
    return {
        "teacher": name,
        "teacher_sha256": taught.sha256,
        "licence": LICENCE.format(name=name),
        "dataset": printable(request.data.resolve().name),
        "format": images.format,
        "training_images": str(len(images.training)),
        "validation_images": str(len(images.validation)),
        "images_by_label": encode(images.counts(), errors="replace").decode(),
        "views": str(request.views),
        "temperature": f"{temperature:.4f}",
        "seed": str(request.seed),
        "training_recipe": yaml_from_recipe(request.recipe),
        "versions": encode(versions).decode(),
    }
