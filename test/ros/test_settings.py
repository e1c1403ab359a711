"""Settings of nodes: checked, described, written out. Needs no ROS."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import yaml

from monotakd_ros.errors import ConfigError
from monotakd_ros.ros.settings import changed, commented_yaml, reference_table, setting, settings_of, type_name


@dataclass(frozen=True)
class Sample:
    rate: float = setting(0.5, "How often.", low=0, high=1, live=True)
    count: int = setting(3, "How many.", low=0)
    kind: str = setting("raw", "Which.", choices=("raw", "compressed"))
    names: tuple[str, ...] = setting(("",), "Who.")
    steps: tuple[float, ...] = setting((0.0, 1.0), "Where.", low=0)
    loud: bool = setting(True, "Whether.")

    def __post_init__(self) -> None:
        if self.count > 10 and self.rate > 0.9:
            raise ConfigError("count: expected at most 10 at this rate")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rate", 1.5, "rate: expected 0 to 1, got 1.5"),
        ("rate", float("nan"), "rate: expected 0 to 1, got nan"),
        ("rate", 1, "rate: expected double, got 1"),
        ("count", -1, "count: expected >= 0, got -1"),
        ("count", True, "count: expected integer, got True"),
        ("kind", "zip", "kind: expected raw | compressed, got 'zip'"),
        ("steps", (0.0, -1.0), "steps: expected >= 0"),
        ("names", "front", "names: expected string_array, got 'front'"),
    ],
)
def test_a_value_out_of_its_limits_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(Sample(), {name: value})
    assert str(caught.value).startswith(message)


def test_values_are_checked_together() -> None:
    assert changed(Sample(), {"count": 11}).count == 11
    with pytest.raises(ConfigError, match="at this rate"):
        changed(Sample(), {"count": 11, "rate": 0.95})


def test_a_change_leaves_the_snapshot_alone() -> None:
    before = Sample()
    assert changed(before, {"rate": 0.25}).rate == 0.25
    assert before.rate == 0.5
    assert changed(before, {}) == before


def test_the_commented_yaml_holds_the_defaults() -> None:
    read = yaml.safe_load(commented_yaml(Sample, "camera"))
    values = read["/**"]["ros__parameters"]
    assert {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()} == {
        name: default for name, (_, default) in settings_of(Sample).items()
    }


def test_the_reference_names_every_parameter_once() -> None:
    table = reference_table(Sample)
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == list(settings_of(Sample))
    assert "raw \\| compressed" in table
    assert type_name((0.0,)) == "double_array"
