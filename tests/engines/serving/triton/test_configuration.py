from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from motivnet.artifact import Artifact, open_artifact
from motivnet.config import ModelConfig
from motivnet.errors import ConfigError
from motivnet_engines.runtimes.cuda_provider import cuda_provider_options
from motivnet_engines.runtimes.fake import fake_manifest
from motivnet_engines.serving.triton import TritonOptions, export_triton
from motivnet_engines.serving.triton.configuration import Choice, Device, model_configuration

# What ONNX Runtime calls a type, what Triton's configuration calls it.
TYPES = {"tensor(float)": "TYPE_FP32", "tensor(uint8)": "TYPE_UINT8"}


def tensors(described: Any) -> list[tuple[str, str, list[int]]]:
    return [
        (one.name, model_config_pb2.DataType.Name(one.data_type), list(one.dims))
        for one in described
    ]


def tensors_of_graph(nodes: Any) -> list[tuple[str, str, list[int]]]:
    return [
        (n.name, TYPES[n.type], [side if isinstance(side, int) else -1 for side in n.shape[1:]])
        for n in nodes
    ]


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("form", ["float32", "uint8", "image"])
def test_the_configuration_of_the_model_is_that_of_the_graph(
    parsed, form: str, artifact_of_input, tmp_path: Path
) -> None:
    repository = export_triton(artifact_of_input(form), tmp_path / "models")
    model = "motivnet" if form == "image" else "motivnet_model"
    configuration = parsed(repository, model)
    graph = session(repository / model / "1" / "model.onnx")
    assert configuration.name == model
    assert configuration.backend == "onnxruntime"
    assert tensors(configuration.input) == tensors_of_graph(graph.get_inputs())
    assert tensors(configuration.output) == tensors_of_graph(graph.get_outputs())
    assert all(
        not isinstance(node.shape[0], int) for node in graph.get_inputs()
    )  # Triton's batches vary


def test_batching_and_instances_come_from_the_manifest_and_the_options(
    parsed, fp32_artifact: Path, tmp_path: Path
) -> None:
    options = TritonOptions(
        max_batch=3, instances=2, preprocess_instances=5, max_queue_delay_us=700, max_queue=9
    )
    repository = export_triton(fp32_artifact, tmp_path / "models", options=options)
    model = parsed(repository, "motivnet_model")
    assert model.max_batch_size == 3
    assert model.dynamic_batching.max_queue_delay_microseconds == 700
    assert model.dynamic_batching.default_queue_policy.max_queue_size == 9
    [group] = model.instance_group
    assert (group.count, group.kind) == (2, model_config_pb2.ModelInstanceGroup.KIND_AUTO)
    [group] = parsed(repository, "motivnet_preprocess").instance_group
    assert (group.count, group.kind) == (5, model_config_pb2.ModelInstanceGroup.KIND_CPU)


def test_the_batch_is_the_manifests_without_an_option(
    parsed, fp32_artifact: Path, tmp_path: Path
) -> None:
    repository = export_triton(fp32_artifact, tmp_path / "models")
    largest = open_artifact(fp32_artifact).manifest.max_batch
    sizes = {
        parsed(repository, model.name).max_batch_size
        for model in repository.iterdir()
        if model.is_dir()
    }
    assert sizes == {largest}


def test_the_ensemble_joins_the_preprocessing_and_the_model(
    parsed, fp32_artifact: Path, tmp_path: Path
) -> None:
    repository = export_triton(fp32_artifact, tmp_path / "models")
    ensemble, model = parsed(repository, "motivnet"), parsed(repository, "motivnet_model")
    preprocess = parsed(repository, "motivnet_preprocess")
    first, second = ensemble.ensemble_scheduling.step
    assert (first.model_name, second.model_name) == ("motivnet_preprocess", "motivnet_model")
    assert (first.model_version, second.model_version) == (-1, -1)
    # Every input of a step is fed, by the ensemble's own input or by an output of the step before.
    assert dict(first.input_map) == {one.name: ensemble.input[0].name for one in preprocess.input}
    assert dict(second.input_map) == {one.name: first.output_map[one.name] for one in model.input}
    assert sorted(second.output_map.values()) == sorted(one.name for one in ensemble.output)
    assert tensors(preprocess.output) == tensors(model.input)
    assert tensors(ensemble.output) == tensors(model.output)
    assert tensors(ensemble.input) == [("image_file", "TYPE_STRING", [1])]
    assert ensemble.WhichOneof("scheduling_choice") == "ensemble_scheduling"


def test_labels_lie_beside_the_logits_in_output_order(
    parsed, fp32_artifact: Path, tmp_path: Path
) -> None:
    repository = export_triton(fp32_artifact, tmp_path / "models")
    labels = open_artifact(fp32_artifact).manifest.labels
    for model in ("motivnet", "motivnet_model"):
        files = {one.name: one.label_filename for one in parsed(repository, model).output}
        assert files == {"logits": "labels.txt", "embedding": ""}
        assert tuple((repository / model / "labels.txt").read_text().splitlines()) == labels


