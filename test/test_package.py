"""What an installation contains: package.xml, wheel and setup.py agree, and every shared file arrives."""

from __future__ import annotations

import importlib.util
import os
import re
import stat
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import monotakd_ros
from monotakd_ros.cli.main import VERBS
from monotakd_ros.data.bag_writer import IMAGE_TOPIC, POINTS_TOPIC
from monotakd_ros.replay.detection_bag import MARKERS_TOPIC


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of the tracked files, built away from the checkout so that nothing is left in it."""
    if not (find_spec("setuptools.command.bdist_wheel") or find_spec("wheel")):
        pytest.skip("building needs setuptools >= 70.1, or the wheel package")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        origin, copy = repository / name, source / name
        if origin.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(origin.read_bytes())
            copy.chmod(origin.stat().st_mode)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(out), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def data_files(wheel: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Files that go below the prefix, by their path there."""
    infos = (info for info in wheel.infolist() if ".data/data/" in info.filename)
    return {info.filename.split(".data/data/")[1]: info for info in infos}


def test_package_xml_is_format_3_and_builds_with_ament_python(repository: Path) -> None:
    root = ElementTree.parse(repository / "package.xml").getroot()
    assert root.get("format") == "3"
    assert root.findtext("name") == "monotakd_ros"
    assert root.findtext("license") == "Apache-2.0"
    assert root.findtext("export/build_type") == "ament_python"
    keys = [element.text for tag in ("exec_depend", "test_depend") for element in root.iter(tag)]
    assert len(keys) == len(set(keys))
    assert {"rclpy", "vision_msgs", "python3-numpy", "python3-pytest"} <= set(keys)


def test_versions_agree(repository: Path) -> None:
    """The version is written where colcon, pip and Python each look for it."""
    version = monotakd_ros.__version__
    assert ElementTree.parse(repository / "package.xml").getroot().findtext("version") == version
    assert re.search(r'version="(.+?)"', (repository / "setup.py").read_text())[1] == version
    assert re.search(r"^version: (.+)$", (repository / "CITATION.cff").read_text(), re.M)[1] == version
    assert version in (repository / "CHANGELOG.rst").read_text()


def test_the_wheel_holds_every_room(wheel: zipfile.ZipFile, repository: Path) -> None:
    names = set(wheel.namelist())
    modules = {str(path.relative_to(repository)) for path in (repository / "monotakd_ros").rglob("*.py")}
    assert modules <= names
    templates = {path for pattern in ("*.j2", "*.css") for path in (repository / "monotakd_ros").rglob(pattern)}
    assert templates
    assert {str(path.relative_to(repository)) for path in templates} <= names
    assert not [name for name in names if name.startswith(("test/", "tools/", "benchmarks/"))]


def test_the_wheel_holds_launch_config_rviz_models_and_the_ament_index(
    wheel: zipfile.ZipFile, repository: Path
) -> None:
    installed = set(data_files(wheel))
    assert "share/ament_index/resource_index/packages/monotakd_ros" in installed
    assert "share/monotakd_ros/package.xml" in installed
    for pattern in ("launch/*.launch.py", "config/*.yaml", "config/*.rviz", "models/*.yaml", "models/*.pt"):
        for path in repository.glob(pattern):
            assert f"share/monotakd_ros/{path.relative_to(repository)}" in installed


def node_scripts(repository: Path) -> list[Path]:
    """The executables that are no verbs."""
    return [path for path in (repository / "scripts").iterdir() if path.is_file() and path.name not in VERBS]


def test_every_verb_and_node_is_an_executable_for_ros2_run(wheel: zipfile.ZipFile, repository: Path) -> None:
    scripts = {name: info for name, info in data_files(wheel).items() if name.startswith("lib/monotakd_ros/")}
    names = [*VERBS, *(path.name for path in node_scripts(repository))]
    assert set(scripts) == {f"lib/monotakd_ros/{name}" for name in names}
    for info in scripts.values():
        assert wheel.read(info).startswith(b"#!/usr/bin/env python3\n")
        assert (info.external_attr >> 16) & stat.S_IXUSR


def test_the_command_is_installed(wheel: zipfile.ZipFile) -> None:
    entry_points = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "monotakd = monotakd_ros.cli.main:main" in wheel.read(entry_points).decode()


def test_a_script_runs_its_verb(repository: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    command = [sys.executable, str(repository / "scripts" / "replay"), "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: monotakd replay")


def test_each_script_names_its_own_verb(repository: Path) -> None:
    for verb in VERBS:
        assert f'main(["{verb}", *sys.argv[1:]])' in (repository / "scripts" / verb).read_text()


def test_each_other_script_runs_the_node_of_its_name(repository: Path) -> None:
    nodes = node_scripts(repository)
    assert {"detector_node"} <= {path.name for path in nodes}
    for path in nodes:
        assert (repository / "monotakd_ros" / "ros" / f"{path.name}.py").is_file()
        assert f"from monotakd_ros.ros.{path.name} import main" in path.read_text()


def test_rviz_shows_the_topics_that_replay_writes(repository: Path) -> None:
    config = yaml.safe_load((repository / "config" / "recorded.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    shown = {display["Class"].split("/")[1]: display.get("Topic", {}).get("Value") for display in displays}
    assert shown["MarkerArray"] == MARKERS_TOPIC
    assert shown["PointCloud2"] == POINTS_TOPIC
    assert shown["Image"] == f"{IMAGE_TOPIC}/compressed"
    assert "TF" in shown


def test_rviz_configs_are_those_that_the_tool_writes(repository: Path) -> None:
    spec = importlib.util.spec_from_file_location("write_rviz", repository / "tools" / "write_rviz.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    found = {path.stem: path.read_text(encoding="utf-8") for path in (repository / "config").glob("*.rviz")}
    assert found == {name: tool.text_of(content) for name, content in tool.configs().items()}
