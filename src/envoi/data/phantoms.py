"""A federation of phantom hospitals: generated blood smears for demonstrations and tests.

Eight kinds of cells (`envoi.data.cells`), photographed in each hospital's own stain
(`envoi.data.stains`), each hospital with its own mix of kinds. No real image is involved, and
nothing here is fit to learn medicine from.
"""

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from envoi.data.cells import MORPHOLOGIES, draw_cells
from envoi.data.smears import draw_smears, photograph
from envoi.data.stains import Stain, hospital_stain
from envoi.errors import DataError, Problem, SettingsError
from envoi.seeding import numpy_generator
from envoi.types import DataSet, ImageSet

PHANTOM_CLASSES: tuple[str, ...] = tuple(MORPHOLOGIES)
SMALLEST_SIZE_PX = 16

_CELLS_PER_PATIENT = 5
_FEWEST_OF_A_KIND = 8


def phantom_images(
    labels: NDArray[np.int64],
    *,
    stain: Stain,
    size_px: int = 28,
    generator: np.random.Generator,
    patients: NDArray[np.int64] | None = None,
) -> UInt8[NDArray[np.uint8], "image 3 size size"]:
    """Photographs of blood cells, one for each of `labels`.

    Args:
        labels: `(image,)`, indices into `PHANTOM_CLASSES`.
        stain: How the slides are stained and photographed.
        size_px: Height and width in pixels, from 16; the field is 20 micrometres at any size.
        generator: Source of all randomness.
        patients: `(image,)`, whose slide each cell lies on; slides differ a little in thickness.
            By default each cell has a slide of its own.

    Raises:
        SettingsError: The images would be smaller than 16 pixels.
        DataError: A label is outside the classes, or the patients do not fit the labels.
    """
    labels = np.asarray(labels, np.int64)
    slides = np.arange(len(labels)) if patients is None else np.asarray(patients, np.int64)
    _check_request(labels, slides, size_px)
    cells = draw_cells(labels, generator)
    smears = draw_smears(cells, generator, slides=slides)
    return photograph(cells, smears, stain=stain, size_px=size_px, generator=generator)


def phantom_federation(
    *,
    sites: int = 5,
    images_per_site: int = 500,
    test_images: int = 800,
    size_px: int = 28,
    seed: int = 0,
    alpha: float = 1.0,
) -> DataSet:
    """Phantom hospitals that differ in stain and in their mix of cells.

    Each hospital lacks one or two kinds of cells and is skewed on the rest; every kind is found
    in two hospitals or more. (One or two hospitals lack nothing.) The test set is balanced over
    kinds and stains. Patients have about five cells and one hospital each.

    Args:
        sites: Number of hospitals, named `site-1`, `site-2`, ... in the `sites` column.
        images_per_site: Training images of each hospital.
        test_images: Images of the pooled test set.
        size_px: Height and width in pixels, from 16.
        seed: Equal seeds give equal images.
        alpha: Concentration of the Dirichlet draw of each hospital's mix; large is even.

    Raises:
        SettingsError: A number is not positive, or the images would be too small.
    """
    _check_federation(sites, images_per_site, test_images, alpha)
    mixes = _class_counts(sites, images_per_site, alpha, numpy_generator(seed, "mix"))
    kinds = np.arange(len(PHANTOM_CLASSES))
    train = [np.repeat(kinds, mix) for mix in mixes]
    # Kinds vary fastest, then stains, so that any number of images is as even as it can be.
    order = np.arange(test_images)
    test_site = order // len(kinds) % sites
    test = [order[test_site == site] % len(kinds) for site in range(sites)]
    held = sum(map(_patient_count, train))
    return DataSet(
        "phantoms",
        train=_pooled(train, "train", first_patient=0, size_px=size_px, seed=seed),
        validation=None,
        test=_pooled(test, "test", first_patient=held, size_px=size_px, seed=seed),
    )


