"""Public data sets that `envoi data fetch` knows: where their files are, and under which licence.

MedMNIST's addresses and MD5 sums are those of its version 3.0.2 (`medmnist/info.py`), where each
set comes at four sizes. Those of ISIC 2019 and of FLamby are the ones that FLamby's scripts name;
their publishers name no sums, so FLamby's two tables are pinned to a commit.
"""

from dataclasses import dataclass

from envoi.data.fetch import Remote
from envoi.errors import Problem, SettingsError
from envoi.wording import did_you_mean

SIZES_PX = (28, 64, 128, 224)
_ZENODO = "https://zenodo.org/records/10519652/files"
_ISIC = "https://isic-challenge-data.s3.amazonaws.com/2019"
_FLAMBY = "https://raw.githubusercontent.com/owkin/FLamby"
_BY = "CC BY 4.0"

# At 28, 64, 128 and 224 pixels.
_MEDMNIST: dict[str, tuple[str, str, str, str]] = {
    "bloodmnist": (
        "7053d0359d879ad8a5505303e11de1dc",
        "2b94928a2ae4916078ca51e05b6b800b",
        "adace1e0ed228fccda1f39692059dd4c",
        "b718ff6835fcbdb22ba9eacccd7b2601",
    ),
    "breastmnist": (
        "750601b1f35ba3300ea97c75c52ff8f6",
        "742edef2a1fd1524b2efff4bd7ba9364",
        "363e4b3f8d712e9b5de15470a2aaadf1",
        "b56378a6eefa9fed602bb16d192d4c8b",
    ),
    "dermamnist": (
        "0744692d530f8e62ec473284d019b0c7",
        "b70a2f5635c6199aeaa28c31d7202e1f",
        "2defd784463fa5243564e855ed717de1",
        "8974907d8e169bef5f5b96bc506ae45d",
    ),
    "octmnist": (
        "c68d92d5b585d8d81f7112f81e2d0842",
        "e229e9440236b774d9f0dfef9d07bdaf",
        "0a97e76651ace45c5d943ee3f65b63ae",
        "abc493b6d529d5de7569faaef2773ba3",
    ),
    "organamnist": (
        "68e3f8846a6bd62f0c9bf841c0d9eacc",
        "2dcccc29b88e6da5a01161ef20cda288",
        "eeae80d0a227a8d099027e1b3cfd3b60",
        "50747347e05c87dd3aaf92c49f9f3170",
    ),
    "organcmnist": (
        "b9ceb9546e10131b32923c5bbeaea2b1",
        "3ce34a8724ea6f548e6db4744d03b6a9",
        "773c1f009daa3fe5d9a2a201b2a7ed94",
        "050f5e875dc056f6768abf94ec9995d1",
    ),
    "organsmnist": (
        "9ab87b696fb54e2a387ebe992d6ed5f1",
        "53a6d115339d874c25e309a994ff46d3",
        "ded0c5fa01a95dc4978b956f613e9b8e",
        "b354719e553fbbb2513d5533f52a4cb1",
    ),
    "pathmnist": (
        "a8b06965200029087d5bd730944a56c1",
        "55aa9c1e0525abe5a6b9d8343a507616",
        "ac42d08fb904d92c244187169d1fd1d9",
        "2c51a510bcdc9cf8ddb2af93af1eadec",
    ),
    "pneumoniamnist": (
        "28209eda62fecd6e6a2d98b1501bb15f",
        "8f4eceb4ccffa70c672198ea285246c6",
        "05b46931834c231683c68f40c47b2971",
        "d6a3c71de1b945ea11211b03746c1fe1",
    ),
    "retinamnist": (
        "bd4c0672f1bba3e3a89f0e4e876791e4",
        "afda852cc34dcda56f86ad2b2457dbcc",
        "e48e916a24454daf90583d4e6efb1a18",
        "eae7e3b6f3fcbda4ae613ebdcbe35348",
    ),
    "tissuemnist": (
        "ebe78ee8b05294063de985d821c1c34b",
        "123ece2eba09d0aa5d698fda57103344",
        "61b955355d7425a89687b06cca3ce0c2",
        "b077128c4a949f0a4eb01517f9037b9c",
    ),
}

