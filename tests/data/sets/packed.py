"""Public sets made for tests: small, in the form in which their publishers pack them."""

import csv
import json
import zipfile

import numpy as np
from PIL import Image

from tests.data.dicom.files import dicom

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ISIC_CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
DATASETS = {1: "vidir_molemax", 2: "vidir_modern", 3: "rosendahl", 5: "vienna_dias"}


def write_csv(path, rows):
    """Rows of equal keys as a table."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def edit(path, old, new):
    """Replace text that must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def photograph(number, size=(30, 20)):
    """Colour noise under a reddish light; each number its own."""
    draws = np.random.default_rng(number)
    pixels = draws.integers(20, 160, (size[1], size[0], 3)) * [1.5, 1, 0.7]
    return Image.fromarray(pixels.astype(np.uint8))


def lesion_of(number):
    """Two images a lesion, at the centre of its number."""
    centre = number // 2 % 6
    prefix = {0: "BCN", 4: "MSK4"}.get(centre, "HAM")
    return centre, f"{prefix}_{number // 2:07}"


def isic(folder, count=48, *, whole_lesions=True, zipped=False, ham=True):
    """ISIC 2019 with FLamby's split: even and odd images are of one lesion; some are of none."""
    folder.mkdir(parents=True, exist_ok=True)
    truth, metadata, split, dataset = [], [], [], []
    for number in range(count):
        name = f"ISIC_{number:07}" + ("_downsampled" if number % 7 == 0 else "")
        centre, lesion = lesion_of(number)
        target = number // 2 % 8
        test = number // 2 % 4 == 0 if whole_lesions else number % 4 == 0
        fold = "test" if test else "train"
        ones = {kind: float(index == target) for index, kind in enumerate(ISIC_CLASSES)}
        truth.append({"image": name, **ones})
        about = {"age_approx": "", "anatom_site_general": "", "lesion_id": lesion, "sex": "male"}
        metadata.append({"image": name, **about})
        folds = {"center": centre, "fold": fold, "fold2": f"{fold}_{centre}"}
        split.append({"image": name, **ones, "target": target, **folds})
        if centre in DATASETS:
            told = {"lesion_id": lesion, "image_id": name, "dx": "nv", "age": "80.0"}
            dataset.append({**told, "dataset": DATASETS[centre]})
    # Images of no known lesion are in ISIC's tables and not in FLamby's.
    stray = "ISIC_9999999"
    truth.append({**truth[0], "image": stray})
    metadata.append({**metadata[0], "image": stray, "lesion_id": ""})
    write_csv(folder / "ISIC_2019_Training_GroundTruth.csv", truth)
    write_csv(folder / "ISIC_2019_Training_Metadata.csv", metadata)
    # FLamby shuffles its rows.
    write_csv(folder / "train_test_split", split[::-1])
    if ham:
        write_csv(folder / "HAM10000_metadata", dataset)
    images = folder / "ISIC_2019_Training_Input"
    images.mkdir()
    for number, row in enumerate(truth):
        photograph(number).save(images / f"{row['image']}.jpg")
    (images / "LICENSE.txt").write_text("CC BY-NC 4.0")
    if zipped:
        zip_up(images)
    return folder


def zip_up(images):
    with zipfile.ZipFile(images.with_suffix(".zip"), "w") as archive:
        for path in sorted(images.iterdir()):
            archive.write(path, f"{images.name}/{path.name}")
            path.unlink()
    images.rmdir()


def rsna(folder, count=12, *, patient=lambda number: f"{number:08x}", mapping=False, **values):
    """RSNA's stage 2: one file an image, one row for each of its boxes."""
    images = folder / "stage_2_train_images"
    images.mkdir(parents=True)
    targets, classes, mapped = [], [], []
    kinds = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
    for number in range(count):
        name = f"{number:08x}"
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)
        told = {"PatientID": patient(number), "SOPClassUID": CAPTURE, "Modality": "CR", **values}
        dicom(pixels, uid=f"1.9.{number}", **told).save_as(
            images / f"{name}.dcm", enforce_file_format=True
        )
        kind = kinds[number % 3]
        for box in range(1 + number % 2):
            where = dict.fromkeys(("x", "y", "width", "height"), "")
            if kind == "Lung Opacity":
                where = {"x": 1.0 + box, "y": 2.0, "width": 3.0, "height": 4.0}
            target = int(kind == "Lung Opacity")
            targets.append({"patientId": name, **where, "Target": target})
            classes.append({"patientId": name, "class": kind})
        mapped.append({"subset_img_id": name, "img_id": f"{number // 3:08}_{number % 3:03}.png"})
    write_csv(folder / "stage_2_train_labels.csv", targets)
    write_csv(folder / "stage_2_detailed_class_info.csv", classes)
    if mapping:
        (folder / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(mapped))
    return folder


def eyes(folder, patients=10):
    """Kaggle's photographs of both eyes, on black."""
    train = folder / "train"
    train.mkdir(parents=True)
    rows = []
    for patient in range(patients):
        for side, eye in enumerate(("left", "right")):
            name = f"{10 + 3 * patient}_{eye}"
            pixels = np.zeros((40, 60, 3), np.uint8)
            # Along JPEG's blocks of 8, so that the black around stays black.
            pixels[8:32, 16:48] = np.asarray(photograph(2 * patient + side, (32, 24)))
            Image.fromarray(pixels).save(train / f"{name}.jpeg", quality=95, subsampling=0)
            rows.append({"image": name, "level": (patient + side) % 5})
    write_csv(folder / "trainLabels.csv", rows)
    return folder
