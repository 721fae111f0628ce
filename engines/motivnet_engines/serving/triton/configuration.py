"""Triton's configuration of each model of the repository, out of an artifact's manifest.

A model that takes pixels of any size is served alone. Of any other the preprocessing lies outside
the graph, and the repository holds three: one that makes the model's input of encoded images, the
model, and the ensemble of both, which is the one that clients call.
"""

from __future__ import annotations

from dataclasses import dataclass

from motivnet import strict_json
from motivnet.artifact.manifest import Manifest
from motivnet.runtime import TensorSpec
from motivnet_engines.runtimes.signature import input_specs, output_specs
from motivnet_engines.serving.triton.options import Choice, Device, TritonOptions
from motivnet_engines.serving.triton.text import Field, Message, Name, text_of_message

IMAGES = "image_file"
"""The ensemble's input: the bytes of JPEG, PNG, WebP or BMP files, ``(batch, 1)``."""

LABELS = "labels.txt"
INPUT_PARAMETER = "motivnet_input"
"""The key under which the preprocessing finds the manifest's input entry, as JSON."""

_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}
_KINDS: dict[Device, str] = {"auto": "KIND_AUTO", "gpu": "KIND_GPU", "cpu": "KIND_CPU"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The folders of the models: ``entry`` is what clients call, which is the ``model`` where nothing is outside."""

    entry: str
    model: str
    preprocess: str | None


def names_of_models(manifest: Manifest, options: TritonOptions) -> Names:
    """One model, or three."""
    if manifest.input.any_size:
        return Names(entry=options.name, model=options.name, preprocess=None)
    return Names(
        entry=options.name, model=f"{options.name}_model", preprocess=f"{options.name}_preprocess"
    )


def model_configuration(
    manifest: Manifest, choice: Choice, options: TritonOptions, names: Names
) -> str:
    """The text of the model's own ``config.pbtxt``."""
    message: Message = (
        ("name", names.model),
        *_backend(choice),
        ("max_batch_size", choice.max_batch),
        *(("input", _tensor(spec)) for spec in input_specs(manifest)),
        *_outputs(manifest),
        ("instance_group", _instances(options.instances, choice.device)),
        ("dynamic_batching", _batching(options)),
        *_arithmetic(manifest, choice),
        *_provenance(manifest, choice),
    )
    return text_of_message(message)


def preprocess_configuration(
    manifest: Manifest, choice: Choice, options: TritonOptions, names: Names
) -> str:
    """The text of the preprocessing's ``config.pbtxt``.

    Its instances take requests one by one: decoding gains nothing from a batch, and a bad image is
    its request's own.
    """
    [spec] = input_specs(manifest)
    entry = strict_json.dumps(manifest.input).decode()
    message: Message = (
        ("name", names.preprocess or ""),
        ("backend", "python"),
        ("max_batch_size", choice.max_batch),
        ("input", _images()),
        ("output", _tensor(spec)),
        ("instance_group", _instances(options.preprocess_instances, "cpu")),
        _parameter(INPUT_PARAMETER, entry),
    )
    return text_of_message(message)


def ensemble_configuration(manifest: Manifest, choice: Choice, names: Names) -> str:
    """The text of the ensemble's ``config.pbtxt``: images, preprocessing, model, outputs."""
    tensor = manifest.input.name
    preprocess = _step(names.preprocess or "", inputs={IMAGES: IMAGES}, outputs={tensor: tensor})
    model = _step(
        names.model, inputs={tensor: tensor}, outputs={name: name for name in manifest.outputs}
    )
    message: Message = (
        ("name", names.entry),
        ("platform", "ensemble"),
        ("max_batch_size", choice.max_batch),
        ("input", _images()),
        *_outputs(manifest),
        ("ensemble_scheduling", (("step", preprocess), ("step", model))),
    )
    return text_of_message(message)


def _backend(choice: Choice) -> Message:
    if choice.engine is None:
        return ("backend", "onnxruntime"), ("default_model_filename", "model.onnx")
    return ("platform", "tensorrt_plan"), ("default_model_filename", "model.plan")


def _tensor(spec: TensorSpec, *more: Field) -> Message:
    """Triton's dimensions are those after the batch, with -1 for a free one."""
    dims = [-1 if side is None else side for side in spec.shape[1:]]
    return ("name", spec.name), ("data_type", Name(_TYPES[spec.dtype])), ("dims", dims), *more


def _images() -> Message:
    return ("name", IMAGES), ("data_type", Name("TYPE_STRING")), ("dims", [1])


def _outputs(manifest: Manifest) -> Message:
    """With the labels beside the logits, for clients that ask for Triton's classification."""
    labels: dict[str, Message] = {"logits": (("label_filename", LABELS),)}
    return tuple(
        ("output", _tensor(spec, *labels.get(spec.name, ()))) for spec in output_specs(manifest)
    )


def _instances(count: int, device: Device) -> Message:
    return ("count", count), ("kind", Name(_KINDS[device]))


def _batching(options: TritonOptions) -> Message:
    policy: Message = (("timeout_action", Name("REJECT")), ("max_queue_size", options.max_queue))
    return ("max_queue_delay_microseconds", options.max_queue_delay_us), (
        "default_queue_policy",
        policy,
    )


def _arithmetic(manifest: Manifest, choice: Choice) -> Message:
    """Without TF32: an FP32 graph is computed in float32, as its parity report says."""
    if choice.engine is not None or choice.device == "cpu" or manifest.precision != "fp32":
        return ()
    setting: Message = (("key", "use_tf32"), ("value", "0"))
    accelerator: Message = (("name", "cuda"), ("parameters", setting))
    return (
        (
            "optimization",
            (("execution_accelerators", (("gpu_execution_accelerator", accelerator),)),),
        ),
    )


def _provenance(manifest: Manifest, choice: Choice) -> Message:
    """For people: Triton shows parameters in a model's configuration and leaves those alone that it does not know."""
    file = manifest.entry(manifest.model if choice.engine is None else choice.engine.path)
    found = {"motivnet_sha256": file.sha256, "motivnet_precision": manifest.precision}
    if choice.engine is not None:
        found["motivnet_tensorrt"] = choice.engine.version
        found["motivnet_gpu"] = choice.engine.device.name if choice.engine.device else "unknown"
        if manifest.input.any_size:
            # The dimensions of -1 say nothing of the sizes that the plan was built for.
            smallest, largest = choice.engine.profile.min_size, choice.engine.profile.max_size
            found["motivnet_min_size"], found["motivnet_max_size"] = map(
                "{0[0]}x{0[1]}".format, (smallest, largest)
            )
    return tuple(_parameter(key, value) for key, value in found.items())


def _parameter(key: str, value: str) -> Field:
    return "parameters", (("key", key), ("value", (("string_value", value),)))


def _step(model: str, *, inputs: dict[str, str], outputs: dict[str, str]) -> Message:
    maps: Message = tuple(
        (field, (("key", key), ("value", value)))
        for field, tensors in (("input_map", inputs), ("output_map", outputs))
        for key, value in tensors.items()
    )
    return ("model_name", model), ("model_version", -1), *maps