_SPLIT_COMMIT = "ed9c943f19236ec4dedb4a3bee30d9316d08e395"
_HAM_COMMIT = "ed2f7a04678e3bf94c649c495d14aeaad8f88039"
_FED_ISIC = (
    Remote("ISIC_2019_Training_GroundTruth.csv", f"{_ISIC}/ISIC_2019_Training_GroundTruth.csv"),
    Remote("ISIC_2019_Training_Metadata.csv", f"{_ISIC}/ISIC_2019_Training_Metadata.csv"),
    Remote(
        "train_test_split",
        f"{_FLAMBY}/{_SPLIT_COMMIT}/flamby/datasets/fed_isic2019/dataset_creation_scripts/"
        "train_test_split",
    ),
    Remote(
        "HAM10000_metadata",
        f"{_FLAMBY}/{_HAM_COMMIT}/flamby/datasets/fed_isic2019/HAM10000_metadata",
    ),
    Remote("ISIC_2019_Training_Input.zip", f"{_ISIC}/ISIC_2019_Training_Input.zip"),
)

# What is not fetched, and what to do about it.
_BY_HAND = {
    "chestmnist": (
        "one label an image",
        "14 labels an image",
        "Choose a set with one label an image; multi-label sets are not read.",
    ),
    "rsna-pneumonia": (
        "a set that is free to fetch",
        "one that needs a Kaggle account",
        (
            "Accept the rules at https://www.kaggle.com/c/rsna-pneumonia-detection-challenge, put "
            "stage_2_train_images/, stage_2_train_labels.csv and "
            "stage_2_detailed_class_info.csv into one folder, add "
            "https://s3.amazonaws.com/east1.public.rsna.org/AI/2018/"
            "pneumonia-challenge-dataset-mappings_2018.json (it tells the patients), and run "
            "`envoi data prepare rsna-pneumonia FOLDER --out SET`."
        ),
    ),
    "diabetic-retinopathy": (
        "a set that is free to fetch",
        "one that needs a Kaggle account",
        (
            "Accept the rules at https://www.kaggle.com/c/diabetic-retinopathy-detection, unpack "
            "trainLabels.csv and the folder train/ (*.jpeg) into one folder, and run "
            "`envoi data prepare diabetic-retinopathy FOLDER --out SET`."
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class PublicSet:
    """What is fetched for a set.

    Attributes:
        files: All of them.
        licence: As the publisher names it.
        command: What comes next; `{folder}` stands for where the files are.
    """

    files: tuple[Remote, ...]
    licence: str
    command: str


def public_set(name: str, size_px: int | None = None) -> PublicSet:
    """Look a set up.

    Args:
        name: Such as `bloodmnist` or `fed-isic2019`.
        size_px: Of MedMNIST's images, 28 if not told; other sets have no choice.

    Raises:
        SettingsError: There is no such set or size, or it cannot be fetched.
    """
    if name in _BY_HAND:
        expected, found, remedy = _BY_HAND[name]
        raise SettingsError(Problem(expected, found, name, remedy))
    if name in _MEDMNIST:
        return _medmnist(name, 28 if size_px is None else size_px)
    if name != "fed-isic2019":
        known = (*_MEDMNIST, "fed-isic2019", *_BY_HAND)
        remedy = did_you_mean(name, known, otherwise=f"There are {', '.join(known)}.", cutoff=0.5)
        raise SettingsError(Problem("the name of a public set", repr(name)[:40], "NAME", remedy))
    if size_px is not None:
        remedy = "Leave --size out; `envoi data prepare` chooses the size."
        raise SettingsError(Problem("no size", f"{size_px}", name, remedy))
    licence = "CC BY-NC 4.0 (ISIC 2019, HAM10000); MIT (FLamby's split)"
    command = "envoi data prepare fed-isic2019 {folder} --out SET --size 224"
    return PublicSet(_FED_ISIC, licence, command)


def _medmnist(name: str, size_px: int) -> PublicSet:
    if size_px not in SIZES_PX:
        expected = f"one of {', '.join(map(str, SIZES_PX))}"
        raise SettingsError(Problem(expected, f"{size_px}", "size", "Choose one of them."))
    file = f"{name}.npz" if size_px == 28 else f"{name}_{size_px}.npz"
    md5 = _MEDMNIST[name][SIZES_PX.index(size_px)]
    remote = Remote(file, f"{_ZENODO}/{file}?download=1", md5)
    licence = "CC BY-NC 4.0" if name == "dermamnist" else _BY
    command = f"envoi bench run {{folder}}/{file}"
    return PublicSet((remote,), licence, command)
