"""How boxes of each kind look, in all pictures, windows and bags: labels by class, the others by whose they are.

A teacher's box becomes a label as it is, and both would lie on each other: the teacher's is drawn a little larger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from monotakd_ros.frame import BoxKind
from monotakd_ros.visualization.palette import (
    ASSISTANT,
    GROUND_TRUTH,
    TEACHER,
    UNCERTAIN_BOX,
    Colour,
    class_colour,
)


@dataclass(frozen=True)
class BoxStyle:
    """The look of one kind.

    Attributes:
        colour: of lines; None for that of each box's class.
        width: of lines, px.
        dashed: whether lines are.
        opacity: of the fill, 0..1.
        grow_m: how far outside of the box its lines are drawn, to the sides.
        nose: whether a stroke tells the heading from above.
        in_image: whether it is drawn into the camera's image.
        tagged: whether class, score and distance are written beside it there.
    """

    colour: Colour | None
    width: int = 1
    dashed: bool = False
    opacity: float = 0.0
    grow_m: float = 0.0
    nose: bool = True
    in_image: bool = True
    tagged: bool = False

    def colour_of(self, class_name: str) -> Colour:
        """Of a box of this class."""
        return class_colour(class_name) if self.colour is None else self.colour

    def grown(self, boxes_lidar: np.ndarray) -> np.ndarray:
        """Boxes (N, 7), `grow_m` larger to each side."""
        return boxes_lidar + 2 * self.grow_m * np.array([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0])


BOX_STYLES: Mapping[BoxKind, BoxStyle] = MappingProxyType(
    {
        "teacher": BoxStyle(TEACHER, grow_m=0.25, nose=False, in_image=False),
        "assistant": BoxStyle(ASSISTANT, in_image=False),
        "uncertain": BoxStyle(UNCERTAIN_BOX),
        "labels": BoxStyle(None, width=2, opacity=0.3, tagged=True),
        "truth": BoxStyle(GROUND_TRUTH, dashed=True),
    }
)
"""In the order in which they are drawn."""
