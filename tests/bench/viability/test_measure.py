from __future__ import annotations

import pytest

from motivnet import schema
from motivnet.errors import CheckpointError, ConfigError
from motivnet_bench.viability.measure import ViabilityOptions, folder_names, measure_viability
from motivnet_bench.viability.result import ViabilityResult


def test_a_run_has_all_criteria(viability_result):
    model, data = viability_result.model, viability_result.data
    assert [each.metrics.images for each in viability_result.performance] == [12]
    assert model.bit_equal == 1.0
    assert (data.data.images, data.reference.images, data.dimensions) == (12, 9, 96)
    assert list(data.reference.unreadable) == ["3.png"]
    assert data.frechet.value > data.mean_distance > 0
    assert 0 < data.alignment.value < 1


def test_a_folder_beside_itself_is_at_distance_0(source, faces):
    options = ViabilityOptions(data=faces, reference=faces, resamples=20, device="cpu")
    found = measure_viability(source, options)
    assert found.data.frechet.value == pytest.approx(0.0, abs=1e-9)
    assert found.data.alignment.value == pytest.approx(1.0)
    assert (found.performance, found.model) == ((), None)


def test_the_same_run_gives_the_same_intervals(viability_result, source, faces, noise):
    options = ViabilityOptions(
        data=faces, reference=noise, resamples=20, batch_size=5, device="cpu"
    )
    assert measure_viability(source, options).data == viability_result.data


def test_a_result_comes_back_the_same_from_its_json(viability_result):
    assert schema.decode(schema.encode(viability_result), ViabilityResult) == viability_result


def test_an_encoder_alone_is_not_measured(source, faces, change):
    alone = change(source, fresh_head=True)
    with pytest.raises(CheckpointError, match="holds an encoder alone"):
        measure_viability(alone, ViabilityOptions(tests=(faces,)))


def test_folders_of_one_name_are_told_apart_by_the_folders_above(tmp_path):
    first, second = tmp_path / "a" / "val", tmp_path / "b" / "val"
    assert folder_names([first, second]) == ("a/val", "b/val")
    assert folder_names([first, first]) == ("val", "val")
    assert folder_names([]) == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "nothing to measure"),
        ({"data": "a"}, "--data and --reference go together"),
        ({"reference": "a"}, "--data and --reference go together"),
        ({"encoder": "a", "batch_size": 0}, "--batch-size"),
        ({"encoder": "a", "threads": 0}, "--threads"),
        ({"encoder": "a", "seed": -1}, "--seed"),
        ({"encoder": "a", "limit": 1}, "--limit must be at least 2"),
        ({"encoder": "a", "resamples": 19}, "--resamples must be at least 20"),
    ],
)
def test_options_without_sense_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        ViabilityOptions(**options)
