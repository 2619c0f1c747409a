"""How methods, losses and quantities are written for people."""

import re
import unicodedata

METHODS: dict[str, tuple[str, str]] = {
    "pooled": (
        "All images together (upper reference)",
        "one network trained on every site's images in one place",
    ),
    "local_best": ("Best site alone", "the site whose own network does best"),
    "fedavg": ("Weight average, one shot", "the sites' weights averaged once"),
    "ensemble_mean_logits": (
        "Ensemble, mean of logits",
        "all site networks asked, each counts alike",
    ),
    "ensemble_mean_probabilities": (
        "Ensemble, mean of probabilities",
        "all site networks asked, each counts alike",
    ),
    "ensemble_size": ("Ensemble, weighted by site size", "all site networks asked"),
    "ensemble_class_count": (
        "Ensemble, weighted by class counts",
        "all site networks asked, each on the classes it has seen",
    ),
    "fedisca": ("FedISCA student", "distilled on images synthesised out of the site networks"),
    "fedisca_ema": (
        "FedISCA student, running statistics",
        "teachers adapted as the paper words it",
    ),
    "fedisca_none": ("FedISCA student, not adapted", "without noise-adapted teachers"),
    "dafl": ("DAFL student", "distilled on images of a generator"),
    "dense": ("DENSE student", "distilled on images of a generator"),
    "dense_meta": ("DENSE student, learned start", "distilled on images of a generator"),
    "coboost": ("Co-Boosting student", "distilled on hard images, sites weighted"),
    "ensemble_prior_corrected": (
        "Ensemble, class mixes taken out",
        "all site networks asked, each corrected for its own class mix",
    ),
    "ensemble_abstaining": (
        "Ensemble with abstention",
        "all site networks asked, each silent on classes it lacks",
    ),
    "ensemble_site_gate": (
        "Ensemble with a site gate",
        "all site networks asked, each on images that look like its own",
    ),
    "ensemble_consensus_networks": (
        "Consensus of the networks",
        "likelihoods of all site networks, fitted together",
    ),
    "ensemble_consensus": (
        "Consensus (Envoi's teacher)",
        "likelihoods of all site networks and of the closed form, fitted together",
    ),
    "closed_form": ("Closed form", "one solve on the summed moments of all sites"),
    "envoi": ("Envoi student", "distilled from the consensus on images drawn from the moments"),
    "fedavg_rounds": ("Federated averaging", "one transfer up and one down in every round"),
    "fedprox_rounds": ("FedProx", "averaging with sites held near the server's weights"),
}

TEACHERS: dict[str, str] = {
    "envoi": "ensemble_consensus",
    **dict.fromkeys(
        ("fedisca", "fedisca_ema", "fedisca_none", "dafl", "dense", "dense_meta"),
        "ensemble_mean_logits",
    ),
}
"""The row that is the teacher of a method's student, where it is one that has a row."""

LOSSES: dict[str, str] = {
    "class_loss": "Class loss of the synthetic images",
    "variation": "Total variation of the synthetic images",
    "statistics": "Distance to the sites' batch-norm statistics",
    "distillation": "Distillation loss of the student",
    "train_loss": "Training loss",
    "validation_loss": "Validation loss",
    "validation_accuracy": "Validation accuracy",
}

LOCAL = "local/"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"


def method_title(method: str) -> str:
    """A method's name in words; an unknown one keeps its own, an outsider's that of its class."""
    if method.startswith(LOCAL):
        return f"{method.removeprefix(LOCAL)} alone"
    if ":" in method:
        return method.rpartition(":")[2] or method
    algorithm, rounds = rounds_of(method)
    title = METHODS.get(algorithm, (algorithm.replace("_", " "), ""))[0]
    return title if rounds is None else f"{title}, {rounds} round{'' if rounds == 1 else 's'}"


def method_gloss(method: str) -> str:
    """What a method does, in half a line; empty for an unknown one."""
    return METHODS.get(rounds_of(method)[0], ("", ""))[1]


def rounds_of(method: str) -> tuple[str, int | None]:
    """`fedavg_rounds_20` as `fedavg_rounds` and 20; None where a name tells no rounds."""
    found = re.fullmatch(r"(.+_rounds)_([0-9]{1,9})", method)
    return (found[1], int(found[2])) if found else (method, None)


def loss_title(loss: str) -> str:
    """A loss term's name in words."""
    return LOSSES.get(loss, loss.replace("_", " "))


def percent(fraction: float, digits: int = 1) -> str:
    """0.712 as 71.2%."""
    return f"{100 * fraction:.{digits}f}%"


def points(difference: float) -> str:
    """-0.123 as 12.3 percentage points less, its sign always shown."""
    amount = f"{100 * abs(difference):.1f}"
    if float(amount) == 0:
        return amount
    return f"{'+' if difference > 0 else MINUS}{amount}"


def decimal(value: float, digits: int, *, signed: bool = False) -> str:
    """-0.5 as \N{MINUS SIGN}0.50, and with `signed` 0.5 as +0.50."""
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", MINUS)


def size(amount: float) -> str:
    """Bytes in decimal units, three figures: 1234567 as 1.23 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{_figures(amount, whole=unit == 'B')}\N{NO-BREAK SPACE}{unit}"
        amount /= 1000
    return f"{_figures(amount, whole=False)}\N{NO-BREAK SPACE}TB"


def duration(seconds: float) -> str:
    """Seconds in the two largest units: 3725 as 1 h 02 min."""
    space = "\N{NO-BREAK SPACE}"
    if seconds < 9.95:
        return f"{seconds:.1f}{space}s" if seconds else f"0{space}s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest}{space}s"
    if minutes < 60:
        return f"{minutes}{space}min{space}{rest:02d}{space}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}{space}h{space}{minutes:02d}{space}min"


def shorten(text: str, length: int) -> str:
    """`text` in at most `length` characters, an ellipsis in place of its middle.

    Both ends stay: names of sites and classes often differ in the last characters alone.
    """
    if len(text) <= length:
        return text
    end = (length - 1) // 3
    return f"{text[: length - 1 - end].rstrip()}…{text[-end:].lstrip()}"


def printable(text: str) -> str:
    """`text` with every character that cannot be shown replaced (names come from sites)."""
    return "".join(
        character if _is_shown(character) else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _figures(amount: float, *, whole: bool) -> str:
    if whole or amount >= 99.95:
        return f"{amount:.0f}"
    return f"{amount:.1f}" if amount >= 9.995 else f"{amount:.2f}"
