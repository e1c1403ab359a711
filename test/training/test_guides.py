"""A student taught by frozen guides: who moves and who does not, resume, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from monotakd_ros.config import (
    AugmentConfig,
    BevConfig,
    Config,
    DistillationConfig,
    GridConfig,
    HeadConfig,
    InputConfig,
    LossConfig,
    ResidualConfig,
)
from monotakd_ros.config_file import load_config
from monotakd_ros.errors import CheckpointError, FrameError, TrainingError
from monotakd_ros.network.checkpoint import build_network, load_checkpoint
from monotakd_ros.network.made_up_batch import make_batch
from monotakd_ros.shipped import recipe_path
from monotakd_ros.training.frame_cache import TrainingFrame
from monotakd_ros.training.guide_maps import GuideFrame
from monotakd_ros.training.guides import Guides, guided_terms, load_guides, require_lessons
from monotakd_ros.training.loop import TrainingRun, train_network
from monotakd_ros.training.run_options import RunOptions

TERMS = ("imd", "cmrd", "direct", "logit_cls", "logit_box", "logit_direction")
LIFTED = {"encoder.backbone", "encoder.classifier", "encoder.channel_reduce"}
TO_THE_MAP = LIFTED | {"collapse", "adaptation"}
HEADS = {"head.conv_cls", "head.conv_box", "head.conv_dir_cls"}
TO_THE_HEAD = TO_THE_MAP | {"residual", "fusion", "bev_backbone"}
MOVED = {
    "imd": TO_THE_MAP,
    "direct": TO_THE_MAP,
    "cmrd": LIFTED | {"residual"},
    "logit_cls": TO_THE_HEAD | {"head.conv_cls"},
    "logit_box": TO_THE_HEAD | {"head.conv_box"},
    "logit_direction": TO_THE_HEAD | {"head.conv_dir_cls"},
}
"""The parts of the student with fusion that each term teaches."""


def part_of(parameter: str) -> str:
    room, inside = parameter.split(".")[:2]
    return f"{room}.{inside}" if room in ("encoder", "head") else room


def branch_part_of(parameter: str) -> str:
    """As `part_of`, and what there is in the residual branch."""
    room, inside = parameter.split(".")[:2]
    return f"{room}.{inside}" if room == "residual" else part_of(parameter)


def with_weights(config: Config, **weights: float) -> Config:
    distillation = replace(DistillationConfig(), **weights)
    return replace(config, training=replace(config.training, distillation=distillation))


def states(guides: Guides) -> dict[str, torch.Tensor]:
    return {
        f"{kind}.{key}": tensor.clone()
        for kind, network in guides.networks.items()
        for key, tensor in network.state_dict().items()
    }


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def taught_parts(run: TrainingRun, part: Callable[[str], str]) -> dict[str, set[str]]:
    """Per term of a run's first batch: the parts that get a gradient of it."""
    batch = run.batches[0]
    terms = run.losses(run.forward(run.network.train(), batch.frames), batch)
    names, parameters = zip(*run.network.named_parameters())
    return {
        term: {
            part(name)
            for name, gradient in zip(
                names, torch.autograd.grad(item.value, parameters, retain_graph=True, allow_unused=True)
            )
            if gradient is not None and gradient.any()
        }
        for term, item in terms.items()
    }


@pytest.fixture(scope="module")
def gradients(repository, sighted) -> dict[str, dict[str, bool]]:
    """Per term: whether each parameter of the small student gets a gradient of it."""
    config = with_weights(
        load_config(repository / "config" / "monotakd_small.yaml"), **{f"{term}_weight": 1.0 for term in TERMS}
    )
    torch.manual_seed(0)
    student = build_network("student", config).train()
    guides = Guides(*(sighted(build_network(kind, config)) for kind in ("teacher", "assistant")))
    batch = make_batch(config)
    terms = guided_terms(student(batch, with_residual=True), guides([GuideFrame(batch)]), config.training.distillation)
    names, parameters = zip(*student.named_parameters())
    return {
        term: {
            name: gradient is not None and bool(gradient.any())
            for name, gradient in zip(
                names, torch.autograd.grad(item.value, parameters, retain_graph=True, allow_unused=True)
            )
        }
        for term, item in terms.items()
    }


