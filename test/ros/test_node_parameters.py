"""Parameter files and the docs say what the settings say. Needs no ROS."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from monotakd_ros.ros.settings import settings_of
from monotakd_ros.ros.tally import Outcome


@pytest.fixture(scope="module")
def writer(repository: Path) -> ModuleType:
    """tools/write_node_parameters.py."""
    spec = importlib.util.spec_from_file_location("writer", repository / "tools" / "write_node_parameters.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_those_that_the_settings_make(writer: ModuleType) -> None:
    stale = [path.name for path, text in writer.contents().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run tools/write_node_parameters.py"


def test_every_node_with_settings_has_a_file_that_ros_can_read(writer: ModuleType, repository: Path) -> None:
    for file, _, kind in writer.NODES.values():
        read = yaml.safe_load((repository / file).read_text(encoding="utf-8"))
        assert list(read["/**"]["ros__parameters"]) == list(settings_of(kind))


def test_a_page_without_marks_is_an_error(writer: ModuleType) -> None:
    with pytest.raises(ValueError, match="the page of detector lacks the marks"):
        writer.with_table("a page", "detector", "a table")


def test_the_page_explains_every_outcome_that_is_counted(repository: Path) -> None:
    page = (repository / "docs" / "ros.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `([a-z ]+)` \|", page, re.M))
    assert {name.replace("_", " ") for name in Outcome.__args__} <= told  # type: ignore[attr-defined]
