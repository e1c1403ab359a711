"""ROS's own linters pass; skipped, visibly, where ROS is not sourced. The licence is in LICENSE, not in each file."""

from __future__ import annotations

from pathlib import Path

import pytest

SOURCES = ("monotakd_ros", "launch", "scripts", "setup.py")
NOT_OURS = ["D102", "D105", "D107", "D402", "D403"]
"""Docstrings of obvious methods, of dunders, of __init__ (its arguments are the class's); names in lower case."""


def test_flake8(repository: Path) -> None:
    lint = pytest.importorskip("ament_flake8.main", reason="needs a sourced ROS 2 (ament_flake8)")
    paths = [str(repository / name) for name in SOURCES]
    code, errors = lint.main_with_errors(argv=["--config", str(repository / "setup.cfg"), *paths])
    assert code == 0, "\n".join(errors)


def test_pep257(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lint = pytest.importorskip("ament_pep257.main", reason="needs a sourced ROS 2 (ament_pep257)")
    options = ["--convention", "google", "--add-ignore", *NOT_OURS, "--"]
    assert lint.main([*options, str(repository / "monotakd_ros")]) == 0, capsys.readouterr().err


def test_package_xml(repository: Path) -> None:
    package = pytest.importorskip("catkin_pkg.package", reason="needs catkin_pkg, which comes with ROS 2")
    warnings: list[str] = []
    read = package.parse_package(str(repository), warnings=warnings)
    assert (read.name, warnings) == ("monotakd_ros", [])