class TestGradientFlow:
    @pytest.mark.parametrize("term", TERMS)
    def test_a_term_teaches_these_parts_of_the_small_student_and_no_others(self, gradients, term):
        assert {part_of(name) for name, moved in gradients[term].items() if moved} == MOVED[term]

    def test_together_they_teach_every_parameter(self, gradients):
        names = gradients["imd"]
        assert [name for name in names if not any(gradients[term][name] for term in TERMS)] == []

    @pytest.mark.parametrize("foreground", [1.0, 20.0])
    def test_a_step_moves_what_the_terms_claim_and_nothing_else(
        self, guided_config, guides, training_frames, tmp_path, foreground
    ):
        training = replace(
            with_weights(guided_config, imd_weight=1.0, foreground_weight=foreground).training,
            loss=LossConfig(0.0, 0.0, 0.0, 0.0),
            weight_decay=0.0,
        )
        config = replace(guided_config, training=training)
        run = TrainingRun("student", config, training_frames, [], tmp_path, guides=guides)
        before = {name: item.detach().clone() for name, item in run.network.named_parameters()}
        run.take_step(run.batches[0])
        moved = {part_of(name) for name, item in run.network.named_parameters() if not torch.equal(item, before[name])}
        assert moved == MOVED["imd"]


class TestSupervision:
    """What labels and measured depth teach, whether people or a teacher labelled."""

    MOVED = {
        "cls": TO_THE_HEAD | {"head.conv_cls"},
        "box": TO_THE_HEAD | {"head.conv_box"},
        "direction": TO_THE_HEAD | {"head.conv_dir_cls"},
        "depth": {"encoder.backbone", "encoder.classifier"},
    }

    @pytest.fixture
    def moved(self, guided_config, training_frames, tmp_path):
        """Per term of one step of a network without guides: the parts that get a gradient of it."""

        def run(kind: str, score: float | None = None) -> dict[str, set[str]]:
            config = with_weights(guided_config)
            frames = [self.labelled_by_a_teacher(frame, score) for frame in training_frames]
            return taught_parts(TrainingRun(kind, config, frames, [], tmp_path), part_of)

        return run

    @staticmethod
    def labelled_by_a_teacher(frame: TrainingFrame, score: float | None) -> TrainingFrame:
        scores = None if score is None else np.full(len(frame.prepared.labels), score, dtype=np.float32)
        return replace(frame, prepared=replace(frame.prepared, label_scores=scores))

    def test_of_a_student(self, moved):
        assert moved("student") == self.MOVED

    def test_of_a_student_by_a_teachers_labels(self, moved):
        found = moved("student", score=0.9)
        assert {name: parts for name, parts in found.items() if parts} == {
            name if name == "depth" else f"pseudo_{name}": parts for name, parts in self.MOVED.items()
        }

    @pytest.mark.parametrize("kind", ["teacher", "assistant"])
    def test_of_its_guides(self, moved, guided_config, kind):
        parts = {part_of(name) for name, _ in build_network(kind, guided_config).named_parameters()}
        heads = {part for part in parts if part.startswith("head.")}
        found = moved(kind)
        assert found.keys() == {"cls", "box", "direction"}, "no depth: theirs is measured"
        assert found == {name: parts - heads | (self.MOVED[name] & heads) for name in found}, (
            "the part of the head that is asked, and all before it"
        )


