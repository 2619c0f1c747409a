"""How one data set's training images are spread over simulated sites.

Each scheme is a frozen value whose text names it: `iid`, `dirichlet-0.3`, `one-class`,
`natural`. Every image goes to exactly one site. Sites may lack classes; callers who mind, look.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envoi.errors import DataError, Problem, SettingsError
from envoi.seeding import numpy_generator
from envoi.types import ImageSet

Parts = list[NDArray[np.int64]]

_SMALLEST_SITE = 10
_MOST_DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class Iid:
    """Equal shares of the shuffled images; a known patient's images stay at one site."""

    def __str__(self) -> str:
        return "iid"


@dataclass(frozen=True, slots=True)
class Dirichlet:
    """Label skew: each class is spread by a Dirichlet draw (METHODS section 2).

    A share is zero for a site that already holds its equal part of all images. Redrawn whole
    until the smallest site has ten. Patients are not kept together: the scheme is the paper's.

    Attributes:
        alpha: Concentration; small is skewed.
    """

    alpha: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha < float("inf"):
            raise SettingsError(
                Problem("a positive number", f"{self.alpha}", "alpha", "Choose one such as 0.3.")
            )

    def __str__(self) -> str:
        short = f"{self.alpha:g}"
        return f"dirichlet-{short if float(short) == self.alpha else self.alpha}"


@dataclass(frozen=True, slots=True)
class OneClass:
    """Each class lives at one site; classes are dealt to the sites in turn."""

    def __str__(self) -> str:
        return "one-class"


@dataclass(frozen=True, slots=True)
class Natural:
    """The hospitals that the data set's own `sites` column names."""

    def __str__(self) -> str:
        return "natural"


Partition = Iid | Dirichlet | OneClass | Natural


def parse_partition(text: str) -> Partition:
    """The scheme that `text` names.

    Raises:
        SettingsError: It names none.
    """
    plain: dict[str, Partition] = {str(p): p for p in (Iid(), OneClass(), Natural())}
    if text in plain:
        return plain[text]
    name, _, alpha = text.partition("-")
    try:
        if name == "dirichlet":
            return Dirichlet(float(alpha))
    except ValueError as err:
        raise _unknown(text) from err
    raise _unknown(text)


def partition(images: ImageSet, *, scheme: Partition | str, sites: int, seed: int) -> Parts:
    """Indices of each site's images, sites in order; natural sites in order of their names.

    Args:
        images: To be spread.
        scheme: How, as a value or by its name.
        sites: How many sites; a natural partition has as many as the column names.
        seed: Equal seeds give equal parts.

    Raises:
        DataError: There are too few images or classes for so many sites, or no sites column.
        SettingsError: `sites` is not positive, or no scheme is called so.
    """
    if isinstance(scheme, str):
        scheme = parse_partition(scheme)
    if sites < 1:
        raise SettingsError(Problem("at least 1", f"{sites}", "sites", "Choose more sites."))
    generator = numpy_generator(seed, "partition")
    if isinstance(scheme, Natural):
        return _natural(images)
    if isinstance(scheme, Iid):
        parts = _iid(images, sites, generator)
    elif isinstance(scheme, OneClass):
        parts = _one_class(images, sites)
    else:
        parts = _dirichlet(images.labels, scheme.alpha, sites, generator)
    if min(len(part) for part in parts) == 0:
        raise _too_small(len(images), sites)
    return parts


def _natural(images: ImageSet) -> Parts:
    if images.sites is None:
        raise DataError(
            Problem(
                "a column that names each image's site",
                "none",
                "sites",
                "Give the column, or choose another partition.",
            )
        )
    return [np.flatnonzero(images.sites == name) for name in np.unique(images.sites)]


def _iid(images: ImageSet, sites: int, generator: np.random.Generator) -> Parts:
    if images.patients is None:
        order = generator.permutation(len(images))
        return [np.sort(part) for part in np.array_split(order, sites)]
    codes, groups = np.unique(images.patients, return_inverse=True)
    sizes = np.bincount(groups)
    site_of_group = np.zeros(len(codes), np.int64)
    held = np.zeros(sites, np.int64)
    for group in generator.permutation(len(codes)):
        site_of_group[group] = held.argmin()
        held[site_of_group[group]] += sizes[group]
    return [np.flatnonzero(site_of_group[groups] == site) for site in range(sites)]


def _one_class(images: ImageSet, sites: int) -> Parts:
    present = np.unique(images.labels)
    if len(present) < sites:
        raise DataError(
            Problem(
                f"at least {sites} classes for {sites} sites",
                f"{len(present)}",
                "one-class",
                "Choose as many sites as there are classes, or fewer.",
            )
        )
    return [np.flatnonzero(np.isin(images.labels, present[site::sites])) for site in range(sites)]


def _dirichlet(
    labels: NDArray[np.int64], alpha: float, sites: int, generator: np.random.Generator
) -> Parts:
    if len(labels) < sites * _SMALLEST_SITE:
        raise _too_small(len(labels), sites)
    for _ in range(_MOST_DRAWS):
        parts = _dirichlet_draw(labels, alpha, sites, generator)
        if min(len(part) for part in parts) >= _SMALLEST_SITE:
            return [np.sort(part) for part in parts]
    raise DataError(
        Problem(
            f"{sites} sites of at least {_SMALLEST_SITE} images",
            f"none in {_MOST_DRAWS} draws",
            f"dirichlet-{alpha}",
            "Choose a larger alpha or fewer sites.",
        )
    )


def _dirichlet_draw(
    labels: NDArray[np.int64], alpha: float, sites: int, generator: np.random.Generator
) -> Parts:
    held: list[list[NDArray[np.int64]]] = [[] for _ in range(sites)]
    sizes = np.zeros(sites, np.int64)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        share = generator.dirichlet(np.full(sites, alpha)) * (sizes < len(labels) / sites)
        # With a tiny alpha all of the draw can fall to full sites: then the others share it.
        share = share if share.sum() > 0 else (sizes < len(labels) / sites).astype(float)
        # Divided by its own last value, so that rounding gives a full last site no image.
        until = np.cumsum(share)
        cuts = (until / until[-1] * len(members)).astype(np.int64)[:-1]
        for site, piece in enumerate(np.split(members, cuts)):
            held[site].append(piece)
            sizes[site] += len(piece)
    return [np.concatenate(pieces) for pieces in held]


def _too_small(images: int, sites: int) -> DataError:
    return DataError(
        Problem(
            f"enough images for {sites} sites",
            f"{images}",
            "training images",
            "Choose fewer sites or give more images.",
        )
    )


def _unknown(text: str) -> SettingsError:
    return SettingsError(
        Problem(
            "iid, dirichlet-ALPHA, one-class or natural",
            repr(text)[:80],
            "partition",
            "Choose a known partition.",
        )
    )
