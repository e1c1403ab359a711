"""Launch files load and describe every argument. Needs ROS's launch libraries; elsewhere skipped, visibly."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

LAUNCH_FILES = sorted((Path(__file__).resolve().parents[1] / "launch").glob("*.launch.py"))


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_a_launch_file_declares_and_describes_its_arguments(path: Path) -> None:
    pytest.importorskip("launch_ros", reason="launch files need ROS (launch, launch_ros)")
    spec = importlib.util.spec_from_file_location(path.name.split(".")[0], path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arguments = module.generate_launch_description().get_launch_arguments()
    assert arguments
    # launch itself appends what is allowed.
    described = {argument.name: argument.description.partition(" Valid choices are")[0] for argument in arguments}
    assert [name for name, text in described.items() if not text.endswith(".")] == []


def test_a_launch_file_is_valid_python() -> None:
    for path in LAUNCH_FILES:
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