class TestAlignment:
    """A teacher that teaches its assistant."""

    def test_it_moves_what_makes_the_assistants_map_and_nothing_else(
        self, guided_config, save_guide, training_frames, tmp_path
    ):
        training = replace(
            with_weights(guided_config, alignment_weight=1.0).training,
            loss=LossConfig(0.0, 0.0, 0.0, 0.0),
            weight_decay=0.0,
        )
        config = replace(guided_config, training=training)
        guides = load_guides("assistant", config, save_guide("teacher"))
        frozen = states(guides)
        run = TrainingRun("assistant", config, training_frames, [], tmp_path, guides=guides)
        before = {name: item.detach().clone() for name, item in run.network.named_parameters()}
        first = run.take_step(run.batches[0])
        moved = {
            name.split(".")[0] for name, item in run.network.named_parameters() if not torch.equal(item, before[name])
        }
        assert moved == {"encoder", "collapse", "adaptation"}
        assert same(frozen, states(guides))
        later = [run.take_step(run.batches[0])["loss_alignment"] for _ in range(5)]
        assert 0 < later[-1] < first["loss_alignment"]

    def test_it_needs_the_teacher_and_a_student_does_not_look_at_it(self, guided_config):
        config = with_weights(guided_config, alignment_weight=1.0)
        with pytest.raises(
            TrainingError, match=r"alignment_weight of training\.distillation above 0 ask for the teacher"
        ):
            load_guides("assistant", config, None)
        assert load_guides("student", config, None, None).networks == {}

    def test_resume_needs_the_same_teacher(self, guided_config, save_guide, training_frames, tmp_path):
        config = with_weights(guided_config, alignment_weight=1.0)
        mine, other = (load_guides("assistant", config, save_guide("teacher", seed=n, name=f"t{n}")) for n in (1, 2))
        train = partial(train_network, "assistant", config, training_frames, [], tmp_path / "run")
        train(RunOptions(stop_at=1), guides=mine)
        with pytest.raises(TrainingError, match=r"guides\.teacher: was "):
            train(RunOptions(resume=True, stop_at=2), guides=other)
        assert train(RunOptions(resume=True, stop_at=2), guides=mine).step == 2


class TestReleasedRecipes:
    """The assistant as a branch of the student, by the shipped recipes."""

    @pytest.fixture
    def branch_config(self, repository, guided_config):
        def config(name: str) -> Config:
            settings = load_config(repository / "config" / "monotakd_small.yaml", recipe_path(name))
            training = replace(
                guided_config.training, distillation=settings.training.distillation, loss=settings.training.loss
            )
            student = replace(guided_config.student, residual=settings.student.residual)
            return replace(guided_config, student=student, training=training)

        return config

    @pytest.mark.parametrize("name", ["released_code", "released_history"])
    def test_what_learns(self, branch_config, save_guide, training_frames, tmp_path, name):
        config = branch_config(name)
        config = replace(config, training=replace(config.training, weight_decay=0.0))
        guides = load_guides("student", config, save_guide("teacher"), None)
        run = TrainingRun("student", config, training_frames, [], tmp_path, guides=guides)
        before = {name: item.detach().clone() for name, item in run.network.named_parameters()}
        figures = run.take_step(run.batches[0])
        assert {"loss_imd", "loss_cmrd", "loss_logit_cls"} <= figures.keys()
        moved = {key for key, item in run.network.named_parameters() if not torch.equal(item, before[key])}
        branch = {key for key in moved if key.startswith("residual.assistant_collapse")}
        assert bool(branch) == (name == "released_history"), "the released code detaches its assistant"
        assert {part_of(key) for key in moved} == TO_THE_HEAD - {"fusion"} | HEADS

    def test_alignment_teaches_the_branch_and_what_it_is_lifted_from(
        self, branch_config, save_guide, training_frames, tmp_path
    ):
        config = branch_config("released_history")
        guides = load_guides("student", config, save_guide("teacher"), None)
        taught = taught_parts(
            TrainingRun("student", config, training_frames, [], tmp_path, guides=guides), branch_part_of
        )
        of_the_map = {"encoder.backbone", "encoder.channel_reduce"}  # lifted with measured depth: no depth head
        assert taught["alignment"] == of_the_map | {"residual.assistant_collapse", "residual.alignment"}
        both = of_the_map | {"encoder.classifier", "residual.assistant_collapse", "residual.alignment"}
        assert taught["imd"] == both | {"collapse", "adaptation"}, "nothing is detached"
        assert taught["cmrd"] == both | {"residual.collapse"}

    def test_without_clouds(self, branch_config, save_guide, training_frames, tmp_path):
        config = branch_config("released_history")
        guides = load_guides("student", config, save_guide("teacher"), None)
        run = TrainingRun("student", config, training_frames, [], tmp_path, guides=guides)
        frames = replace(run.batches[0].frames, points_img=(), points_lidar=())
        with pytest.raises(
            FrameError, match="assistant branch needs the LiDAR cloud of every frame: expected 2, got 0"
        ):
            run.forward(run.network, frames)


