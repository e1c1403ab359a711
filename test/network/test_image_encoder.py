"""The image encoder: strides, dilations, torchvision's key names, batches of one."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from monotakd_ros.config import EncoderConfig
from monotakd_ros.network.image_encoder import ImageEncoder, ImagePooling


@pytest.fixture
def paper_encoder() -> ImageEncoder:
    """Shapes without memory."""
    with torch.device("meta"):
        return ImageEncoder(EncoderConfig(), 120)


@pytest.mark.parametrize(("height", "width"), [(61, 150), (64, 152), (33, 41)])
def test_feature_map_is_an_eighth_rounded_up(tiny_config, height, width):
    encoder = ImageEncoder(tiny_config.encoder, tiny_config.depth.num_bins).eval()
    features, logits = encoder(torch.zeros(1, 3, height, width))
    assert features.shape == (1, 6, -(-height // 8), -(-width // 8))
    assert logits.shape == (1, 13, *features.shape[2:])


@pytest.mark.parametrize("stage", [2, 3, 4])
def test_every_feature_stage_has_stride_eight(tiny_config, stage):
    config = dataclasses.replace(tiny_config.encoder, feature_stage=stage)
    features, logits = ImageEncoder(config, 12).eval()(torch.zeros(1, 3, 64, 96))
    assert features.shape[2:] == logits.shape[2:] == (8, 12)


def test_a_cell_is_centred_on_its_eighth_pixel(tiny_config):
    """Mirroring an image whose width is 8 n + 1 mirrors the feature map, if cell i is centred on pixel 8 i."""
    torch.manual_seed(0)
    encoder = ImageEncoder(tiny_config.encoder, 12).eval()
    for parameter in encoder.parameters():
        if parameter.dim() == 4:
            parameter.data = 0.5 * (parameter.data + parameter.data.flip(-1))
    image = torch.randn(1, 3, 41, 97)
    straight, mirrored = encoder(image)[0], encoder(image.flip(-1))[0]
    torch.testing.assert_close(mirrored, straight.flip(-1), atol=1e-4, rtol=1e-4)


def test_dilated_stages_follow_torchvision(paper_encoder):
    backbone = paper_encoder.backbone
    dilations = [[block.conv2.dilation[0] for block in getattr(backbone, f"layer{i}")] for i in range(1, 5)]
    assert dilations == [[1, 1, 1], [1, 1, 1, 1], [1, 2, 2, 2, 2, 2], [2, 4, 4]]
    strides = [getattr(backbone, f"layer{i}")[0].conv2.stride[0] for i in range(1, 5)]
    assert strides == [1, 2, 1, 1]


def test_the_paper_model_has_the_official_keys_and_sizes(data_dir, paper_encoder):
    table = data_dir.parent / "design" / "state_dicts" / "student.tsv"
    if not table.is_file():
        pytest.skip(f"no {table}")
    prefixes = {"vfe.ffn.ddn.model.": "", "vfe.ffn.channel_reduce.": "channel_reduce."}
    official = {}
    for line in table.read_text().splitlines():
        key, _, rest = line.partition("\t")
        for prefix, ours in prefixes.items():
            if key.startswith(prefix):
                official[ours + key[len(prefix) :]] = rest.split("\t")[0]
    own = {key: str(tuple(tensor.shape)) for key, tensor in paper_encoder.state_dict().items()}
    assert own == official


def test_parameter_count_of_the_paper_model(paper_encoder):
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in paper_encoder.named_children()}
    assert counts == {"backbone": 23_508_032, "classifier": 16_156_537, "channel_reduce": 65_664}


def test_a_batch_of_one_can_be_trained():
    pooling = ImagePooling(3, 4)
    before = pooling[2].running_mean.clone()
    alone = pooling.train()(torch.randn(1, 3, 5, 6))
    assert alone.shape == (1, 4, 5, 6)
    assert torch.equal(pooling[2].running_mean, before)
    pooling(torch.randn(2, 3, 5, 6))
    assert not torch.equal(pooling[2].running_mean, before)
