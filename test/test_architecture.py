"""Holds the walls of docs/architecture.md: who may import whom, where ROS and `print` live, no cycles.

The table is read from the page itself, so page and code cannot drift apart.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "monotakd_ros"
ROS_NAMES = frozenset(
    {
        "ament_index_python",
        "builtin_interfaces",
        "cv_bridge",
        "diagnostic_msgs",
        "diagnostic_updater",
        "geometry_msgs",
        "launch",
        "launch_ros",
        "message_filters",
        "nav_msgs",
        "rcl_interfaces",
        "rclpy",
        "rosbag2_py",
        "rosidl_runtime_py",
        "sensor_msgs",
        "sensor_msgs_py",
        "std_msgs",
        "std_srvs",
        "tf2_geometry_msgs",
        "tf2_msgs",
        "tf2_py",
        "tf2_ros",
        "vision_msgs",
        "visualization_msgs",
    }
)


def room_of(path: Path) -> str:
    """The room (folder) or single file that a module belongs to; "" for the package's own `__init__`."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem.removeprefix("__init__")


def imported_names(tree: ast.AST) -> list[str]:
    """Dotted names of everything a module imports, also inside functions; a relative import starts with a dot."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return names


MODULES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
ROOMS = sorted({room_of(path) for path in MODULES} - {""})


def rooms_imported_by(room: str) -> dict[str, set[str]]:
    """Other rooms that `room` imports, each with the files that do."""
    found: dict[str, set[str]] = {}
    for path, tree in MODULES.items():
        if room_of(path) != room:
            continue
        for name in imported_names(tree):
            parts = name.split(".")
            if parts[0] == "monotakd_ros" and parts[1] in ROOMS and parts[1] != room:
                found.setdefault(parts[1], set()).add(str(path.relative_to(REPOSITORY)))
    return found


def allowed_table() -> dict[str, set[str]]:
    """ "Who may import whom" of docs/architecture.md: room → rooms it may import (besides `errors`)."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Who may import whom")[1].split("\n## ")[0]
    table: dict[str, set[str]] = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 2:
            rooms, allowed = (set(re.findall(r"`(\w+)`", cell)) for cell in cells)
            table.update({room: allowed | {"errors"} for room in rooms})
    return table


def test_the_page_names_every_room() -> None:
    assert set(allowed_table()) >= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_page_allows(room: str) -> None:
    allowed = allowed_table()[room]
    broken = {other: sorted(files) for other, files in rooms_imported_by(room).items() if other not in allowed}
    assert not broken, f"{room} may import {sorted(allowed)}, but also imports {broken}"


def test_rooms_form_no_cycle() -> None:
    graph = {room: set(rooms_imported_by(room)) for room in ROOMS}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"rooms import each other in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", list(MODULES), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_keeps_the_house_rules(path: Path) -> None:
    tree, room = MODULES[path], room_of(path)
    names = imported_names(tree)
    assert not [name for name in names if name.startswith(".")], "imports are absolute"
    if room != "ros":
        assert not {name.split(".")[0] for name in names} & ROS_NAMES, "ROS is imported in ros/ only"
    if room != "cli":
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        assert not [call.lineno for call in calls if call.func.id == "print"], "print lives in cli/ only"
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    assert not [handler.lineno for handler in handlers if handler.type is None], "no bare except"
    assert ast.get_docstring(tree), "a module opens with what lives here"


def test_the_core_loads_where_ros_names_are_blocked() -> None:
    core = [path for path in MODULES if room_of(path) != "ros"]
    dotted = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__") for path in core]
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(ROS_NAMES)!r}))\n"  # None makes an import fail
        f"for name in {dotted!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
