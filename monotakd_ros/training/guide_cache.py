"""The guides' outputs on disk: computed once per frame and mirrored frame, then read.

One folder per guide, `DIR/teacher` and `DIR/assistant`, with `guide.json`, which tells the weights, the network, the
precision and the kind of device that made it, and one file per frame and part. An entry is named by the content that
the guide was shown (image, calibration, clouds) and by the guide, so that other frames or another preprocessing can
never be taken for it. Entries appear whole or not at all; several runs may share a folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from monotakd_ros.atomic import atomic_path
from monotakd_ros.errors import TrainingError
from monotakd_ros.provenance import network_code

_log = logging.getLogger(__name__)

GUIDE_CACHE_VERSION = 1
GUIDE_FILE = "guide.json"
_FAST = 1
"""zlib's level: the higher ones save a tenth of the bytes and take several times as long."""

_CHECK_BYTES = 4

FrameMaps = Mapping[str, torch.Tensor]
"""Maps of one frame by name: `bev` (C, Y, X), head maps (A, .)."""


@dataclass(frozen=True)
class Part:
    """Maps of one guide that are kept together.

    Attributes:
        kind: "teacher" or "assistant".
        name: of the part, and of its folder.
        maps: names in `DetectionOutput`.
    """

    kind: str
    name: str
    maps: tuple[str, ...]


def guide_facts(network: nn.Module, amp: str, device: torch.device) -> dict[str, Any]:
    """What makes a guide's outputs what they are, as plain values.

    Args:
        network: with `config`, the settings that it was built from.
        amp: precision that it runs in.
        device: of which the type counts: another one rounds otherwise.
    """
    settings = asdict(network.config) | {"cell_depth": getattr(network, "cell_depth", None)}
    facts = {
        "version": GUIDE_CACHE_VERSION,
        "weights": _weights_digest(network),
        "network": settings,
        "amp": amp,
        "device": device.type,
        "torch": torch.__version__,
        "code": network_code(),
    }
    return json.loads(json.dumps(facts))  # tuples become lists, as in the file


def _weights_digest(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)};".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class GuideCache:
    """Outputs of the guides that `facts` describes; knows nothing of other guides.

    Args:
        folder: of the cache; made when missing.
        facts: by kind of guide, see `guide_facts`.

    Raises:
        TrainingError: the folder was made by other guides, or its `guide.json` is damaged.
        OutputError: it cannot be written.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder = folder
        self._guides = {kind: json.dumps(item, sort_keys=True) for kind, item in facts.items()}
        for kind, item in facts.items():
            _claim(folder / kind / GUIDE_FILE, item)

    def path(self, digest: str, part: Part) -> Path:
        """The file of one frame's part."""
        name = hashlib.blake2b((digest + self._guides[part.kind]).encode(), digest_size=16).hexdigest()
        return self.folder / part.kind / part.name / name[:2] / name[2:]

    def read(self, digest: str, parts: Sequence[Part]) -> dict[Part, FrameMaps]:
        """The parts of a frame that are there, on the CPU; a damaged one is not, with a warning."""
        found = {}
        for part in parts:
            path = self.path(digest, part)
            try:
                found[part] = unpack_maps(path.read_bytes(), part.maps)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                _log.warning("%s: a damaged entry of the guides' cache (%s): computed anew", path, error)
        return found

    def write(self, digest: str, maps: Mapping[Part, FrameMaps]) -> None:
        """Keep parts of a frame.

        Raises:
            OutputError: the disk is full, or the place cannot be written.
        """
        for part, item in maps.items():
            with atomic_path(self.path(digest, part)) as temporary:
                temporary.write_bytes(pack_maps(item))


def _claim(path: Path, facts: Mapping[str, Any]) -> None:
    """Write what made a cache where nothing tells it yet; else check that it is the same."""
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: the guides' cache is damaged ({error}); delete {path.parent}") from error
    differing = differences(found, facts) if isinstance(found, dict) else [f"expected a mapping, got {found!r}"]
    if differing:
        raise TrainingError(
            f"{path.parent}: this cache was made by another {path.parent.name}: {'; '.join(differing)}. Give another "
            "folder (--guide-cache), or delete this one"
        )


def differences(found: Any, wanted: Any, key: str = "") -> list[str]:
    """One line per plain value that differs between two nested mappings."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        names = [*wanted, *(name for name in found if name not in wanted)]
        prefix = f"{key}." if key else ""
        return [line for name in names for line in differences(found.get(name), wanted.get(name), prefix + name)]
    return [] if found == wanted else [f"{key}: expected {wanted!r}, got {found!r}"]


def pack_maps(maps: FrameMaps) -> bytes:
    """Maps as bytes: a checksum, a line of JSON that lists the maps, then each of them, compressed."""
    head: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for name, tensor in maps.items():
        blobs.append(zlib.compress(_raw_bytes(tensor).data, _FAST))
        dtype = str(tensor.dtype).removeprefix("torch.")
        head.append({"name": name, "dtype": dtype, "shape": list(tensor.shape), "bytes": len(blobs[-1])})
    content = json.dumps(head).encode() + b"\n" + b"".join(blobs)
    return _checksum(content) + content


def unpack_maps(data: bytes, names: Sequence[str]) -> FrameMaps:
    """What `pack_maps` was given.

    Raises:
        ValueError: damaged, or other maps than `names`.
    """
    check, content = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
    if not content or check != _checksum(content):
        raise ValueError(f"the checksum of its {len(data)} bytes is wrong")
    start = content.index(b"\n") + 1
    maps = {}
    for item in json.loads(content[:start]):
        maps[item["name"]] = _unpack_map(content[start : start + item["bytes"]], item["dtype"], item["shape"])
        start += item["bytes"]
    if tuple(maps) != tuple(names):
        raise ValueError(f"expected the maps {', '.join(names)}, got {', '.join(maps)}")
    return maps


def _unpack_map(blob: bytes, dtype: str, shape: Sequence[int]) -> torch.Tensor:
    kind = getattr(torch, dtype)
    raw = torch.from_numpy(np.frombuffer(bytearray(zlib.decompress(blob)), dtype=np.uint8))
    if len(shape) == 3:
        channels, rows, columns = shape
        return raw.view(kind).reshape(rows, columns, channels).permute(2, 0, 1)
    planes = raw.reshape(torch.empty(0, dtype=kind).element_size(), -1)
    return planes.T.contiguous().reshape(-1).view(kind).reshape(list(shape))


def _raw_bytes(tensor: torch.Tensor) -> np.ndarray:
    """A tensor's bytes in an order that compresses well.

    Of (C, Y, X) the channels of a cell lie together: where a LiDAR map is empty, those are runs of zeros. Of anything
    else the first bytes of all numbers, then the second ones: sign and exponent vary less than the digits.
    """
    array = tensor.detach().cpu()
    array = (array.permute(1, 2, 0) if array.ndim == 3 else array).contiguous()
    raw = array.reshape(-1).view(torch.uint8).numpy()
    return raw if array.ndim == 3 else np.ascontiguousarray(raw.reshape(-1, array.element_size()).T)


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECK_BYTES, "little")
