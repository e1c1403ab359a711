"""Settings: the shipped files, strictness, and that three networks share one BEV map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from monotakd_ros.config import (
    BevConfig,
    Config,
    DistillationConfig,
    GridConfig,
    HeadConfig,
    LidarEncoderConfig,
    ResidualConfig,
    StudentConfig,
    TeacherConfig,
)
from monotakd_ros.config_file import from_dict, load_config, to_dict
from monotakd_ros.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[1] / "config"
NETWORK_FILES = sorted(path.name for path in CONFIGS.glob("*.yaml") if "student" in path.read_text())


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "c.yaml"
        path.write_text(text)
        return path

    return write


class TestFiles:
    @pytest.mark.parametrize("name", NETWORK_FILES)
    def test_shipped_files_load_and_round_trip(self, name):
        config = load_config(CONFIGS / name)
        assert config.name == Path(name).stem
        assert from_dict(Config, yaml.safe_load(yaml.safe_dump(to_dict(config)))) == config

    def test_there_are_some(self):
        assert {"student_small.yaml", "monotakd_small.yaml", "monotakd_r50.yaml", "official_r50.yaml"} <= set(
            NETWORK_FILES
        )

    def test_the_paper_fuses_and_the_published_weights_do_not(self):
        fusion = {
            name: load_config(CONFIGS / f"{name}_r50.yaml").student.residual.fusion for name in ("monotakd", "official")
        }
        assert fusion == {"monotakd": "adapted", "official": "off"}

    def test_distillation_differs_from_the_three_networks_in_training_only(self):
        plain, taught = (load_config(CONFIGS / f"{name}_small.yaml") for name in ("monotakd", "distill"))
        assert (taught.student, taught.assistant, taught.teacher) == (plain.student, plain.assistant, plain.teacher)
        off = replace(taught.training, distillation=DistillationConfig())
        assert off == plain.training
        assert taught.training.distillation.teacher_weights and taught.training.distillation.assistant_weights

    def test_a_bare_off_is_off(self, write):
        config = load_config(write("{name: x, student: {residual: {fusion: off}}, training: {amp: off}}"))
        assert config.student.residual == ResidualConfig("off") and config.training.amp == "off"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{name: x, studnet: {}}", r"top level: unknown key 'studnet'; did you mean 'student'\?"),
            ("{student: {}}", "missing key 'name'"),
            ("{name: x, student: {residual: {fusion: on}}}", "student.residual.fusion: expected one of 'adapted'"),
            ("{name: x, student: {residual: [1]}}", "student.residual: expected a mapping of ResidualConfig, got list"),
            ("{name: x, teacher: {max_voxels: many}}", "teacher.max_voxels: expected int, got str 'many'"),
            ("{name: x, assistant: {cell_depth: median}}", "assistant.cell_depth: expected one of 'nearest', 'mean'"),
            ("{name: x, student: {encoder: {stem_channels: 0}}}", "encoder: every number of channels must be >= 1"),
            ("{name: x, student: {bev: {stage_strides: [1, 0]}}}", "bev.stage_strides must be >= 1"),
            ("{name: x, student: {head: {rotations: []}}}", "head.rotations: at least one is needed"),
            ("{name: x, student: {input: {mean: [.nan, 0, 0]}}}", r"student.input.mean\[0\]: expected a finite number"),
            ("{name: x, training: {distillation: {imd_weight: -1}}}", "training.distillation.imd_weight must be >= 0"),
            ("{name: x, training: {distillation: {residual_threshold: 1}}}", r"residual_threshold must be in \[0, 1\)"),
            ("{name: x, training: {distillation: {residual_foreground_weight: 0}}}", "foreground_weight must be > 0"),
            ("{name: x, training: {distillation: {cmrd_weight: 1}}}", "cmrd_weight: .* needs a `student.residual`"),
            ("[1]", "top level: expected a mapping of Config, got list"),
            ("{", "not valid YAML"),
        ],
    )
    def test_mistakes_are_named_with_file_and_key(self, write, text, message):
        with pytest.raises(ConfigError, match=rf"c\.yaml: .*{message}"):
            load_config(write(text))

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot read the config"):
            load_config(tmp_path / "nothing.yaml")


class TestTeacher:
    def test_official_sizes(self):
        teacher = TeacherConfig()
        assert teacher.grid.build().shape_xyz == (1120, 1504, 40)
        assert teacher.encoder.stride == 8 and teacher.bev_heights == 2
        assert teacher.bev_grid.shape_xyz == (140, 188, 1)

    def test_small_sizes(self):
        teacher = load_config(CONFIGS / "monotakd_small.yaml").teacher
        assert teacher.encoder.stride == 4 and teacher.bev_heights == 2
        assert teacher.bev_grid.shape_xyz == (70, 94, 1)

    def test_the_map_must_divide(self):
        with pytest.raises(ConfigError, match="no multiple of the encoder's stride 64"):
            TeacherConfig(encoder=LidarEncoderConfig(channels=(4,) * 7))

    def test_channels_must_be_what_the_encoder_gives(self):
        with pytest.raises(ConfigError, match="leaves 2 of 40 heights and gives 64 channels, got 128"):
            TeacherConfig(encoder=LidarEncoderConfig(out_channels=32))
        flat = GridConfig(voxel_size_m=(0.04, 0.04, 1.0))
        with pytest.raises(ConfigError, match="4 voxels along z are too few"):
            TeacherConfig(grid=flat)

    @pytest.mark.parametrize(
        "change", [{"max_points_per_voxel": 0}, {"max_voxels": 0}, {"bev": BevConfig(adaptation_blocks=1)}]
    )
    def test_values_out_of_range(self, change):
        with pytest.raises(ConfigError, match=r"teacher\."):
            TeacherConfig(**change)


class TestCommonMap:
    """Distillation compares teacher and student cell by cell."""

    def test_official_student_and_teacher_fit(self):
        assert Config("x", teacher=TeacherConfig()).teacher is not None

    @pytest.mark.parametrize(
        ("student", "message"),
        [
            (StudentConfig(grid=GridConfig((2, -30.08, -3, 46.8, 30.08, 3))), "grid.range_m"),
            (StudentConfig(grid=GridConfig(voxel_size_m=(0.64, 0.64, 0.5))), r"BEV cells .* expected \(70, 94\)"),
            (StudentConfig(bev=BevConfig(collapse_channels=64)), "bev.collapse_channels"),
            (StudentConfig(head=HeadConfig(placement="cell_center")), "head"),
        ],
    )
    def test_what_differs_is_named(self, student, message):
        with pytest.raises(ConfigError, match=f"teacher: {message}"):
            Config("x", student=student, teacher=TeacherConfig())

    def test_settings_are_given_by_name(self):
        with pytest.raises(TypeError):
            Config("x", StudentConfig())

    def test_an_older_checkpoints_settings_still_load(self):
        stored = to_dict(load_config(CONFIGS / "student_small.yaml"))
        for key in ("assistant", "teacher"):
            del stored[key]
        del stored["student"]["residual"], stored["student"]["bev"]["adaptation_blocks"]
        del stored["training"]["distillation"]
        loaded = from_dict(Config, stored)
        assert loaded == replace(loaded, teacher=None) and loaded.student.residual is None
        assert loaded.student.bev.adaptation_blocks == 0
        assert loaded.training.distillation == DistillationConfig()


class TestDistillation:
    def test_off_by_default(self):
        settings = DistillationConfig()
        assert settings.teacher_weights == settings.assistant_weights == ()

    @pytest.mark.parametrize(
        ("term", "teacher", "assistant"),
        [
            ("imd", False, True),
            ("cmrd", True, True),
            ("direct", True, False),
            ("logit_cls", True, False),
            ("logit_box", True, False),
            ("logit_direction", True, False),
        ],
    )
    def test_which_guide_a_weight_asks_for(self, term, teacher, assistant):
        weight = f"{term}_weight"
        settings = DistillationConfig(**{weight: 0.5})
        assert settings.teacher_weights == (weight,) * teacher
        assert settings.assistant_weights == (weight,) * assistant
