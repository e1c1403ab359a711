"""Shipped files are found, and weights are what the manifest says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from monotakd_ros import shipped
from monotakd_ros.config_file import load_config
from monotakd_ros.errors import CheckpointError, ConfigError

ENTRY = """\
default: small.pt
checkpoints:
  - file: small.pt
    sha256: {sha256}
    kind: student
    config: student_small.yaml
    licence: Apache-2.0
    training_data: simulated drives
    training_seeds: [1, 2]
    command: monotakd train student ...
    held_out: {{source: simulated, seeds: [9], frames: 10, scores: [{{metric: Car AP3D, value: 12.5}}]}}
"""


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed copy: `prefix/lib/python3/site-packages/monotakd_ros` with `prefix/share/monotakd_ros`."""
    share = tmp_path / "prefix" / "share" / "monotakd_ros"
    (share / "models").mkdir(parents=True)
    (share / "package.xml").write_text("<package/>")
    package = tmp_path / "prefix" / "lib" / "python3" / "site-packages" / "monotakd_ros"
    monkeypatch.setattr(shipped, "__file__", str(package / "shipped.py"))
    return share


def test_configs_of_this_checkout_are_found_and_load(repository: Path) -> None:
    for path in (repository / "config").glob("student_*.yaml"):
        assert load_config(shipped.shipped_path("config", path.name)).name == path.stem


def test_files_are_found_in_an_installation(installation: Path) -> None:
    (installation / "models" / "small.pt").write_bytes(b"weights")
    assert shipped.shipped_path("models", "small.pt") == installation / "models" / "small.pt"


def test_a_strangers_config_folder_beside_the_package_is_not_taken(installation: Path) -> None:
    stranger = installation.parents[1] / "lib" / "python3" / "site-packages" / "config"
    stranger.mkdir(parents=True)
    (stranger / "x.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"config/x\.yaml does not come with"):
        shipped.shipped_path("config", "x.yaml")


def test_default_checkpoint_is_verified(installation: Path) -> None:
    weights = installation / "models" / "small.pt"
    manifest = installation / "models" / "manifest.yaml"
    weights.write_bytes(b"weights")
    manifest.write_text(ENTRY.format(sha256=hashlib.sha256(b"weights").hexdigest()))
    assert shipped.default_checkpoint() == weights

    weights.write_bytes(b"other")
    with pytest.raises(CheckpointError, match="expected sha256"):
        shipped.default_checkpoint()

    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot read"):
        shipped.default_checkpoint()


class TestByName:
    @pytest.fixture
    def small(self, installation: Path) -> Path:
        weights = installation / "models" / "small.pt"
        weights.write_bytes(b"weights")
        text = ENTRY.format(sha256=hashlib.sha256(b"weights").hexdigest())
        (installation / "models" / "manifest.yaml").write_text(text)
        return weights

    def test_a_name_is_its_file(self, small: Path) -> None:
        assert shipped.checkpoint_path("small") == small

    @pytest.mark.parametrize("given", ["small.pt", "run/small", "/run/small", "run/best.pt", "./x.pt", ""])
    def test_a_path_is_taken_as_it_is(self, installation: Path, given: str) -> None:
        assert shipped.checkpoint_path(given) == Path(given)

    def test_a_file_of_that_name_comes_first(self, small: Path, tmp_path: Path, monkeypatch) -> None:
        (tmp_path / "small").write_bytes(b"own")
        monkeypatch.chdir(tmp_path)
        assert shipped.checkpoint_path("small") == Path("small")

    def test_home(self, installation: Path, monkeypatch) -> None:
        monkeypatch.setenv("HOME", "/home/driver")
        assert shipped.checkpoint_path("~/teacher.pt") == Path("/home/driver/teacher.pt")

    def test_another_name_lists_those_that_are_shipped(self, small: Path) -> None:
        with pytest.raises(ConfigError, match=r"smal: no such file, and no weights .* \(shipped: small\)"):
            shipped.checkpoint_path("smal")

    def test_damaged_weights_are_refused(self, small: Path) -> None:
        small.write_bytes(b"other")
        with pytest.raises(CheckpointError, match="expected sha256"):
            shipped.checkpoint_path("small")


def test_no_default_weights_is_said_clearly(installation: Path) -> None:
    (installation / "models" / "manifest.yaml").write_text("default: null\ncheckpoints: []\n")
    with pytest.raises(CheckpointError, match="ships no default weights"):
        shipped.default_checkpoint()


def test_a_typo_in_the_manifest_names_its_key(installation: Path) -> None:
    manifest = installation / "models" / "manifest.yaml"
    manifest.write_text(ENTRY.format(sha256="0" * 64).replace("licence", "license"))
    with pytest.raises(ConfigError, match=r"checkpoints\[0\]: unknown key 'license'; did you mean 'licence'"):
        shipped.load_manifest()


def test_this_checkouts_manifest_is_true() -> None:
    """Every entry's file is here and has its checksum; every weights file has an entry; the default is one of them."""
    path = shipped.shipped_path("models", "manifest.yaml")
    manifest = shipped.load_manifest(path)
    for entry in manifest.checkpoints:
        shipped.verify_checksum(path.parent / entry.file, entry.sha256)
        shipped.shipped_path("config", entry.config)
        assert not set(entry.training_seeds) & set(entry.held_out.seeds)
    files = {entry.file for entry in manifest.checkpoints}
    assert {weights.name for weights in path.parent.glob("*.pt")} == files
    assert manifest.default is None or manifest.default in files
