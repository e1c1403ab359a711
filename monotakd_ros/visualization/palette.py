"""Colours and line widths shared by all pictures. RGB.

The class colours stay apart for colour-blind eyes and on both road-grey and black; ground truth is dashed as well.
"""

from __future__ import annotations

Colour = tuple[int, int, int]

CLASS_COLOURS: dict[str, Colour] = {
    "Car": (255, 170, 40),
    "Pedestrian": (80, 190, 255),
    "Cyclist": (255, 95, 175),
}
OTHER_CLASS: Colour = (190, 150, 255)
GROUND_TRUTH: Colour = (130, 240, 130)
MISSED: Colour = (255, 255, 255)
WRONG: Colour = (255, 62, 62)
UNCERTAIN_BOX: Colour = (168, 176, 188)
TEACHER: Colour = (255, 246, 150)
ASSISTANT: Colour = (40, 222, 206)

BACKGROUND: Colour = (16, 19, 24)
BAR: Colour = (27, 31, 38)
GRID: Colour = (52, 59, 70)
FIELD_OF_VIEW: Colour = (96, 108, 126)
INK: Colour = (226, 231, 238)
FAINT_INK: Colour = (138, 149, 165)

POINT_STOPS: tuple[Colour, ...] = ((44, 66, 98), (92, 128, 158), (172, 190, 194), (238, 232, 206))
"""LiDAR points from low to high."""


def class_colour(name: str) -> Colour:
    """The colour of a class."""
    return CLASS_COLOURS.get(name, OTHER_CLASS)
