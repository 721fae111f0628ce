import pytest

from motivnet.errors import ConfigError, ProcessLostError, TrainingError, TrainingStoppedError
from motivnet_training.cli import _run_in_all_processes
from motivnet_training.devices import Devices, device_errors, is_first_process, open_fabric


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"RANK": "3", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "1"}, False),
    ],
)
def test_one_process_of_those_that_a_launcher_starts_speaks_for_all(
    environment: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (Devices(device="cuda"), "these devices are not available: "),
        (Devices(device="cpu", strategy="fsdp"), "these devices are not available: "),
    ],
)
def test_devices_that_are_not_there_are_one_line(devices: Devices, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_fabric(devices, "32-true")
    assert "\n" not in str(caught.value)


def test_half_precision_without_a_gpu_is_refused_and_not_replaced() -> None:
    with pytest.raises(ConfigError, match="16-mixed needs a GPU; use bf16-mixed or 32-true"):
        open_fabric(Devices(device="cpu"), "16-mixed")


def test_a_lost_connection_is_one_line_and_another_error_is_none_of_ours() -> None:
    gone = RuntimeError(
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer\nmore"
    )
    lost = pytest.raises(ProcessLostError, match="the 2 training processes lost each other")
    with lost as caught, device_errors(Devices(devices=2)):
        raise gone
    assert "\n" not in str(caught.value)
    for devices, error in (
        (Devices(), gone),
        (Devices(devices=2), RuntimeError("shapes do not fit")),
    ):
        with (
            pytest.raises(RuntimeError, match=str(error).splitlines()[0][-10:]),
            device_errors(devices),
        ):
            raise error


def raising(error: Exception):
    def train():
        raise error

    return train


@pytest.mark.parametrize(
    ("error", "status"),
    [(TrainingStoppedError("stopped", signal=15), 0), (ProcessLostError("lost"), 1)],
)
def test_the_other_processes_end_without_a_word_where_the_first_speaks(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit) as caught:
        _run_in_all_processes(raising(error))
    assert caught.value.code == status


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_only_one_process_knows_it_says_itself(
    rank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", rank)
    with pytest.raises(TrainingError, match="the loss became nan"):
        _run_in_all_processes(raising(TrainingError("the loss became nan")))
