"""Going on with a result file: what it has already, if it is of the same settings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def known(file: Path, told: Mapping[str, Any], *, apart: tuple[str, ...] = ("device",)) -> Any:  # noqa: ANN401  (whatever the file holds)
    """What the file says, or an empty dictionary where there is none.

    Args:
        file: Of JSON.
        told: Settings that stand in it beside results.
        apart: Names of those that may differ.

    Raises:
        SystemExit: It is of other settings.
    """
    if not file.exists():
        return {}
    before, ours = json.loads(file.read_text()), json.loads(json.dumps(told))
    unlike = [name for name in ours if name not in apart and before.get(name) != ours[name]]
    if unlike:
        raise SystemExit(f"{file.name} is of another {', '.join(unlike)}: name another file")
    return before
