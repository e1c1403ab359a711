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
from monotakd_ros.shipped import recipe_path

CONFIGS = Path(__file__).resolve().parents[1] / "config"
UNLABELLED = "unlabelled"
OVERLAYS = {UNLABELLED, "unlabelled_only", "refine", "foreground"}
"""Recipes that say nothing of the terms, because they go over another."""
RECIPES = sorted({path.stem for path in (CONFIGS / "recipes").glob("*.yaml")} - OVERLAYS)
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
            (
                "{name: x, training: {distillation: {assistant: branch}}}",
                "branch needs student.residual.assistant_branch",
            ),
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


class TestRecipes:
    """Files laid over a config: what they name replaces what was there, and nothing else changes."""

    @pytest.mark.parametrize("name", RECIPES)
    def test_every_recipe_names_every_weight_and_leaves_the_rest(self, name):
        """A weight that a recipe is silent about would be the config's: the same name would mean different things."""
        text = yaml.safe_load(recipe_path(name).read_text())
        weights = {key for key in DistillationConfig.__dataclass_fields__ if key.endswith("_weight")}
        assert weights - {"residual_foreground_weight", "foreground_weight"} <= set(text["training"]["distillation"])
        plain = load_config(CONFIGS / "monotakd_small.yaml")
        config = load_config(CONFIGS / "monotakd_small.yaml", recipe_path(name))
        assert config.training.recipe == name
        mine = {"recipe": plain.training.recipe, "distillation": plain.training.distillation}
        loss, student = config.training.loss, config.student
        if name.startswith("released"):
            assert loss.cls_weight == loss.box_weight == loss.direction_weight == loss.depth_weight == 0
            assert student.residual == ResidualConfig("off", assistant_branch=True)
            mine["loss"], student = plain.training.loss, replace(student, residual=plain.student.residual)
        assert replace(config.training, **mine) == plain.training
        assert (student, config.assistant, config.teacher) == (plain.student, plain.assistant, plain.teacher)

    def test_what_each_asks_for(self):
        asked = {
            name: load_config(CONFIGS / "monotakd_small.yaml", recipe_path(name)).training.distillation
            for name in RECIPES
        }
        logit = ("logit_cls_weight", "logit_box_weight", "logit_direction_weight")
        assert {name: item.teacher_weights for name, item in asked.items()} == {
            "none": (),
            "direct": ("direct_weight",),
            "imd": (),
            "cmrd": ("cmrd_weight",),
            "logit": logit,
            "paper": ("cmrd_weight", *logit),
            "released_code": ("cmrd_weight", *logit),
            "released_history": ("cmrd_weight", *logit, "alignment_weight"),
        }
        assert {name for name, item in asked.items() if "imd_weight" in item.assistant_weights} == {"imd", "paper"}
        assert {name for name, item in asked.items() if item.branch_weights} == {"released_code", "released_history"}

    @pytest.mark.parametrize(("recipe", "fraction"), [(UNLABELLED, 0.75), ("unlabelled_only", 1.0)])
    def test_unlabelled_goes_over_any_other(self, recipe, fraction):
        base = CONFIGS / "monotakd_small.yaml"
        plain, mixed = (load_config(base, *map(recipe_path, layers)) for layers in (("paper",), ("paper", recipe)))
        assert mixed.training.semi_supervised.unlabelled_fraction == fraction
        off = replace(mixed.training, semi_supervised=plain.training.semi_supervised)
        assert replace(mixed, training=off) == plain

    def test_foreground_asks_for_the_teacher_too(self):
        config = load_config(CONFIGS / "monotakd_small.yaml", *map(recipe_path, ("imd", "foreground")))
        assert config.training.distillation.teacher_weights == ("foreground_weight",)
        assert config.training.distillation.imd_weight == 1.0

    def test_the_last_one_wins_key_by_key(self, write, tmp_path):
        base = write("{name: x, training: {steps: 7, loss: {depth_weight: 2.0, cls_weight: 3.0}}}")
        first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
        first.write_text("training: {steps: 8, loss: {depth_weight: 5.0}}")
        second.write_text("training: {steps: 9}\nstudent: {residual: {fusion: collapsed}}")
        config = load_config(base, first, second)
        assert (config.training.steps, config.training.loss.depth_weight, config.training.loss.cls_weight) == (9, 5, 3)
        assert config.student.residual == ResidualConfig("collapsed")
        assert load_config(base).training.steps == 7

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("training: {stepps: 1}", "c.yaml with .*over.yaml: .*did you mean 'steps'"),
            ("training: [1]", "training: expected a mapping"),
            ("", "top level: expected a mapping of Config, got NoneType"),
        ],
    )
    def test_mistakes_name_both_files(self, write, tmp_path, text, message):
        over = tmp_path / "over.yaml"
        over.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_config(write("{name: x, training: {steps: 3}}"), over)

    def test_names_and_paths(self, tmp_path):
        assert recipe_path("paper") == CONFIGS / "recipes" / "paper.yaml"
        assert recipe_path(tmp_path / "own.yaml") == tmp_path / "own.yaml"
        with pytest.raises(
            ConfigError, match="recipe papre: expected a YAML file or one of cmrd, direct, foreground, imd, logit,"
        ):
            recipe_path("papre")


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