class TestFrozen:
    def test_guides_stay_as_they_are_bit_for_bit(self, guided_config, guides, training_frames, tmp_path):
        before = states(guides)
        assert any(key.endswith("running_mean") for key in before)
        config = replace(guided_config, training=replace(guided_config.training, steps=3))
        train_network("student", config, training_frames, training_frames[:1], tmp_path / "run", guides=guides)
        assert same(before, states(guides))
        for network in guides.networks.values():
            assert not network.training
            assert all(item.grad is None and not item.requires_grad for item in network.parameters())

    def test_guides_take_no_random_numbers_from_the_student(self, guided_config, guides, training_frames, tmp_path):
        config = with_weights(guided_config, imd_weight=1e-30, cmrd_weight=1e-30)
        taught = TrainingRun("student", config, training_frames, [], tmp_path, guides=guides)
        alone = TrainingRun("student", with_weights(config), training_frames, [], tmp_path)
        assert same(taught.network.state_dict(), alone.network.state_dict())
        for run in (taught, alone):
            run.take_step(run.batches[0])
        assert same(taught.network.state_dict(), alone.network.state_dict())

    def test_the_assistant_reads_the_students_lift_plans(self, guided_config, guides, training_frames, tmp_path):
        run = TrainingRun("student", guided_config, training_frames, [], tmp_path, guides=guides)
        assert guides.assistant.view_transform.plans is run.network.view_transform.plans

    def test_but_not_where_it_lifts_otherwise(self, guided_config, save_guide):
        finer = replace(guided_config.student, grid=GridConfig(guided_config.student.grid.range_m, (1.0, 1.0, 1.0)))
        config = replace(guided_config, student=finer)
        guides = load_guides("student", with_weights(config, imd_weight=1.0), None, save_guide("assistant"))
        student = build_network("student", config)
        guides.share_plans(student)
        assert guides.assistant.view_transform.plans is not student.view_transform.plans


class TestARun:
    def test_all_terms_fall_and_are_logged(self, guided_config, guides, training_frames, tmp_path):
        training = replace(
            guided_config.training,
            steps=40,
            validate_every=40,
            loss=LossConfig(0.0, 0.0, 0.0, 0.0),  # labels do not agree with random guides
            augment=AugmentConfig(0.0, 0.0, 0.0, 0.0),
        )
        figures = []
        train_network(
            "student",
            replace(guided_config, training=training),
            training_frames[:2],
            training_frames[:1],
            tmp_path,
            on_step=lambda progress: figures.append(progress.figures),
            guides=guides,
        )
        for term in TERMS:
            first, last = (sum(item[f"loss_{term}"] for item in part) for part in (figures[:4], figures[-4:]))
            assert last < first, term
        lines = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
        assert {line["kind"] for line in lines} == {"train", "validation"}
        assert all({f"loss_{term}" for term in TERMS} <= line.keys() for line in lines)

    def test_the_checkpoint_names_its_guides(self, guided_config, guides, training_frames, tmp_path):
        config = replace(guided_config, training=replace(guided_config.training, steps=1))
        train_network("student", config, training_frames, [], tmp_path, guides=guides)
        metadata = load_checkpoint(tmp_path / "final.pt").metadata
        assert metadata["guides"]["teacher"] == {"file": "teacher.pt", "sha256": guides.checksums["teacher"]}
        assert set(metadata["guides"]) == {"teacher", "assistant"}

    def test_a_branch_beside_the_detector_is_taught_by_the_residual(
        self, guided_config, guides, training_frames, tmp_path, caplog
    ):
        student = replace(guided_config.student, residual=ResidualConfig("off"))
        config = with_weights(replace(guided_config, student=student), cmrd_weight=1.0)
        config = replace(config, training=replace(config.training, steps=1))
        train_network("student", config, training_frames, training_frames[:1], tmp_path / "a", guides=guides)
        assert "no loss reaches" not in caplog.text
        config = with_weights(config, imd_weight=1.0)
        train_network("student", config, training_frames, [], tmp_path / "b", guides=guides)
        assert "no loss reaches all of residual" in caplog.text

    def test_bfloat16(self, guided_config, guides, training_frames, tmp_path):
        config = replace(guided_config, training=replace(guided_config.training, steps=2, amp="bf16"))
        assert train_network("student", config, training_frames, [], tmp_path, guides=guides).finished

    def test_frames_without_a_cloud_are_left_out(self, guided_config, guides, training_frames, tmp_path):
        run = TrainingRun("student", guided_config, training_frames, [], tmp_path, guides=guides)
        run.network.eval()
        whole, bare = training_frames[0].prepared, training_frames[1].prepared
        bare = replace(bare, points_img=bare.points_img[:0], points_lidar=bare.points_lidar[:0])

        def terms_of(*frames):
            batch = run.build(frames)
            with torch.no_grad():
                return run.losses(run.forward(run.network, batch.frames), batch)

        alone, mixed, none = terms_of(whole), terms_of(whole, bare), terms_of(bare)
        for term in TERMS:
            assert mixed[term].value.item() == pytest.approx(alone[term].value.item(), rel=1e-4)
            assert none[term].value.item() == 0.0

    def test_a_batch_without_any_clouds_field_is_an_error(self, guides, guided_config):
        batch = replace(make_batch(guided_config), points_img=(), points_lidar=())
        with pytest.raises(FrameError, match="the teacher needs the LiDAR cloud of every frame"):
            guides([GuideFrame(batch)])

    def test_a_guide_that_gives_no_numbers_stops_the_run(self, guided_config, guides, training_frames, tmp_path):
        with torch.no_grad():
            guides.teacher.head.conv_cls.bias[0] = np.nan
        with pytest.raises(TrainingError, match=r"loss_logit_cls = nan, loss_logit_box = nan.* frames 00000"):
            train_network("student", guided_config, training_frames, [], tmp_path, guides=guides)


