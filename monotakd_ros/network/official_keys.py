"""Which key of the published MonoTAKD weights is which of ours, and which ones nothing here needs.

Each rename replaces the beginning of a key; what follows it (block numbers, `weight`, `running_mean`, ...) is the same
on both sides. Renames are one to one, so that an error can name every key as the official file does.
"""

from __future__ import annotations

from collections.abc import Mapping

ENCODER = {
    "vfe.ffn.ddn.model.": "encoder.",
    "vfe.ffn.channel_reduce.": "encoder.channel_reduce.",
}
DETECTOR = {
    "backbone_2d.": "bev_backbone.",
    "dense_head.": "head.",
}
CAMERA = {
    **ENCODER,
    "map_to_bev_module.block.": "collapse.",
    "domain_adaptation.layers.": "adaptation.",
    **DETECTOR,
}
LIDAR = {"backbone_3d.": "lidar_encoder.", **DETECTOR}

_SAM = "map_to_bev_module.sam."
_ALIGNMENT = "residual.alignment."
RESIDUAL = {
    "map_to_bev_module.block_copy.": "residual.collapse.",
    "map_to_bev_module.block_target.": "residual.assistant_collapse.",
    f"{_SAM}aspp.conv_1x1_1.": f"{_ALIGNMENT}context.cell.0.",
    f"{_SAM}aspp.bn_conv_1x1_1.": f"{_ALIGNMENT}context.cell.1.",
    f"{_SAM}aspp.conv_3x3_1.": f"{_ALIGNMENT}context.near.0.",
    f"{_SAM}aspp.bn_conv_3x3_1.": f"{_ALIGNMENT}context.near.1.",
    f"{_SAM}aspp.conv_3x3_2.": f"{_ALIGNMENT}context.far.0.",
    f"{_SAM}aspp.bn_conv_3x3_2.": f"{_ALIGNMENT}context.far.1.",
    f"{_SAM}aspp.conv_1x1_2.": f"{_ALIGNMENT}context.whole.1.",
    f"{_SAM}aspp.bn_conv_1x1_2.": f"{_ALIGNMENT}context.whole.2.",
    f"{_SAM}aspp.conv_1x1_3.": f"{_ALIGNMENT}context.project.0.",
    f"{_SAM}aspp.bn_conv_1x1_3.": f"{_ALIGNMENT}context.project.1.",
    f"{_SAM}fc.": f"{_ALIGNMENT}gate.",
    f"{_SAM}dcn.conv1.": f"{_ALIGNMENT}shift.offsets.",
    f"{_SAM}dcn.conv2.": f"{_ALIGNMENT}shift.",
    f"{_SAM}conv.": f"{_ALIGNMENT}merge.",
}

_FFM = "backbone_2d.fusion_nn."
FUSION = {
    f"{_FFM}conv.": "fusion.mix.",
    f"{_FFM}conv2.": "fusion.expand.",
    f"{_FFM}conv3.": "fusion.reduce.",
    f"{_FFM}bn.": "fusion.norm.",
    f"{_FFM}bn2.": "fusion.expand_norm.",
}

RENAMES = {
    "student": {**CAMERA, **RESIDUAL, **FUSION},
    "assistant": CAMERA,
    "teacher": LIDAR,
}
"""Per network: beginning of the official key -> beginning of ours."""

BRANCH = (
    "map_to_bev_module.block_copy.",
    "map_to_bev_module.block_target.",
    "map_to_bev_module.GC_block.",
    _SAM,
    _FFM,
)
"""Any key that begins so tells a student of MonoTAKD from one of CMKD."""

ASSISTANT_BRANCH = "map_to_bev_module.block_target."
CAMERA_KEYS, LIDAR_KEYS = "vfe.ffn.", "backbone_3d."
STAGE3 = "vfe.ffn.ddn.model.backbone.layer3."

COUNTER = {"global_step": "the official code's count of training steps"}
GLOBAL_CONTEXT = {"map_to_bev_module.GC_block.": "a global context block that the official code builds and never calls"}
DEPTH_HEAD = {
    "vfe.ffn.ddn.model.backbone.layer4.": "last ResNet stage, which serves the depth head only",
    "vfe.ffn.ddn.model.classifier.": "depth head: the assistant's depth is measured",
}
TEACHER_FUSION = {_FFM: "a fusion module that the official teacher builds and never calls"}
STUDENT_FUSION = {_FFM: "fusion module, unused while fusion is off"}

UNUSED = {
    "student": {**COUNTER, **GLOBAL_CONTEXT, **STUDENT_FUSION},
    "assistant": {**COUNTER, **DEPTH_HEAD},
    "teacher": {**COUNTER, **TEACHER_FUSION},
}
"""Per network: beginning of official keys that it has no use for -> the reason. A file may lack them."""


def official_name(key: str, renames: Mapping[str, str]) -> str:
    """The official name of one of our keys.

    Raises:
        KeyError: no rename covers it.
    """
    matches = [(ours, official) for official, ours in renames.items() if key.startswith(ours)]
    if not matches:
        raise KeyError(key)
    ours, official = max(matches, key=lambda match: len(match[0]))
    return official + key[len(ours) :]


def reason_unused(key: str, unused: Mapping[str, str]) -> str | None:
    """Why nothing needs this official key; None if it is not known to be unused."""
    return next((reason for beginning, reason in unused.items() if key.startswith(beginning)), None)
