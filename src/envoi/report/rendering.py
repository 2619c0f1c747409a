"""How templates become pages: whatever they are given is text, unless it is `Markup`."""

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from envoi.report.canvas import variable
from envoi.report.names import duration, method_title, printable, size

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """What the macro `cell` shows: a value, what stands below it, and whether it stands out."""

    value: str
    detail: str = ""
    clear: bool = False


def environment() -> Environment:
    """The templates of all reports; every value is escaped, a missing one is an error."""
    made = Environment(
        loader=PackageLoader("envoi.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters.update(size=size, duration=duration, variable=variable, title=method_title)
    return made


def _shown(value: object) -> object:
    """Text without characters that hide or reorder other text."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(printable(line) for line in value.splitlines())
    return value
