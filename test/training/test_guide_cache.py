"""What guides give, kept on disk: equal to what is computed, and never that of others."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.config import AugmentConfig, DistillationConfig
from monotakd_ros.data.augment import flip
from monotakd_ros.errors import ConfigError, OutputError, TrainingError
from monotakd_ros.network.checkpoint import load_checkpoint
from monotakd_ros.training import guide_cache
from monotakd_ros.training.array_digest import frame_digest
from monotakd_ros.training.guide_cache import GuideCache, differences, pack_maps, unpack_maps
from monotakd_ros.training.guide_maps import (
    ALL_PARTS,
    ASSISTANT_BEV,
    TEACHER_BEV,
    TEACHER_HEAD,
    GuideFrameReader,
    needed_parts,
)
from monotakd_ros.training.guides import load_guides
from monotakd_ros.training.loop import TrainingRun, train_network
from monotakd_ros.training.run_options import RunOptions

CPU = torch.device("cpu")


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "final.pt").state_dict


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "guide.json"]


def with_training(config, **changes):
    return replace(config, training=replace(config.training, **changes))


@pytest.fixture
def train(guided_config, guides, training_frames, tmp_path):
    """Trains the guided student for a few steps into a folder of this name; returns its weights."""

    def run(name: str, cache: str | None = "kept", config=guided_config, guides=guides, **options):
        folder = None if cache is None else tmp_path / cache
        options = RunOptions(guide_cache=folder, **options)
        config = with_training(config, steps=4)
        result = train_network(
            "student", config, training_frames, training_frames[:3], tmp_path / name, options, None, guides
        )
        return weights_of(tmp_path / name) if result.finished else None

    return run


@pytest.fixture
def out_of_order(guides):
    """Call it, and the guides cannot run any more."""

    def refuse(*_: object) -> None:
        raise AssertionError("a guide ran")

    def break_them() -> None:
        for network in guides.networks.values():
            network.forward = refuse

    return break_them


@pytest.fixture
def cache(guides, tmp_path) -> GuideCache:
    return guides.open_cache(tmp_path / "kept", "off", CPU)


class TestPacking:
    @given(
        st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
        st.lists(st.floats(width=32), max_size=24),
        st.booleans(),
    )
    def test_every_bit_comes_back(self, dtype, values, as_map):
        shape = (2, -1, 3) if as_map and values and len(values) % 6 == 0 else (-1, 1)
        tensor = torch.tensor(values, dtype=torch.float32).to(dtype).reshape(shape)
        (got,) = unpack_maps(pack_maps({"bev": tensor}), ["bev"]).values()
        assert got.dtype == dtype and got.shape == tensor.shape and bits(got) == bits(tensor)

    def test_memory_order_does_not_matter_and_zeros_cost_nothing(self):
        sparse = torch.zeros(8, 30, 20)
        sparse[:, 3, 4] = torch.arange(8.0)
        packed = pack_maps({"bev": sparse})
        assert packed == pack_maps({"bev": sparse.permute(1, 2, 0).contiguous().permute(2, 0, 1)})
        assert len(packed) < 300

    @pytest.mark.parametrize("harm", [lambda d: d[:-3], lambda d: d[:40], lambda d: b"", lambda d: b"[]\n"])
    def test_damage_is_noticed(self, harm):
        data = pack_maps({"bev": torch.rand(2, 3, 4)})
        with pytest.raises(ValueError, match=r"the checksum of its .* bytes is wrong"):
            unpack_maps(harm(data), ["bev"])

    def test_other_maps_are_not_taken(self):
        with pytest.raises(ValueError, match="expected the maps cls_logits, got bev"):
            unpack_maps(pack_maps({"bev": torch.rand(2, 3, 4)}), ["cls_logits"])


def filled(cache: GuideCache, guides, frame, part) -> Path:
    """Let the guides fill a part of one frame; returns its file."""
    guides([GuideFrameReader([part], cache)(frame)], [part], cache)
    return cache.path(frame_digest(frame), part)


class TestEqualResults:
    @pytest.mark.parametrize("amp", ["off", "bf16"])
    def test_computed_filled_and_read(self, train, guided_config, out_of_order, tmp_path, curve_of, amp):
        config = with_training(guided_config, amp=amp)
        computed = train("computed", None, config)
        assert same(computed, train("filled", config=config))
        figures = [curve_of(tmp_path / name) for name in ("computed", "filled")]
        assert figures[0] == figures[1] and any("loss_cmrd" in line for line in figures[0])
        out_of_order()
        assert same(computed, train("read", config=config))

    def test_read_by_workers(self, train, guided_config, out_of_order):
        computed = train("filled")
        out_of_order()
        assert same(computed, train("read", config=with_training(guided_config, num_workers=1)))

    def test_resumed(self, train):
        whole = train("whole", None)
        assert train("parts", stop_at=2) is None
        assert same(whole, train("parts", resume=True))

    def test_a_frames_outputs_do_not_depend_on_its_neighbours(self, guides, training_frames):
        reader = GuideFrameReader(ALL_PARTS)
        frames = [reader(frame.prepared) for frame in training_frames]
        together, alone = guides(frames), guides(frames[2:3])
        assert together.frames.tolist() == [0, 1, 2, 3]
        for name in ("bev", "cls_logits", "box_codes", "dir_logits"):
            assert torch.equal(getattr(together.teacher, name)[2], getattr(alone.teacher, name)[0])
        assert torch.equal(together.assistant.bev[2], alone.assistant.bev[0])


class TestEntries:
    def test_guides_see_moved_frames_in_recorded_colours(self, guided_config, guides, training_frames, tmp_path):
        config = with_training(guided_config, augment=AugmentConfig(0.5, 0.9, 0.9, 0.9))
        options = RunOptions(guide_cache=tmp_path / "kept")
        run = TrainingRun("student", config, training_frames, [], tmp_path / "run", options, guides)
        prepared = {frame.prepared.name: frame.prepared for frame in training_frames}
        seen = set()
        for step in range(6):
            batch = run.batches[step]
            for name, image, frame in zip(batch.frames.names, batch.frames.images, batch.guided):
                plain, mirrored = (frame_digest(item) for item in (prepared[name], flip(prepared[name])))
                assert frame.digest in (plain, mirrored)
                assert not torch.equal(image, frame.batch.images[0])
                seen.add(frame.digest == mirrored)
        assert seen == {True, False}

    def test_one_per_frame_and_mirrored_frame(self, train, training_frames, tmp_path, guided_config):
        train("run", config=with_training(guided_config, augment=AugmentConfig(0.0)))
        assert len(entries(tmp_path / "kept")) == len(ALL_PARTS) * len(training_frames)
        train("mirrored", config=with_training(guided_config, augment=AugmentConfig(1.0)))
        # Validation frames are not mirrored.
        assert len(entries(tmp_path / "kept")) == len(ALL_PARTS) * 2 * len(training_frames)

    @pytest.mark.parametrize(
        ("weights", "folders"),
        [
            ({"imd_weight": 1.0}, {"assistant/bev"}),
            ({"direct_weight": 1.0}, {"teacher/bev"}),
            ({"logit_box_weight": 1.0}, {"teacher/head"}),
            ({"cmrd_weight": 1.0}, {"assistant/bev", "teacher/bev"}),
            ({"imd_weight": 1.0, "assistant": "branch"}, set()),
            ({"alignment_weight": 1.0, "assistant": "branch"}, {"teacher/bev"}),
            ({}, set()),
        ],
    )
    def test_only_what_the_terms_read(self, guides, cache, training_frames, weights, folders):
        parts = needed_parts("student", DistillationConfig(**weights))
        guides([GuideFrameReader(parts, cache)(training_frames[0].prepared)], parts, cache)
        kept = {path.relative_to(cache.folder).parent.parent.as_posix() for path in entries(cache.folder)}
        assert kept == folders

    def test_an_assistant_in_training_reads_the_teachers_map(self):
        weights = DistillationConfig(alignment_weight=1.0, imd_weight=1.0, logit_box_weight=1.0)
        assert needed_parts("assistant", weights) == (TEACHER_BEV,)
        assert needed_parts("assistant", DistillationConfig(imd_weight=1.0)) == needed_parts("teacher", weights) == ()

    def test_parts_needed_later_are_added(self, guides, cache, training_frames):
        frame = training_frames[0].prepared
        early = filled(cache, guides, frame, ASSISTANT_BEV)
        stamp = early.stat().st_mtime_ns
        reader = GuideFrameReader(ALL_PARTS, cache)
        assert set(reader(frame).known) == {ASSISTANT_BEV}
        guides([reader(frame)], ALL_PARTS, cache)
        assert early.stat().st_mtime_ns == stamp
        assert set(reader(frame).known) == set(ALL_PARTS) and reader(frame).batch is None

    def test_a_frame_without_a_cloud_has_none(self, cache, training_frames):
        bare = replace(training_frames[0].prepared, points_lidar=np.zeros((0, 4), dtype=np.float32))
        assert GuideFrameReader(ALL_PARTS, cache)(bare) is None

    @pytest.mark.parametrize("field", ["image", "valid_px", "img_P_cam", "cam_T_lidar", "points_img", "points_lidar"])
    def test_the_digest_follows_all_that_guides_see(self, training_frames, field):
        frame = training_frames[0].prepared
        changed = getattr(frame, field).copy()
        changed.flat[-1] += 1
        assert frame_digest(replace(frame, **{field: changed})) != frame_digest(frame)
        assert frame_digest(replace(frame, name="other", boxes_lidar=None, labels=None)) == frame_digest(frame)

    @pytest.mark.parametrize(
        "harm", [lambda data: data[:50], lambda data: data[:-20] + b"?" + data[-19:], lambda _: b""]
    )
    def test_a_damaged_entry_is_computed_anew(self, guides, cache, training_frames, caplog, harm):
        frame = training_frames[0].prepared
        path = filled(cache, guides, frame, TEACHER_HEAD)
        content = path.read_bytes()
        path.write_bytes(harm(content))
        assert cache.read(frame_digest(frame), [TEACHER_HEAD]) == {}
        assert f"{path}: a damaged entry of the guides' cache" in caplog.text
        filled(cache, guides, frame, TEACHER_HEAD)
        assert path.read_bytes() == content


class TestOthers:
    def test_other_weights_are_refused(self, train, guided_config, guide_folder, save_guide, tmp_path):
        train("run")
        other = load_guides(
            "student", guided_config, save_guide("teacher", seed=8, name="other"), guide_folder / "assistant.pt"
        )
        with pytest.raises(
            TrainingError, match=r"teacher: this cache was made by another teacher: weights: expected '\w+', got"
        ):
            train("other", guides=other)
        assert not (tmp_path / "other").exists()

    def test_another_precision_is_refused(self, cache, guides):
        with pytest.raises(TrainingError, match=r"amp: expected 'bf16', got 'off'\. Give another folder"):
            guides.open_cache(cache.folder, "bf16", CPU)

    def test_other_code_of_the_networks_is_refused(self, cache, guides, monkeypatch):
        monkeypatch.setattr(guide_cache, "network_code", lambda: "another")
        with pytest.raises(TrainingError, match=r"code: expected 'another', got '\w{16}'\. Give another folder"):
            guides.open_cache(cache.folder, "off", CPU)

    def test_entries_of_others_are_not_found(self, cache, guides, training_frames, tmp_path):
        """Even where two runs with different guides claimed the folder in the same moment."""
        frame = training_frames[0].prepared
        assert filled(cache, guides, frame, TEACHER_HEAD).is_file()
        facts = json.loads((cache.folder / "teacher" / "guide.json").read_text()) | {"weights": "other"}
        (cache.folder / "teacher" / "guide.json").unlink()
        other = GuideCache(cache.folder, {"teacher": facts})
        assert other.read(frame_digest(frame), [TEACHER_HEAD]) == {}

    def test_a_damaged_description(self, cache, guides):
        path = cache.folder / "assistant" / "guide.json"
        for content, message in (("{", "is damaged .*; delete"), ("", "is damaged"), ("[1]", "expected a mapping")):
            path.write_text(content)
            with pytest.raises(TrainingError, match=message):
                guides.open_cache(cache.folder, "off", CPU)

    def test_differences(self):
        found, wanted = {"a": 1, "b": {"c": 2, "d": 3}, "old": 0}, {"a": 1, "b": {"c": 5, "d": 3}, "new": 1}
        assert differences(found, wanted) == [
            "b.c: expected 5, got 2",
            "new: expected 1, got None",
            "old: expected None, got 0",
        ]

    def test_a_file_in_place_of_the_folder(self, guides, tmp_path):
        (tmp_path / "kept").write_text("mine")
        with pytest.raises(OutputError, match=r"kept.*cannot write"):
            guides.open_cache(tmp_path / "kept", "off", CPU)
        assert (tmp_path / "kept").read_text() == "mine"

    def test_a_full_disk(self, cache, guides, training_frames, monkeypatch):
        def full(self: Path, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="No space left on device"):
            filled(cache, guides, training_frames[0].prepared, TEACHER_HEAD)
        assert entries(cache.folder) == []

    def test_frames_that_never_come_back(self, train, guided_config, tmp_path):
        config = with_training(guided_config, augment=AugmentConfig(scale=0.2))
        with pytest.raises(
            ConfigError, match=r"augment\.scale 0\.2 and crop 0 .*: what they give cannot be kept; leave out"
        ):
            train("run", config=config)
        assert not (tmp_path / "kept").exists()
        assert train("run", None, config)