def _pooled(
    labels: list[NDArray[np.int64]], part: str, *, first_patient: int, size_px: int, seed: int
) -> ImageSet:
    """The images of all sites, each in its own stain, in random order within the site."""
    images, order, patients = [], [], []
    for site, own in enumerate(labels):
        generator = numpy_generator(seed, part, site)
        shuffled = generator.permutation(own)
        slides = first_patient + generator.permutation(np.arange(len(own)) // _CELLS_PER_PATIENT)
        first_patient += _patient_count(own)
        stain = hospital_stain(site, seed=seed)
        images.append(
            phantom_images(
                shuffled, stain=stain, size_px=size_px, generator=generator, patients=slides
            )
        )
        order.append(shuffled)
        patients.append(slides)
    names = np.array([f"site-{number + 1}" for number in range(len(labels))])
    return ImageSet(
        np.concatenate(images),
        np.concatenate(order),
        PHANTOM_CLASSES,
        patients=np.concatenate(patients),
        sites=np.repeat(names, [len(own) for own in labels]),
    )


def _class_counts(
    sites: int, images: int, alpha: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """`(site, class)`, each row summing to `images`."""
    counts = np.zeros((sites, len(PHANTOM_CLASSES)), np.int64)
    for row, missing in zip(counts, _missing_kinds(sites, generator), strict=True):
        present = np.setdiff1d(np.arange(len(row)), missing)
        fewest = min(_FEWEST_OF_A_KIND, images // len(present))
        share = generator.dirichlet(np.full(len(present), alpha))
        row[present] = fewest + _apportioned(images - fewest * len(present), share)
    return counts


def _missing_kinds(sites: int, generator: np.random.Generator) -> list[list[int]]:
    """One or two kinds for each site to lack, dealt from a shuffled pack.

    A kind is dealt again only when all others were, so it stays at two sites or more.
    """
    if sites < 3:
        return [[] for _ in range(sites)]
    pack: list[int] = []
    dealt = []
    for _ in range(sites):
        wanted = int(generator.integers(1, 3))
        hand: list[int] = []
        while len(hand) < wanted:
            pack = pack or generator.permutation(len(PHANTOM_CLASSES)).tolist()
            hand.append(pack.pop())
        dealt.append(hand)
    return dealt


def _apportioned(total: int, share: NDArray[np.float64]) -> NDArray[np.int64]:
    """`total` split by `share` into whole numbers: largest remainders are rounded up."""
    exact = total * share / share.sum()
    whole: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    up = np.argsort(whole - exact, kind="stable")[: total - whole.sum()]
    whole[up] += 1
    return whole


def _patient_count(labels: NDArray[np.int64]) -> int:
    return -(-len(labels) // _CELLS_PER_PATIENT)


def _check_request(labels: NDArray[np.int64], slides: NDArray[np.int64], size_px: int) -> None:
    if size_px < SMALLEST_SIZE_PX:
        raise SettingsError(
            Problem(
                f"at least {SMALLEST_SIZE_PX} pixels",
                str(size_px),
                "size_px",
                "Choose a larger size; smaller cells cannot be told apart.",
            )
        )
    problems = []
    if labels.size and not 0 <= labels.min() <= labels.max() < len(PHANTOM_CLASSES):
        found = f"labels from {labels.min()} to {labels.max()}"
        expected = f"labels in 0..{len(PHANTOM_CLASSES) - 1}"
        problems.append(Problem(expected, found, "labels", "Index PHANTOM_CLASSES."))
    if slides.shape != labels.shape:
        expected = f"one patient for each of the {len(labels)} labels"
        found = f"shape {slides.shape}"
        problems.append(Problem(expected, found, "patients", "Give one code for each image."))
    if problems:
        raise DataError(*problems)


def _check_federation(sites: int, images_per_site: int, test_images: int, alpha: float) -> None:
    numbers = {
        "sites": sites,
        "images_per_site": images_per_site,
        "test_images": test_images,
        "alpha": alpha,
    }
    problems = [
        Problem("a positive number", repr(value), name, f"Choose a larger {name}.")
        for name, value in numbers.items()
        if not value > 0
    ]
    if problems:
        raise SettingsError(*problems)