class TestResume:
    def test_continues_bit_for_bit(self, guided_config, guides, training_frames, tmp_path):
        config = replace(guided_config, training=replace(guided_config.training, steps=4))
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        train_network("student", config, training_frames, [], whole, guides=guides)
        train_network("student", config, training_frames, [], parts, RunOptions(stop_at=2), guides=guides)
        train_network("student", config, training_frames, [], parts, RunOptions(resume=True), guides=guides)
        assert same(*(load_checkpoint(out / "final.pt").state_dict for out in (whole, parts)))

    def test_other_guides_are_refused(self, guided_config, guides, save_guide, guide_folder, training_frames, tmp_path):
        train_network("student", guided_config, training_frames, [], tmp_path, RunOptions(stop_at=1), guides=guides)
        other = load_guides(
            "student", guided_config, save_guide("teacher", seed=8, name="other"), guide_folder / "assistant.pt"
        )
        was, now = guides.checksums["teacher"], other.checksums["teacher"]
        with pytest.raises(TrainingError, match=f"other settings: guides.teacher: was '{was}', now '{now}'. Restore"):
            train_network("student", guided_config, training_frames, [], tmp_path, RunOptions(resume=True), None, other)


class TestLessons:
    """Something has to teach a network."""

    @pytest.fixture
    def unlabelled(self, tiny_config) -> Config:
        """No label teaches anything, nor does a guide."""
        loss = LossConfig(cls_weight=0.0, box_weight=0.0, direction_weight=0.0, depth_weight=0.0)
        return replace(tiny_config, training=replace(tiny_config.training, loss=loss))

    @pytest.mark.parametrize("kind", ["teacher", "assistant"])
    def test_a_guide_learns_to_detect_or_not_at_all(self, tiny_config, unlabelled, kind):
        require_lessons(kind, tiny_config)
        for config in (unlabelled, with_weights(unlabelled, alignment_weight=1.0)):
            with pytest.raises(TrainingError, match=rf"a {kind} would learn nothing.*\(--{kind} CKPT\)"):
                require_lessons(kind, config)

    @pytest.mark.parametrize("weight", ["imd_weight", "direct_weight", "logit_cls_weight"])
    def test_a_student_may_learn_from_guides_alone(self, unlabelled, weight):
        require_lessons("student", with_weights(unlabelled, **{weight: 1.0}))
        with pytest.raises(TrainingError, match="the student would learn nothing"):
            require_lessons("student", unlabelled)

    def test_a_student_may_learn_depth_alone(self, unlabelled):
        loss = replace(unlabelled.training.loss, depth_weight=1.0)
        require_lessons("student", replace(unlabelled, training=replace(unlabelled.training, loss=loss)))


