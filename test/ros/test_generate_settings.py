"""Parameters of `generate_node`: what they ask for. Needs no ROS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from monotakd_ros.errors import ConfigError
from monotakd_ros.generation.settings import GenerationSettings
from monotakd_ros.provenance import usable_cores
from monotakd_ros.ros.detector_settings import DetectorSettings
from monotakd_ros.ros.generate_settings import GenerateSettings

COMPLETE = GenerateSettings(out="set", recordings=("a", ""), teacher="teacher.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out": ""}, "out: expected a folder"),
        ({"recordings": ("",)}, "recordings: expected at least one"),
        ({"teacher": ""}, "teacher: expected a checkpoint"),
        ({"mode": "live", "teacher": "", "assistant": "a.pt"}, "assistant: expected a teacher"),
    ],
)
def test_what_a_mode_needs(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(COMPLETE, **changes).require_complete()


def test_a_complete_request() -> None:
    COMPLETE.require_complete()
    replace(COMPLETE, mode="live", recordings=("",), teacher="").require_complete()
    request = replace(COMPLETE, points_topic="/lidar", calibration="calib.txt", rectify="never").request()
    assert (request.sources, request.out, request.assistant) == ((Path("a"),), Path("set"), None)
    assert request.settings == GenerationSettings()
    options = request.options
    assert (options.points_topic, options.image_topic, options.rectify) == ("/lidar", None, "never")
    assert options.calibration == Path("calib.txt") and options.read_cut


def test_settings_come_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("selection: {max_rate_hz: 5.0}\n")
    assert replace(COMPLETE, config=str(path)).request().settings.selection.max_rate_hz == 5.0
    with pytest.raises(ConfigError, match="cannot read"):
        replace(COMPLETE, config=str(tmp_path / "none.yaml")).request()


@pytest.mark.parametrize(("sees", "device"), [(True, "cuda"), (False, "cpu")])
def test_the_device_is_found_as_the_detector_finds_it(monkeypatch: pytest.MonkeyPatch, sees: bool, device: str) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: sees)
    assert COMPLETE.device == DetectorSettings().device == "auto"
    assert COMPLETE.request().device == device
    assert COMPLETE.workers == (1 if sees else usable_cores())
    assert replace(COMPLETE, device="cuda:1").request().device == "cuda:1"


def test_workers() -> None:
    assert replace(COMPLETE, device="cpu").workers == usable_cores()
    assert replace(COMPLETE, device="cuda").workers == 1
    assert replace(COMPLETE, device="cuda", jobs=2).workers == 2
