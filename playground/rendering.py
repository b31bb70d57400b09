"""Renders templates, with the few words of format that all pages share."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from quintet import __version__
from quintet.playground.site import Site
from quintet.records import BASE, TEMPORARY

CAP = 1500
"""Characters of a text shown at once; the rest is a click away."""

PLAYERS = ("proposer", "solver", "critic", "curator", "trainer", "evaluation")
"""Roles with a colour of their own; any other gets one of `HUES` by its name."""

HUES = 6


def page(request: Request, template: str, status: int = 200, /, **context: Any) -> HTMLResponse:
    """A template as a response; every template knows `site`, `request` and `version`."""
    body = (
        environment()
        .get_template(template)
        .render(request=request, site=Site.of(request), version=__version__, **context)
    )
    return HTMLResponse(body, status)


@cache
def environment() -> Environment:
    """The templates' environment: everything is escaped, and a name that is not there is an error."""
    # Ours escapes every template, whatever its file is called.
    found = Environment(
        loader=PackageLoader("quintet.playground"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        count=count,
        duration=duration,
        data=data,
        figure=figure,
        hue=hue,
        percent=percent,
        points=points,
        pretty=pretty,
        probability=probability,
        share=share,
        short=short,
        signed=signed,
        stamp=stamp,
        url=url,
    )
    found.globals.update(CAP=CAP, BASE=BASE, TEMPORARY=TEMPORARY)
    return found


def count(value: float) -> str:
    """`12,345`."""
    return f"{value:,.0f}"


def figure(value: float) -> str:
    """A number in as many digits as one reads: `12,345`, `0.0381`, `5e-05`."""
    if float(value).is_integer() and abs(value) < 1e15:
        return count(value).replace("-", "−")
    return (f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−", value < 0)


def share(value: float) -> str:
    """A fraction as `41.2 %`."""
    return f"{100 * value:.1f} %"


def percent(part: float, whole: float) -> str:
    """`41.2 %`, or a dash where there is nothing to divide by."""
    return share(part / whole) if whole else "–"


def points(value: float) -> str:
    """A difference of fractions as `+24.4`, in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """`+0.024`."""
    return f"{value:+.{digits}f}".replace("-", "−")


def probability(value: float) -> str:
    """A p-value, as `0.03` or `4e-7`."""
    if value >= 0.001:
        return f"{value:.2g}"
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `37 s`, `11 min 20 s` or `2 h 5 min`."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def stamp(seconds: float) -> Markup:
    """A time since the epoch as a `<time>` element, in UTC; a script shows it in the reader's own zone."""
    at = datetime.fromtimestamp(seconds, UTC)
    shown = f"{at:%Y-%m-%d %H:%M}"
    return Markup('<time datetime="{}">{} UTC</time>').format(at.isoformat(timespec="milliseconds"), shown)


def short(id: str | None) -> str:
    """An id to read: its kind and the first six digits."""
    if not id:
        return "–"
    kind, dash, digits = id.partition("-")
    return f"{kind}-{digits[:6]}" if dash and len(digits) == 16 else id


def hue(role: str | None) -> str:
    """The CSS class of a role's colour."""
    name = role or ""
    if name in PLAYERS:
        return f"role-{name}"
    return f"hue-{int(hashlib.sha256(name.encode()).hexdigest(), 16) % HUES}"


def pretty(value: Any) -> str:
    """Indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def data(value: Any) -> Markup:
    """JSON for a `<script type="application/json">`: no text in it can end the element, and NaN is null."""
    text = json.dumps(_finite(value), ensure_ascii=False, default=str)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


def url(value: str) -> str:
    """A text as one segment of a path, or a value in a query."""
    return quote(value, safe="")


def _finite(value: Any) -> Any:
    """The value with null for each number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
