"""What every page is rendered with: the templates and the style beside this module, figures as text, charts inside.

A page is one HTML file that needs nothing else: no network, no script.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib import resources
from itertools import zip_longest
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from monotakd_ros.report import wording

_OPTION = re.compile(r"(--[a-z][a-z-]*(?: \d+)?)")
FILTERS = ("number", "signed", "percent", "interval", "signed_interval", "plural", "distance_band")


def render_template(name: str, **content: Any) -> str:
    """A whole HTML document.

    Args:
        name: of a template beside this module.
        content: what it shows; strings are escaped unless they are markup.
    """
    environment = Environment(
        loader=FunctionLoader(shipped),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(wording, name) for name in FILTERS} | {"with_options": _with_options}
    return environment.get_template(name).render(words=wording, css=Markup(shipped("page.css")), **content)


def shipped(name: str) -> str:
    """Text of a file beside this module, also inside a zip."""
    return resources.files("monotakd_ros.report").joinpath(name).read_text(encoding="utf-8")


def drawn(names: Iterable[str], draw: Callable[[str], str | None]) -> dict[str, Markup]:
    """Class -> `<svg>`, without those classes that have nothing to show."""
    return {name: Markup(svg) for name in names if (svg := draw(name)) is not None}


def _with_options(text: str) -> Markup:
    """A sentence as HTML in which command-line options are not torn apart."""
    parts = _OPTION.split(text)
    options = (Markup('<code class="option">{}</code>').format(part) for part in parts[1::2])
    return Markup("").join(
        piece for pair in zip_longest(map(escape, parts[::2]), options, fillvalue="") for piece in pair
    )
