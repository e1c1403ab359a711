"""Finds the files that come with the package (config, launch, models) and vouches for the weights among them.

One rule covers a source checkout, `pip install` (with or without `-e`, `--user`, `--prefix`) and a colcon workspace:
the files are beside the package, or in the `share/monotakd_ros` of the prefix that holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from monotakd_ros.config_file import from_dict
from monotakd_ros.errors import CheckpointError, ConfigError

Kind = Literal["config", "launch", "models"]


@dataclass(frozen=True)
class Score:
    """One held-out figure, e.g. metric "Car AP3D R40 IoU 0.7 moderate", value in percent."""

    metric: str
    value: float


@dataclass(frozen=True)
class HeldOut:
    """What the weights were judged on: data they never saw."""

    source: str
    seeds: tuple[int, ...]
    frames: int
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class ShippedCheckpoint:
    """One weights file of `models/` as `manifest.yaml` describes it.

    Attributes:
        file: name inside `models/`.
        sha256: of the file, 64 hexadecimal digits.
        kind: which network.
        config: the file of `config/` it was trained with (the checkpoint carries a copy).
        licence: SPDX identifier.
        training_data: what it was trained on, in words.
        training_seeds: simulator seeds of the training drives.
        command: what makes it again.
        held_out: score on data it never saw.
    """

    file: str
    sha256: str
    kind: Literal["student", "assistant", "teacher"]
    config: str
    licence: str
    training_data: str
    training_seeds: tuple[int, ...]
    command: str
    held_out: HeldOut


@dataclass(frozen=True)
class Manifest:
    """All of `models/manifest.yaml`; `default` is the file that commands use when none is named."""

    default: str | None
    checkpoints: tuple[ShippedCheckpoint, ...] = ()


def shipped_path(kind: Kind, name: str) -> Path:
    """Path of a file that comes with the package, e.g. `shipped_path("config", "student_small.yaml")`.

    Raises:
        ConfigError: no such file in any place where an installation puts it.
    """
    searched = [root / kind for root in _roots()]
    for folder in searched:
        if (folder / name).is_file():
            return folder / name
    places = ", ".join(map(str, searched)) or "no share/monotakd_ros beside the installed package"
    raise ConfigError(f"{kind}/{name} does not come with this installation (looked in: {places})")


def recipe_path(name: str | Path) -> Path:
    """A file of settings to lay over a config: a path as it is, or the shipped recipe of that name.

    Raises:
        ConfigError: no shipped recipe has that name; lists them.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name)
    known = sorted(path.stem for root in _roots() for path in (root / "config" / "recipes").glob("*.yaml"))
    if str(name) not in known:
        raise ConfigError(f"recipe {name}: expected a YAML file or one of {', '.join(known) or 'none shipped here'}")
    return shipped_path("config", f"recipes/{name}.yaml")


def load_manifest(path: Path | None = None) -> Manifest:
    """Read `models/manifest.yaml` (the shipped one by default), strictly.

    Raises:
        ConfigError: missing file, unknown or missing key, wrong type.
    """
    path = shipped_path("models", "manifest.yaml") if path is None else path
    try:
        return from_dict(Manifest, yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def default_checkpoint() -> Path:
    """The shipped weights that commands use when no checkpoint is named, with their checksum verified.

    Raises:
        ConfigError: the manifest is missing or malformed.
        CheckpointError: nothing is shipped, the file is missing, or its content is not what the manifest vouches for.
    """
    manifest_path = shipped_path("models", "manifest.yaml")
    manifest = load_manifest(manifest_path)
    entry = next((item for item in manifest.checkpoints if item.file == manifest.default), None)
    if entry is None:
        raise CheckpointError(
            f"{manifest_path}: this version ships no default weights (default: {manifest.default}); name a "
            "checkpoint, e.g. one made by `monotakd train student`"
        )
    return _verified(manifest_path, entry)


def checkpoint_path(name: Path | str) -> Path:
    """A weights file: a path as it is, or shipped weights by their bare name, e.g. `teacher_small`.

    A name is a single word without a suffix, of which no file exists.

    Raises:
        ConfigError: no such weights are shipped; lists those that are.
        CheckpointError: they are not what the manifest vouches for.
    """
    path = Path(name).expanduser()
    if len(path.parts) != 1 or path.suffix or path.exists():
        return path
    manifest_path = shipped_path("models", "manifest.yaml")
    entries = {Path(item.file).stem: item for item in load_manifest(manifest_path).checkpoints}
    if path.name not in entries:
        known = ", ".join(sorted(entries)) or "none"
        raise ConfigError(f"{name}: no such file, and no weights of that name are shipped (shipped: {known})")
    return _verified(manifest_path, entries[path.name])


def _verified(manifest_path: Path, entry: ShippedCheckpoint) -> Path:
    path = manifest_path.parent / entry.file
    verify_checksum(path, entry.sha256)
    return path


def verify_checksum(path: Path, sha256: str) -> None:
    """Compare a file with the checksum that the manifest gives.

    Raises:
        CheckpointError: the file is missing, unreadable, a Git LFS pointer or otherwise another file.
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the shipped weights: {error.strerror}") from error
    if found != sha256:
        raise CheckpointError(
            f"{path}: expected sha256 {sha256} (models/manifest.yaml), got {found}; the file is damaged or was "
            "replaced: restore it, or name a checkpoint of your own"
        )


def _roots() -> Iterator[Path]:
    package = Path(__file__).resolve().parent
    # package.xml marks them: a site-packages folder may hold a stranger's `config/`.
    candidates = [package.parent, *(parent / "share" / "monotakd_ros" for parent in package.parents)]
    return (root for root in candidates if (root / "package.xml").is_file())
