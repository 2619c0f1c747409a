"""The tables of Fed-ISIC2019, read together: each may contradict another, and none may."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from envoi.data.findings import refuse
from envoi.data.rows import read_columns
from envoi.data.sets.source import check_folder_of
from envoi.errors import Problem

TRUTH = "ISIC_2019_Training_GroundTruth.csv"
METADATA = "ISIC_2019_Training_Metadata.csv"
SPLIT = "train_test_split"
HAM = "HAM10000_metadata"
CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
"""By FLamby's `target`; ISIC's ninth column, UNK, has no training image."""
CENTRES = ("bcn", "vidir-molemax", "vidir-modern", "rosendahl", "msk", "vienna-dias")
"""By FLamby's `center`."""

# By the first four letters of a lesion's number; HAM10000's images by that table's `dataset`.
_BY_LESION = {"BCN_": 0, "MSK4": 4}
_BY_DATASET = {"vidir_molemax": 1, "vidir_modern": 2, "rosendahl": 3, "vienna_dias": 5}
_AGAIN = "Correct the line, or get the tables again; all must be of one version."


@dataclass(frozen=True, slots=True, eq=False)
class Lesions:
    """What the tables say of each image that FLamby's split names.

    Attributes:
        lines: Where that is.
        targets: Index of the class.
        centres: Index of the centre.
        parts: `train` or `test`.
        lesions: Number of the lesion, as ISIC has it; it goes no further than this room.
    """

    lines: Mapping[str, int]
    targets: Mapping[str, int]
    centres: Mapping[str, int]
    parts: Mapping[str, str]
    lesions: Mapping[str, str]


def read_lesions(source: Path, *, remedy: str) -> Lesions:
    """Read and compare the tables of a folder.

    Args:
        source: The folder.
        remedy: What to do if tables are missing or of another form.

    Raises:
        StorageError: Tables are missing or cannot be read.
        DataError: They are wrong, or contradict each other; all problems at once.
    """
    check_folder_of(source, (SPLIT, TRUTH, METADATA), remedy=remedy)
    columns = ("image", "target", "center", "fold", "fold2")
    rows = read_columns(source / SPLIT, columns, what=SPLIT, remedy=remedy)
    problems = list(_problems_of_split(rows))
    refuse(problems)
    known = Lesions(
        lines={name: line for line, (name, *_) in rows},
        targets={name: int(target) for _, (name, target, *_) in rows},
        centres={name: int(centre) for _, (name, _, centre, *_) in rows},
        parts={name: fold for _, (name, _, _, fold, _) in rows},
        lesions=_pairs(source, METADATA, "image", "lesion_id", remedy),
    )
    truth = _truth(source, remedy)
    datasets = {}
    if (source / HAM).exists():
        datasets = _pairs(source, HAM, "image_id", "dataset", remedy)
    refuse(_contradictions(known, truth, datasets))
    return known


def _problems_of_split(rows: list[tuple[int, tuple[str, ...]]]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    targets = {str(number) for number in range(len(CLASSES))}
    centres = {str(number) for number in range(len(CENTRES))}
    for line, (name, target, centre, fold, fold2) in rows:
        where = f"{SPLIT}, line {line}"
        if target not in targets:
            yield Problem(f"a target from 0 to {len(CLASSES) - 1}", "another", where, _AGAIN)
        if centre not in centres:
            yield Problem(f"a center from 0 to {len(CENTRES) - 1}", "another", where, _AGAIN)
        if fold not in {"train", "test"}:
            yield Problem("a fold train or test", "another", where, _AGAIN)
        elif fold2 != f"{fold}_{centre}":
            expected = "fold2 made of fold and center"
            yield Problem(expected, "something else", where, _AGAIN)
        if name in first:
            found = f"one also in line {first[name]}"
            yield Problem("each image once", found, where, "Remove one of the lines.")
        first.setdefault(name, line)


def _pairs(source: Path, table: str, key: str, value: str, remedy: str) -> dict[str, str]:
    rows = read_columns(source / table, (key, value), what=table, remedy=remedy)
    return {name: said for _, (name, said) in rows}


def _truth(source: Path, remedy: str) -> dict[str, int]:
    """The class of each image that has just one."""
    rows = read_columns(source / TRUTH, ("image", *CLASSES), what=TRUTH, remedy=remedy)
    truth = {}
    for _, (name, *cells) in rows:
        ones = [index for index, cell in enumerate(cells) if cell in {"1", "1.0"}]
        if len(ones) == 1:
            truth[name] = ones[0]
    return truth


def _contradictions(
    known: Lesions, truth: Mapping[str, int], datasets: Mapping[str, str]
) -> Iterator[Problem]:
    for name, line in known.lines.items():
        where = f"{SPLIT}, line {line}"
        if truth.get(name) != known.targets[name]:
            found = "none" if name not in truth else "another"
            yield Problem(f"the class that {TRUTH} tells", found, where, _AGAIN)
        lesion = known.lesions.get(name, "")
        if not lesion:
            yield Problem(f"an image whose lesion {METADATA} tells", "none", where, _AGAIN)
        elif datasets and _centre(lesion, datasets.get(name, "")) != known.centres[name]:
            expected = f"the center that {METADATA} and {HAM} tell"
            yield Problem(expected, "another", where, _AGAIN)


def _centre(lesion: str, dataset: str) -> int | None:
    return _BY_LESION.get(lesion[:4], _BY_DATASET.get(dataset))
