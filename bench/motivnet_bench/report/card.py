"""A model card as a report, and as the README of a repository on the Hugging Face Hub."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import cast

from motivnet.artifact.fidelity import describe_fidelity
from motivnet.parity import Comparison
from motivnet_bench.accuracy import AccuracyResult
from motivnet_bench.card import Card
from motivnet_bench.groups.measure import GroupsResult
from motivnet_bench.latency.result import LatencyResult
from motivnet_bench.report.accuracy import TITLES, metric_text
from motivnet_bench.report.document import (
    Block,
    CommandLine,
    Details,
    List,
    Note,
    Report,
    Row,
    Section,
    Table,
    byte_count,
    duration,
    rows_from_texts,
)
from motivnet_bench.report.groups import describe_gap, groups_table
from motivnet_bench.report.markdown import markdown_from_report
from motivnet_bench.report.robustness import describe_robustness, robustness_table
from motivnet_bench.robustness.measure import RobustnessResult
from motivnet_engines.diagnostics.tables import flop_text

MANIFEST = "manifest.json"

CARD_BEGINNING = '---\nlibrary_name: "motivnet"\n'

LIMITS = (
    "An expression does not tell what a person feels. The labels are words that annotators chose "
    "for pictures, and a probability says how they would have labelled such a picture.",
    "No decision about a person may rest on it: not about work, grades, credit, health, guilt or "
    "truthfulness. In the European Union inferring emotions is forbidden at work and in education "
    "(Regulation (EU) 2024/1689, Article 5(1)(f)) and bound to conditions elsewhere (Annex III, "
    "point 1(c); Article 50(3)).",
    "Accuracy differs between people, cameras and light. The figures here are of the images that "
    "they name, and of no others.",
)


def markdown_from_card(card: Card) -> str:
    """Return the card as Markdown with the metadata that the Hub reads, in YAML, before it."""
    manifest = card.manifest
    metadata: dict[str, object] = {
        "library_name": "motivnet",
        "pipeline_tag": "image-classification",
        "license": "other",
        "license_name": "see-the-card",
        "tags": ["facial-expression-recognition", "emotion-recognition", "onnx", "motivnet"],
    }
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {
                "name": result.dataset,
                "type": result.dataset_format,
                **({"split": result.split} if result.split else {}),
            },
            "metrics": [
                {"type": "accuracy", "value": entry.metrics.accuracy, "name": entry.runtime},
                {"type": "f1", "value": entry.metrics.macro_f1, "name": f"{entry.runtime}, macro"},
            ],
        }
        for result in _accuracies(card).values()
        for entry in result.runtimes[:1]
    ]
    if results:
        metadata["model-index"] = [{"name": card.name, "results": results}]
    if manifest.source.fidelity is not None:
        metadata["tags"] = [*cast("list[str]", metadata["tags"]), "distillation"]
    # JSON is YAML, and quotes what YAML would take for something else.
    lines = (f"{key}: {json.dumps(value)}" for key, value in metadata.items())
    text = "---\n" + "\n".join(lines) + "\n---\n\n"
    assert text.startswith(CARD_BEGINNING)
    return text + markdown_from_report(card_report(card))


def card_report(card: Card) -> Report:
    """Return the card: every section says where its figures are from."""
    purpose = card.manifest.purpose
    return Report(
        title=f"Model card of {card.name}",
        summary=(
            f"Intended use, as stated by its builder: {purpose}"
            if purpose
            else "Intended use: not stated by its builder (motivnet-export build --purpose).",
        ),
        sections=(
            Section(title="The model", blocks=_model(card)),
            Section(title="Where it comes from", blocks=_origin(card)),
            Section(title="Precision, and closeness to PyTorch", blocks=_precision(card)),
            Section(title="Accuracy", blocks=_accuracy(card)),
            Section(title="For whom it works", blocks=_groups(card)),
            Section(title="What it withstands", blocks=_robustness(card)),
            Section(title="Confidence", blocks=_confidence(card)),
            Section(title="Speed", blocks=_speed(card)),
            Section(title="Limits", blocks=tuple(Note(text=text) for text in LIMITS)),
            Section(title="How to reproduce it", blocks=_commands(card)),
        ),
        overview=(Note(text=f"Model card of {card.name}"),),
    )


def _accuracies(card: Card) -> dict[str, AccuracyResult]:
    return card.of_kind(AccuracyResult)


def _source(name: str, created: str = "") -> Note:
    return Note(text=f"Source: {name}{f', {created}' if created else ''}.")


def _missing(what: str, command: str) -> tuple[Block, ...]:
    return (Note(text=f"Not measured: {what}.", kind="warning"), CommandLine(text=command))


def _model(card: Card) -> tuple[Block, ...]:
    manifest = card.manifest
    config = manifest.source.config
    encoder, decoder = config.encoder, config.decoder
    height, width = encoder.image_size
    details: Details = (
        ("Task", "recognising the expression of a face in a picture of it"),
        ("Labels", ", ".join(manifest.labels)),
        (
            "Encoder",
            f"vision transformer, {encoder.depth} layers of width {encoder.embed_dim}, patches of "
            f"{encoder.patch_size}",
        ),
        ("Head", f"ML-Decoder, {decoder.depth} blocks"),
        ("Parameters", f"{config.parameters:,}"),
        ("Computation", f"{flop_text(config.flop)} per image"),
        ("Input", f"{height}x{width} pixels, {manifest.input.preprocessing.name}"),
        *(
            (("Tokens kept", f"{len(encoder.kept_tokens)}"),)
            if encoder.kept_tokens is not None
            else ()
        ),
    )
    return List(details=details), _source(MANIFEST)


def _origin(card: Card) -> tuple[Block, ...]:
    source = card.manifest.source
    if source.random_weights:
        return Note(text="Random weights: it answers nothing.", kind="warning"), _source(MANIFEST)
    details: Details = (
        ("Checkpoint", f"{source.checkpoint}{', its EMA weights' if source.ema else ''}"),
        ("SHA-256", str(source.sha256)),
        *(
            (("Trained at", "{}x{} pixels".format(*source.trained_image_size)),)
            if source.trained_image_size
            else ()
        ),
        *describe_fidelity(source.fidelity, source.config).items(),
        *card.training.items(),
    )
    blocks: list[Block] = [List(details=details)]
    if source.fresh_head:
        blocks.append(Note(text="Its head is untrained: it answers nothing.", kind="warning"))
    if not card.training:
        blocks.append(
            Note(
                text="What it was trained on is not recorded in the artifact; --checkpoint adds "
                "what the checkpoint says.",
                kind="warning",
            )
        )
    blocks += [
        Note(
            text="Licence: the code is Apache-2.0. The weights are bound by the licences of the "
            "encoder and the data that they were trained with, which no file records: Sapiens' "
            "weights are CC BY-NC 4.0, and most data sets of faces are for research alone. Find "
            "out before you pass the model on."
        ),
        _source(MANIFEST + (" and the checkpoint" if card.training else "")),
    ]
    return tuple(blocks)


def _precision(card: Card) -> tuple[Block, ...]:
    manifest = card.manifest
    parity = manifest.parity
    asked = manifest.requested_precision
    details: Details = (
        (
            "Precision",
            manifest.precision + (f", {asked} was asked for" * (asked != manifest.precision)),
        ),
        ("Attention", manifest.attention),
        *((f"Not {each.precision}", each.reason) for each in manifest.attempts),
        *(
            (
                f"Engine for {engine.backend}",
                f"{engine.version}, {engine.precision}, {engine.attention} attention, "
                + _verdict(engine.comparison),
            )
            for engine in manifest.engines
        ),
    )
    rows = [
        Row(
            cells=(
                f"{each.backend} ({each.compute})",
                each.evidence,
                f"{each.logit_cosine:.6f}",
                f"{each.logit_max_abs:.1e}",
                f"{each.probability_max_abs:.1e}",
                f"{each.top1_agreement:.1%}",
            ),
            marks=("passed" if each.passed else "failed",),
            kind="plain" if each.passed else "failed",
        )
        for each in parity.comparisons
    ]
    headings = ("compared with PyTorch FP32", "shows", "logit cosine", "logit error")
    table = Table(headings=(*headings, "probability error", "same top 1"), rows=tuple(rows))
    images = f"{parity.images} images ({parity.image_source})"
    return List(details=details), table, _source(f"{MANIFEST}, measured at the build on {images}")


def _verdict(comparison: Comparison | None) -> str:
    if comparison is None:
        return "compiled and never run"
    return f"parity {'passed' if comparison.passed else 'failed'} on {comparison.images} images"


def _accuracy(card: Card) -> tuple[Block, ...]:
    found = _accuracies(card)
    if not found:
        return _missing(
            "accuracy on labelled images",
            f"motivnet-bench accuracy {card.name} DATASET --json > accuracy.json",
        )
    metrics = [result.runtimes[0].metrics for result in found.values()]
    rows = [("images", *(f"{each.images:,}" for each in metrics))]
    rows += [
        (title, *(metric_text(name, getattr(each, name)) for each in metrics))
        for name, title in TITLES.items()
    ]
    rows += [
        (f"recall {label}", *(metric_text("recall", each.recall[label]) for each in metrics))
        for label in card.manifest.labels
    ]
    names = [f"{result.dataset}{_split(result)}" for result in found.values()]
    blocks: list[Block] = [Table(headings=("metric", *names), rows=rows_from_texts(rows))]
    for name, (file, result) in zip(names, found.items(), strict=True):
        if absent := result.runtimes[0].metrics.absent:
            blocks.append(Note(text=f"{name} has no image of {', '.join(absent)}."))
        if result.split == "val":
            blocks.append(
                Note(
                    text=f"Training may have chosen its epoch by {name}: then the accuracy is "
                    "somewhat too high.",
                    kind="warning",
                )
            )
        blocks.append(_source(f"{file}: {name}, measured with {result.runtimes[0].runtime}"))
    return tuple(blocks)


def _split(result: AccuracyResult | RobustnessResult) -> str:
    return f", {result.split} split" if result.split else ""


def _groups(card: Card) -> tuple[Block, ...]:
    found = card.of_kind(GroupsResult)
    if not found:
        return _missing(
            "accuracy by group of people",
            f"motivnet-bench groups {card.name} DATASET --by COLUMN",
        )
    blocks: list[Block] = []
    for file, result in found.items():
        blocks += [
            groups_table(result, title=f"{result.dataset} by {result.by}"),
            Note(text=describe_gap(result)),
            _source(file, result.created),
        ]
    return tuple(blocks)


def _robustness(card: Card) -> tuple[Block, ...]:
    found = card.of_kind(RobustnessResult)
    if not found:
        return _missing(
            "accuracy on turned, blurred, dark, small or covered images",
            f"motivnet-bench robustness {card.name} DATASET",
        )
    blocks: list[Block] = []
    for file, result in found.items():
        blocks += [
            replace(robustness_table(result), title=f"{result.dataset}{_split(result)}"),
            Note(text=describe_robustness(result)),
            _source(file, result.created),
        ]
    return tuple(blocks)


def _confidence(card: Card) -> tuple[Block, ...]:
    calibration = card.calibration
    if calibration is None:
        return _missing(
            "whether its probabilities are right; they are not calibrated",
            f"motivnet calibrate {card.name} FOLDER",
        )
    images = sum(
        (calibration.held_out if calibration.held_out_folder else calibration.images).values()
    )
    details: Details = (
        ("Temperature", f"{calibration.temperature:.3f}"),
        (
            "Calibration error",
            f"{calibration.error_before:.3f} before, {calibration.error_after:.3f} after",
        ),
        ("Taken for known faces", f"{calibration.known_share:.1%} of {images:,} images"),
    )
    return List(details=details), _source("the artifact's calibration")


def _speed(card: Card) -> tuple[Block, ...]:
    found = card.of_kind(LatencyResult)
    if not found:
        return _missing("speed on any device", f"motivnet-bench latency {card.name}")
    blocks: list[Block] = []
    for file, result in found.items():
        rows = [
            Row(
                cells=(
                    row.name,
                    duration(row.metrics.latency.p50),
                    duration(row.metrics.latency.p95),
                    byte_count(row.metrics.peak_memory),
                ),
                kind="default" if row.default else "plain",
            )
            for row in result.candidates
            if row.metrics is not None
        ]
        device, settings = result.environment.processor, result.settings
        blocks += [
            Table(
                title=f"{device}, batch size {settings.batch_size}, {settings.threads} threads",
                headings=("runtime", "p50", "p95", "peak memory"),
                rows=tuple(rows),
            ),
            *(Note(text=text, kind="warning") for text in result.warnings),
            _source(file, result.created),
        ]
    return tuple(blocks)


def _commands(card: Card) -> tuple[Block, ...]:
    manifest = card.manifest
    height, width = manifest.source.config.encoder.image_size
    words = [
        *("motivnet-export", "build", "--checkpoint", manifest.source.checkpoint or "CHECKPOINT"),
        *("--precision", manifest.precision, "--image-size", f"{height}x{width}"),
        *("--input", "image" if manifest.input.any_size else manifest.input.dtype),
    ]
    words += ["--purpose", manifest.purpose] if manifest.purpose else []
    lines = [
        shlex.join(words),
        f"motivnet verify {shlex.quote(card.name)}",
        *(
            shlex.join(["motivnet-bench", "accuracy", card.name, each.dataset, "--json"])
            if isinstance(each, AccuracyResult)
            else each.command_line
            for each in card.measured.values()
        ),
    ]
    tools = ", ".join(f"{name} {version}" for name, version in manifest.tools.items())
    return *(CommandLine(text=line) for line in lines if line), Note(text=f"Built with {tools}.")
