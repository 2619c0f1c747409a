"""What a training is given: checked against the study, and told apart from other trainings."""

from dataclasses import asdict

from envoi.errors import DataError, Problem
from envoi.files import canonical_json, digest
from envoi.settings import Precision, TrainingSettings
from envoi.study import Study
from envoi.types import ImageSet


def check_images(images: ImageSet, study: Study) -> None:
    """Refuse images that the study's networks cannot learn from.

    Raises:
        DataError: No image, other channels or size, or other classes; all of it at once.
    """
    spec = study.image
    problems = []
    if not len(images):
        problems.append(
            Problem(
                "at least one image",
                "none",
                "images",
                "Give images, or choose other ones.",
            )
        )
    if images.images.shape[1:] != (spec.channels, spec.size_px, spec.size_px):
        problems.append(
            Problem(
                f"images of {spec.channels} channels and {spec.size_px} pixels, as the study says",
                f"shape {images.images.shape[1:]}",
                "images",
                "Prepare the images with the study's channels and size.",
            )
        )
    if tuple(images.class_names) != tuple(study.classes):
        problems.append(
            Problem(
                f"the study's classes {', '.join(study.classes)}",
                ", ".join(images.class_names)[:200],
                "labels",
                "Name the classes as the study does, in its order.",
            )
        )
    if problems:
        raise DataError(*problems)


def job_fingerprint(
    images: ImageSet,
    *,
    study: Study,
    architecture: str,
    settings: TrainingSettings,
    seed: int,
    name: str = "site",
    precision: Precision = "fp32",
) -> str:
    """Identifies a training by all that decides its result, for its checkpoint."""
    arrays = (images.images, images.labels, images.patients)
    initial = {"classes", "image", "seed", "initialisation"}
    content = {
        "data": [None if array is None else digest(array.tobytes()) for array in arrays],
        "initial": study.model_dump(mode="json", include=initial),
        "architecture": architecture,
        "settings": asdict(settings),
        "seed": seed,
        "name": name,
        # Left out where nothing is lowered, as in fingerprints of before it could be.
        **({} if precision == "fp32" else {"precision": precision}),
    }
    return digest(canonical_json(content).encode())
