"""Launch files load and describe every argument. Needs ROS's launch libraries; elsewhere skipped, visibly."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

LAUNCH_FILES = sorted((Path(__file__).resolve().parents[1] / "launch").glob("*.launch.py"))


def loaded(path: Path) -> ModuleType:
    """A launch file as a module."""
    pytest.importorskip("launch_ros", reason="launch files need ROS (launch, launch_ros)")
    spec = importlib.util.spec_from_file_location(path.name.split(".")[0], path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_a_launch_file_declares_and_describes_its_arguments(path: Path) -> None:
    arguments = loaded(path).generate_launch_description().get_launch_arguments()
    assert arguments
    # launch itself appends what is allowed.
    described = {argument.name: argument.description.partition(" Valid choices are")[0] for argument in arguments}
    assert [name for name, text in described.items() if not text.endswith(".")] == []


@pytest.mark.parametrize(
    ("camera", "image", "info", "expected"),
    [
        ("", "", "", []),
        ("", "picture", "", [("image", "picture")]),
        ("", "/cam/image_raw", "", [("image", "/cam/image_raw"), ("camera_info", "/cam/camera_info")]),
        ("", "/cam/im/compressed", "", [("image", "/cam/im/compressed"), ("camera_info", "/cam/camera_info")]),
        ("", "/cam/image", "/info", [("image", "/cam/image"), ("camera_info", "/info")]),
        ("front", "image_rect", "", [("front/image", "front/image_rect")]),
    ],
)
def test_inputs_of_the_detector_are_remapped(
    repository: Path, camera: str, image: str, info: str, expected: list[tuple[str, str]]
) -> None:
    module = loaded(repository / "launch" / "detector.launch.py")
    assert module.input_remappings(camera, {"image": image, "camera_info": info}) == expected


def test_reliability_is_that_of_the_resolved_topic(repository: Path) -> None:
    module = loaded(repository / "launch" / "detector.launch.py")
    value = {"namespace": "/car/", "image_reliability": "reliable"}
    names = ("/car/image", "/car/image/compressed")
    assert module.reliability_of("image", value) == {
        f"qos_overrides.{name}.subscription.reliability": "reliable" for name in names
    }
    assert list(module.reliability_of("/cam/im/compressed", {**value, "namespace": ""})) == [
        "qos_overrides./cam/im/compressed.subscription.reliability"
    ]


def test_a_bag_tells_its_image_topic(repository: Path, tmp_path: Path) -> None:
    module = loaded(repository / "launch" / "replay.launch.py")
    raw, compressed = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
    assert module.image_topic({"/a/image/compressed": compressed, "/x": "std_msgs/msg/String"}, "") == (
        "/a/image",
        "compressed",
    )
    assert module.image_topic({"/a/image": raw, "/a/image/compressed": compressed}, "") == ("/a/image", "raw")
    assert module.image_topic({"/a/image": raw, "/annotated_image": raw}, "") == ("/a/image", "raw")
    assert module.image_topic({"/a/image": raw, "/b/image": raw}, "/b/image") == ("/b/image", "raw")
    for topics, wanted in (({"/a/image": raw, "/b/image": raw}, ""), ({}, ""), ({"/a/image": raw}, "/b/image")):
        with pytest.raises(RuntimeError, match="image: expected one of the bag's image topics"):
            module.image_topic(topics, wanted)
    with pytest.raises(RuntimeError, match=r"metadata\.yaml"):
        module.bag_topics(tmp_path)


def test_a_launch_file_is_valid_python() -> None:
    for path in LAUNCH_FILES:
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
