"""Settings from YAML, strictly, and as plain values for checkpoints.

An unknown key, a wrong type or a value out of range is a `ConfigError` that names the key path. A checkpoint stores the
same structure (`to_dict`, `from_dict`), so that it needs no other file.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from monotakd_ros.config import Config
from monotakd_ros.errors import ConfigError

Settings = TypeVar("Settings")


def load_config(path: Path | str, *overlays: Path | str) -> Config:
    """Read a YAML file, and others on top that change some of its settings.

    Args:
        path: a whole config.
        overlays: mappings of the same structure, e.g. those of `config/recipes`; what they name replaces what was
            there, key by key, the last one wins.

    Raises:
        ConfigError: a file is missing or no YAML mapping, a key is unknown, a value of the wrong type or range.
    """
    return load_settings(Config, path, *overlays)


def load_settings(cls: type[Settings], path: Path | str, *overlays: Path | str) -> Settings:
    """As `load_config`, for any config dataclass.

    Raises:
        ConfigError: as `load_config`.
    """
    files = [Path(path), *map(Path, overlays)]
    data: Any = _read(files[0])
    for file in files[1:]:
        data = _merged(data, _read(file))
    try:
        return from_dict(cls, data)
    except ConfigError as error:
        raise ConfigError(f"{' with '.join(map(str, files))}: {error}") from error


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the config: {error}") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error


def _merged(below: Any, above: Any) -> Any:
    """`above` laid over `below`: mappings key by key, anything else replaces what was there."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _merged(below[key], value) if key in below else value for key, value in above.items()}


def to_dict(config: Any) -> dict[str, Any]:
    """A plain nested dict of a config dataclass (lists instead of tuples), as stored in YAML and checkpoints."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value

    return plain(dataclasses.asdict(config))


def from_dict(cls: type, data: Any, key: str = "") -> Any:
    """Build a config dataclass from a nested dict, strictly.

    Args:
        cls: one of the dataclasses above.
        data: a mapping of its fields; missing ones take their default.
        key: path of `data` in the whole file, for messages.

    Raises:
        ConfigError: unknown or missing key, wrong type, value out of range.
    """
    where = key or "top level"
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping of {cls.__name__}, got {type(data).__name__}")
    fields = {item.name: item for item in dataclasses.fields(cls)}
    for name in data:
        if name not in fields:
            close = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown key '{name}'{hint}")
    hints = typing.get_type_hints(cls)
    values = {name: _parse(hints[name], value, f"{key}.{name}" if key else str(name)) for name, value in data.items()}
    for name, item in fields.items():
        no_default = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if no_default and name not in values:
            raise ConfigError(f"{where}: missing key '{name}'")
    return cls(**values)


def _parse(hint: Any, value: Any, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, key)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value is False and "off" in args:  # YAML 1.1 reads a bare `off` so
            value = "off"
        if value in args:
            return value
        raise ConfigError(f"{key}: expected one of {', '.join(map(repr, args))}, got {value!r}")
    if origin in (typing.Union, types.UnionType):
        inner = next(arg for arg in args if arg is not type(None))
        return None if value is None else _parse(inner, value, key)
    if origin is tuple:
        return _parse_tuple(args, value, key)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{key}: expected a finite number, got {value}")
        return float(value)
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    raise ConfigError(f"{key}: expected {hint.__name__}, got {type(value).__name__} {value!r}")


def _parse_tuple(args: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{key}: expected a list, got {type(value).__name__} {value!r}")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_parse(args[0], item, f"{key}[{index}]") for index, item in enumerate(value))
    if len(value) != len(args):
        raise ConfigError(f"{key}: expected {len(args)} values, got {len(value)}")
    return tuple(_parse(arg, item, f"{key}[{index}]") for index, (arg, item) in enumerate(zip(args, value)))
