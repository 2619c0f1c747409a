"""Fed-ISIC2019: dermoscopies of ISIC 2019 at six centres, as FLamby splits them.

du Terrail et al., "FLamby", NeurIPS 2022 (arXiv:2210.04620). Its centres are the four parts of
HAM10000 by their camera or clinic, BCN_20000 and MSK; images of no known lesion are left out.

    SOURCE/ISIC_2019_Training_Input/*.jpg      or ISIC_2019_Training_Input.zip, as it is
    SOURCE/ISIC_2019_Training_GroundTruth.csv  image and one column for each class
    SOURCE/ISIC_2019_Training_Metadata.csv     image, lesion_id and more
    SOURCE/train_test_split                    FLamby's: image, target, center, fold, fold2
    SOURCE/HAM10000_metadata                   may be missing; with it, centres are checked

What FLamby's pixels are here: the shorter side scaled to 224 pixels, bilinear, then shades of
grey. Departures: the shorter side is exactly as told (FLamby's floats can end a pixel below),
constant colours do not wrap around (`colour_constancy`), and no second JPEG compression is made.

FLamby splits by image, and photographs of one lesion lie on both sides. What a lesion looks like
can then be learned by heart; `split="lesion"` deals whole lesions in its place. Which patient a
lesion is of, ISIC 2019 does not tell.
"""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from envoi.data.findings import refuse
from envoi.data.prepared import Source
from envoi.data.sets.colour_constancy import shades_of_grey
from envoi.data.sets.isic_tables import CENTRES, CLASSES, SPLIT, Lesions, read_lesions
from envoi.data.sets.source import Files, Leniency, Matched, Scan, check_folder_of, match
from envoi.data.splits import SplitPlan, patient_split
from envoi.errors import EnvoiWarning, Problem, SettingsError
from envoi.seeding import numpy_generator
from envoi.wording import counted

NAME = "fed-isic2019"
INPUT = "ISIC_2019_Training_Input"
ENDINGS = (".jpg",)
REMEDY = "Run `envoi data fetch fed-isic2019 --out FOLDER`, and give that folder."
_PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class IsicPlan:
    """What is made of the set.

    Attributes:
        shorter_px: Of each picture's sides; 224 is FLamby's.
        colour_constancy: Take the light's colour out, as FLamby does.
        split: `flamby`, or `lesion`: all images of a lesion in one part, a fifth of them tests.
        seed: Of the split by lesion.

    Raises:
        SettingsError: A choice is none of these.
    """

    shorter_px: int = 224
    colour_constancy: bool = True
    split: str = "flamby"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in {"flamby", "lesion"}:
            found, remedy = repr(self.split)[:40], "Choose one of them."
            raise SettingsError(Problem("flamby or lesion", found, "split", remedy))
        if self.shorter_px < 1:
            remedy = "Choose for instance 224."
            raise SettingsError(Problem("1 or more", f"{self.shorter_px}", "shorter_px", remedy))


def pictures_place(source: Path) -> Path:
    """The folder of photographs, or the zip file that holds them.

    Raises:
        StorageError: There is neither.
    """
    folder = source / INPUT
    if folder.is_dir():
        return folder
    check_folder_of(source, (f"{INPUT}.zip",), remedy=REMEDY)
    return source / f"{INPUT}.zip"


def scan_fed_isic2019(
    source: Path, files: Files, leniency: Leniency, plan: IsicPlan | None = None
) -> Scan:
    """Read the tables and match them with the photographs.

    `patient` of the sources is the lesion, unless FLamby's split divides lesions: no set may name
    a group that trains and tests at once, so that column is then left out, with a warning.

    Args:
        source: The folder.
        files: Its photographs.
        leniency: What may be wrong.
        plan: What is made of them.

    Raises:
        StorageError: Tables are missing or cannot be read.
        DataError: They are wrong or contradict each other, or photographs are missing.
    """
    plan = plan or IsicPlan()
    known = read_lesions(source, remedy=REMEDY)
    matched = match(files.names, known.lines, leniency, table=SPLIT)
    lesions = _numbered(matched, known)
    parts = {name: known.parts[name] for name in matched.names}
    if plan.split == "lesion":
        parts = _by_lesion(matched, known, lesions, plan.seed)
    divided = _divided(lesions, parts)
    if divided:
        _warn(divided, lesions)
    places = files.places()
    sources = tuple(
        Source(
            partial(_picture, files, name, places[name], plan),
            CLASSES[known.targets[name]],
            files.origin(name),
            None if divided else lesions[name],
            parts[name],
            CENTRES[known.centres[name]],
        )
        for name in matched.names
    )
    settings = {
        "shorter_px": plan.shorter_px,
        "colour_constancy": plan.colour_constancy,
        "split": plan.split,
        **({"seed": plan.seed} if plan.split == "lesion" else {}),
    }
    return Scan(NAME, sources, matched, settings)


def _numbered(matched: Matched, known: Lesions) -> dict[str, int]:
    """The lesion of each image as a number, by first appearance."""
    numbers: dict[str, int] = {}
    return {name: numbers.setdefault(known.lesions[name], len(numbers)) for name in matched.names}


def _by_lesion(
    matched: Matched, known: Lesions, lesions: Mapping[str, int], seed: int
) -> dict[str, str]:
    """Whole lesions, with each class of each centre near a fifth in test, as FLamby's share is."""
    kinds = [known.centres[name] * len(CLASSES) + known.targets[name] for name in matched.names]
    groups = [lesions[name] for name in matched.names]
    split = patient_split(
        np.array(kinds, np.int64),
        np.array(groups, np.int64),
        SplitPlan(validation=0, test=0.2),
        numpy_generator(seed, NAME, "split"),
    )
    return {
        matched.names[index]: part
        for part, indices in zip(_PARTS, split.parts, strict=True)
        for index in indices
    }


def _divided(lesions: Mapping[str, int], parts: Mapping[str, str]) -> set[int]:
    """Lesions that are in two parts."""
    first: dict[int, str] = {}
    return {
        lesion
        for name, lesion in lesions.items()
        if first.setdefault(lesion, parts[name]) != parts[name]
    }


def _warn(divided: set[int], lesions: Mapping[str, int]) -> None:
    images = sum(count for lesion, count in Counter(lesions.values()).items() if lesion in divided)
    warnings.warn(
        f"FLamby's split has {counted(len(divided), 'lesion')} ({counted(images, 'image')}) in "
        "training and test at once, so test scores are too good, and the set names no lesions. "
        "--split lesion (in Python: split='lesion') keeps lesions whole.",
        EnvoiWarning,
        stacklevel=3,
    )


def _picture(files: Files, name: str, where: str, plan: IsicPlan) -> Image.Image:
    picture = files.read(name, where)
    if picture.mode != "RGB":
        remedy = "Get the file again; the set's are in colour."
        refuse([Problem("a picture in colour", "a grey one", where, remedy)])
    shorter = min(picture.size)
    size = tuple(side * plan.shorter_px // shorter for side in picture.size)
    scaled = picture.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    if not plan.colour_constancy:
        return scaled
    return Image.fromarray(shades_of_grey(np.asarray(scaled)))