class TestLoading:
    @pytest.mark.parametrize(
        ("weight", "missing"),
        [("imd", "assistant"), ("direct", "teacher"), ("cmrd", "teacher"), ("logit_box", "teacher")],
    )
    def test_a_guide_that_a_weight_asks_for(self, guided_config, weight, missing, training_frames, tmp_path):
        config = with_weights(guided_config, **{f"{weight}_weight": 0.5})
        message = rf"config tiny: {weight}_weight of training.distillation above 0 ask for the {missing}: .*--{missing}"
        with pytest.raises(TrainingError, match=message):
            load_guides("student", config, None, None)
        with pytest.raises(TrainingError, match=message):
            train_network("student", config, training_frames, [], tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_a_guide_that_nothing_asks_for_is_not_read(self, guided_config, save_guide, tmp_path, caplog):
        config = with_weights(guided_config, imd_weight=1.0)
        guides = load_guides("student", config, tmp_path / "nothing.pt", save_guide("assistant"))
        assert set(guides.networks) == set(guides.checksums) == {"assistant"}
        assert "nothing.pt: no weight of training.distillation asks for the teacher" in caplog.text

    def test_the_wrong_kind(self, guided_config, save_guide):
        with pytest.raises(CheckpointError, match=r"assistant\.pt: expected teacher weights, got assistant weights"):
            load_guides("student", guided_config, save_guide("assistant"), save_guide("assistant", name="other"))

    @pytest.mark.parametrize(
        ("kind", "strangers"), [("teacher", "teacher, assistant"), ("assistant", "assistant"), ("student", "")]
    )
    def test_who_may_guide_whom(self, guided_config, guides, training_frames, tmp_path, kind, strangers):
        train = partial(train_network, kind, guided_config, training_frames, [], tmp_path, RunOptions(stop_at=1))
        if not strangers:
            assert train(guides=guides).step == 1
            return
        with pytest.raises(TrainingError, match=f"training of a {kind}: .* can teach it: {strangers}$"):
            train(guides=guides)

    def test_teacher_and_assistant_do_not_mind_the_weights(self, guided_config, training_frames, tmp_path):
        config = replace(guided_config, training=replace(guided_config.training, steps=1))
        assert train_network("assistant", config, training_frames, [], tmp_path).finished

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"grid": GridConfig((2.0, -8.0, -3.0, 26.0, 8.0, 1.0), (2.0, 2.0, 2.0))}, r"BEV cells .* got \(12, 8\)"),
            ({"grid": GridConfig((3.0, -8.0, -3.0, 27.0, 8.0, 1.0), (1.0, 1.0, 2.0))}, "grid.range_m: expected"),
            ({"bev": BevConfig(16, (1, 1), (1, 2), (8, 8), (8, 8))}, "BEV channels: expected 8, got 16"),
            ({"input": InputConfig(160, 64, 70.0, (63.0, 28.0))}, r"input camera: expected \(128, 64"),
        ],
    )
    def test_an_assistant_of_another_map(self, guided_config, tiny_config, save_guide, change, message):
        other = replace(tiny_config, name="other", teacher=None, student=replace(tiny_config.student, **change))
        path = save_guide("assistant", other)
        with pytest.raises(
            CheckpointError, match=rf"assistant\.pt: this assistant \(other\) cannot .* config tiny: .*{message}"
        ):
            load_guides("student", with_weights(guided_config, imd_weight=1.0), None, path)

    def test_a_teacher_of_other_classes_or_anchors(self, guided_config, tiny_config, save_guide):
        head = HeadConfig(tiny_config.student.head.anchors[:1], placement="stretched")
        teacher = replace(tiny_config.teacher, head=head)
        other = replace(tiny_config, student=replace(tiny_config.student, head=head), teacher=teacher)
        message = r"teacher \(tiny\) .*classes: expected \('Car', 'Pedestrian'\), got \('Car',\); anchors: .*placement"
        with pytest.raises(CheckpointError, match=message):
            load_guides("student", with_weights(guided_config, direct_weight=1.0), save_guide("teacher", other), None)