def test_a_graph_that_resizes_is_served_alone(artifact_of_input, tmp_path: Path) -> None:
    repository = export_triton(artifact_of_input("image"), tmp_path / "models")
    assert [path.name for path in sorted(repository.iterdir()) if path.is_dir()] == ["motivnet"]


def test_an_engine_is_served_as_a_plan_on_gpus(
    parsed, own_engine_artifact: Artifact, tmp_path: Path
) -> None:
    repository = export_triton(own_engine_artifact, tmp_path / "models")
    configuration = parsed(repository, "motivnet_model")
    assert (configuration.platform, configuration.default_model_filename) == (
        "tensorrt_plan",
        "model.plan",
    )
    assert configuration.max_batch_size == 2  # the engine's, not the graph's 8
    assert configuration.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    assert configuration.parameters["motivnet_gpu"].string_value == "NVIDIA L4"
    assert (repository / "motivnet_model" / "1" / "model.plan").read_bytes() == (
        own_engine_artifact.folder / "model.tensorrt.engine"
    ).read_bytes()


def test_an_engine_for_any_size_says_which_sizes_it_was_built_for(
    parsed, own_engine_artifact: Artifact, tmp_path: Path
) -> None:
    [engine] = own_engine_artifact.manifest.engines
    profile = msgspec.structs.replace(
        engine.profile, min_size=(32, 24), opt_size=(128, 96), max_size=(2160, 3840)
    )
    manifest = msgspec.structs.replace(
        own_engine_artifact.manifest,
        engines=(msgspec.structs.replace(engine, profile=profile),),
        input=msgspec.structs.replace(
            own_engine_artifact.manifest.input, dtype="uint8", any_size=True
        ),
    )
    repository = export_triton(
        dataclasses.replace(own_engine_artifact, manifest=manifest), tmp_path / "models"
    )
    configuration = parsed(repository, "motivnet")
    assert list(configuration.input[0].dims) == [-1, -1, 3]
    sizes = [
        configuration.parameters[f"motivnet_{bound}_size"].string_value for bound in ("min", "max")
    ]
    assert sizes == ["32x24", "2160x3840"]


def test_the_graph_of_an_artifact_with_an_engine_is_served_where_asked(
    parsed, own_engine_artifact: Artifact, tmp_path: Path
) -> None:
    repository = export_triton(
        own_engine_artifact, tmp_path / "models", options=TritonOptions(form="onnx")
    )
    assert parsed(repository, "motivnet_model").backend == "onnxruntime"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tritons_cuda_computes_as_our_own_runtime_does(
    parsed, precision: str, request, tmp_path: Path
) -> None:
    artifact = open_artifact(request.getfixturevalue(f"{precision}_artifact"))
    repository = export_triton(artifact, tmp_path / "models")
    [cuda] = parsed(
        repository, "motivnet_model"
    ).optimization.execution_accelerators.gpu_execution_accelerator
    assert cuda.name == "cuda"
    assert dict(cuda.parameters) == cuda_provider_options(artifact.manifest)
    assert cuda.parameters["use_tf32"] == "0"


@pytest.mark.parametrize(("device", "kernels"), [("auto", ["16"]), ("gpu", ["16"]), ("cpu", [])])
def test_heads_that_the_fused_kernel_computes_wrongly_get_the_plain_one(
    device: Device, kernels: list[str]
) -> None:
    manifest = msgspec.structs.replace(
        fake_manifest(ModelConfig.named("sapiens-0.3b")), attention="fused", precision="fp16"
    )
    choice = Choice(
        manifest=manifest, options=TritonOptions(), engine=None, max_batch=8, device=device
    )
    found = text_format.Parse(model_configuration(choice), model_config_pb2.ModelConfig())
    accelerators = found.optimization.execution_accelerators.gpu_execution_accelerator
    assert [one.parameters["sdpa_kernel"] for one in accelerators] == kernels


def test_a_bf16_graph_runs_on_gpus_alone(parsed, bf16_artifact: Path, tmp_path: Path) -> None:
    repository = export_triton(bf16_artifact, tmp_path / "models")
    kind = parsed(repository, "motivnet_model").instance_group[0].kind
    assert kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    with pytest.raises(ConfigError, match="a bf16 graph runs on GPUs alone"):
        export_triton(bf16_artifact, tmp_path / "models", options=TritonOptions(device="cpu"))


def test_text_with_every_kind_of_character_survives_tritons_own_parser() -> None:
    from motivnet_engines.serving.triton.configuration import text_of_message

    value = "".join(map(chr, range(1, 0x250))) + '\U0001f600 "quoted" \\ back\nslash'
    text = text_of_message({"name": value})
    parsed_back = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert parsed_back.name == value
