"""Envoi: one-shot federated learning for medical images.

Every hospital trains on its own images and sends one file, once. Names are loaded when they
are first used, so that `import envoi` is fast and loads no torch.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Budget": "envoi.settings",
    "DataSet": "envoi.types",
    "EnvoiError": "envoi.errors",
    "Federation": "envoi.simulation.federation",
    "FederationSettings": "envoi.simulation.federation",
    "ImageSet": "envoi.types",
    "ImageSpec": "envoi.types",
    "Metrics": "envoi.results",
    "Study": "envoi.study",
    "Submission": "envoi.submission",
    "Teachers": "envoi.server.teacher",
    "TrainingSettings": "envoi.settings",
    "VolumePermissions": "envoi.data.nifti",
    "build_network": "envoi.submission",
    "collect": "envoi.server.collect",
    "distil": "envoi.server.build",
    "evaluate": "envoi.evaluation",
    "fedisca": "envoi.server.methods",
    "load_brain_model": "envoi.mri.api",
    "load_brains": "envoi.data.brains",
    "load_folder": "envoi.data",
    "load_medmnist": "envoi.data",
    "load_student": "envoi.server.student",
    "load_study": "envoi.study",
    "load_table": "envoi.data",
    "method_called": "envoi.server.methods",
    "open_submission": "envoi.submission",
    "parse_partition": "envoi.simulation.partition",
    "phantom_federation": "envoi.data",
    "predict": "envoi.server.build",
    "release": "envoi.site.export",
    "run_bench": "envoi.simulation.bench",
    "split_subjects": "envoi.data.brains",
    "train": "envoi.site.train",
    "train_brains": "envoi.mri.api",
    "write_nifti": "envoi.data.nifti",
    "write_report": "envoi.report",
    "write_submission": "envoi.submission",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  (the names are the keys of one literal)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any public object)
    if name not in _HOMES:
        raise AttributeError(f"module 'envoi' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
