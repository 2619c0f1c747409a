"""Teachers like others, but for what their sites told of them."""

from dataclasses import replace
from typing import Any

from envoi.server.teacher import Teachers


def with_members(teachers: Teachers, **changes: Any) -> Teachers:
    """The same teachers, each with `changes`."""
    members = tuple(replace(member, **changes) for member in teachers.members)
    return Teachers(members, teachers.image)
