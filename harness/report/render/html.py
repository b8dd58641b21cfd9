"""What this project's HTML pages share: templates that escape, one style, and a policy that lets nothing in.

A content security policy forbids a page every request, and every script but the project's own, known by its hash,
should anything from results slip through the escaping.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from harness.report import text
from harness.report.render.styles import COLOURS, DARK_COLOURS

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


def source(package: str, name: str) -> str:
    """The text of a file that lies in a package."""
    return (resources.files(package) / name).read_text(encoding="utf-8")


def template(content: str, filters: Mapping[str, Callable[..., Any]]) -> Template:
    """A template that escapes whatever it is given, and fails on a name that it is not.

    Args:
        content: of the template.
        filters: beside ``shown``, which makes a name printable.
    """
    from jinja2 import BaseLoader, Environment, StrictUndefined

    environment = Environment(loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"shown": text.shown, **filters}
    return environment.from_string(content)


def policy(script: str) -> str:
    """The content security policy of a page whose only script is the given one, which holds nothing from results."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )


def style(own: str) -> Markup:
    """The style of all pages, a page's own behind it, and the codecs' colours as classes, lighter on dark screens."""

    def rules(colours: tuple[str, ...]) -> str:
        return "".join(f".c{at}{{--c:{colour}}}" for at, colour in enumerate(colours))

    colours = f"{rules(COLOURS)}@media (prefers-color-scheme: dark){{{rules(DARK_COLOURS)}}}"
    return safe(source("harness.report.render", "base.css") + own + colours)


def safe(markup: str) -> Markup:
    """This project's own drawing, style or script, which a template is not to escape."""
    from markupsafe import Markup

    return Markup(markup)
