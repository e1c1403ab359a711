"""Matplotlib figures as SVG that a page can hold: small, the same in every run, and in the page's own colours.

Charts are drawn in the sentinel colours below; here they become CSS custom properties, so that one picture serves light
and dark. Text stays text and takes the page's font. Ids begin with the chart's own name, so that many charts can share
a page.
"""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH_PX, HEIGHT_PX = 360, 270
"""A phone's width: text keeps its size there, and grows a little elsewhere."""
TEXT_PX = 12
SMALL_TEXT_PX = 11

INK = "#010203"
FAINT = "#020304"
GRID = "#030405"
PAPER = "#040506"
GREY = "#050607"
CAR = "#060708"
PEDESTRIAN = "#070809"
CYCLIST = "#08090a"
OTHER = "#090a0b"
VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--grid",
    PAPER: "--paper",
    GREY: "--grey",
    CAR: "--car",
    PEDESTRIAN: "--pedestrian",
    CYCLIST: "--cyclist",
    OTHER: "--other",
}
CLASS_COLOURS = {"Car": CAR, "Pedestrian": PEDESTRIAN, "Cyclist": CYCLIST}

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "monotakd",
    "svg.image_inline": True,
    "font.family": ["sans-serif"],
    "font.size": TEXT_PX,
    "axes.unicode_minus": True,
    "text.usetex": False,
    "path.simplify": True,
}


def class_colour(name: str) -> str:
    """The sentinel colour of a class."""
    return CLASS_COLOURS.get(name, OTHER)


def new_figure(height_px: float = HEIGHT_PX) -> Figure:
    """An empty figure, one point a pixel."""
    return Figure(figsize=(WIDTH_PX / 72, height_px / 72), dpi=72, facecolor="none")


def add_axes(figure: Figure, left: float, bottom: float, right: float, top: float) -> Axes:
    """Plain axes whose edges lie so many pixels from the figure's."""
    width, height = figure.get_size_inches() * 72
    place = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    axes = figure.add_axes(place, facecolor="none")
    axes.set_axisbelow(True)
    axes.grid(True, color=GRID, linewidth=1)
    axes.tick_params(colors=FAINT, labelsize=SMALL_TEXT_PX, length=0, pad=5)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(FAINT)
    return axes


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Axis titles with units; y's lies flat above the axis, where it is read without turning the head."""
    axes.set_xlabel(x, color=INK, fontsize=TEXT_PX, labelpad=5)
    axes.set_title(y, loc="left", color=INK, fontsize=TEXT_PX, pad=9, x=0.0)


def add_legend(figure: Figure, axes: Axes, columns: int) -> None:
    """The names of what is drawn, at the figure's foot."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="lower center",
        ncol=columns,
        frameon=False,
        fontsize=SMALL_TEXT_PX,
        labelcolor=INK,
        handlelength=2.6,
        columnspacing=1.6,
        labelspacing=0.35,
        borderpad=0.1,
        bbox_to_anchor=(0.5, 0.0),
    )


def chart_id(kind: str, name: str) -> str:
    """An HTML id for the chart of one class: what an id cannot hold is written as its number."""
    return f"{kind}-" + "".join(
        letter if letter.isascii() and letter.isalnum() else f"_{ord(letter):x}" for letter in name
    )


def svg_from_figure(figure: Figure, name: str, title: str) -> str:
    """The figure as an `<svg>` element for a page.

    Args:
        figure: drawn in this module's colours.
        name: unique on the page; letters, digits and hyphens.
        title: what the chart shows, for those who do not see it.
    """
    buffer = io.BytesIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="none")
    root = ElementTree.fromstring(buffer.getvalue())
    for element in root.iter():
        _plain_names(element)
    for child in [child for child in root if child.tag == "metadata"]:
        root.remove(child)
    _drop_styles(root)
    _own_ids(root, name)
    for attribute in ("width", "height", "version", "id"):
        root.attrib.pop(attribute, None)
    heading = ElementTree.Element("title", id=f"{name}-title")
    heading.text = title
    root.insert(0, heading)
    root.attrib |= {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "aria-labelledby": f"{name}-title"}
    return _compact(ElementTree.tostring(root, encoding="unicode"))


def _plain_names(element: ElementTree.Element) -> None:
    """Drop XML namespaces, which HTML does not know."""
    element.tag = element.tag.rpartition("}")[2]
    for key in list(element.attrib):
        if key.startswith("{"):
            element.attrib[key.rpartition("}")[2]] = element.attrib.pop(key)


def _drop_styles(root: ElementTree.Element) -> None:
    """Matplotlib's style sheet would hold for the whole page; its rule goes to the root. Fonts are the page's."""
    for parent in root.iter():
        for child in [child for child in parent if child.tag == "style"]:
            parent.remove(child)
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    for element in root.iter("text"):
        declarations = [part.strip() for part in element.get("style", "").split(";") if part.strip()]
        size = next((match[1] for part in declarations if (match := re.search(r"([\d.]+)px", part))), str(TEXT_PX))
        kept = [part for part in declarations if not part.startswith("font")]
        element.set("style", "; ".join([f"font-size: {size}px", *kept]))


def _own_ids(root: ElementTree.Element, name: str) -> None:
    """Keep only the ids that are referred to, numbered below the chart's name."""
    text = ElementTree.tostring(root, encoding="unicode")
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', text)
    new = {old: f"{name}-{number}" for number, old in enumerate(dict.fromkeys(used))}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id" and value not in new:
                del element.attrib[key]
            elif key == "id":
                element.set(key, new[value])
            elif key == "href" and value[1:] in new:
                element.set(key, f"#{new[value[1:]]}")
            elif "url(#" in value:
                element.set(key, re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{new[match[1]]})", value))


def _compact(svg: str) -> str:
    """Colours of the page, and hundredths of a pixel."""
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", svg)
    return re.sub(r">\s+<", "><", svg).strip()
