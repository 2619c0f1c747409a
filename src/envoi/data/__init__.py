"""Readers of images, and phantoms: everything ends in a `DataSet` of 8-bit images in memory.

A reader takes what it is asked for or refuses; it never guesses, resamples or converts unless an
option permits it. Splits are disjoint by patient wherever patients are known.
"""

from envoi.data.folders import list_folder, load_folder
from envoi.data.listing import Listing
from envoi.data.medmnist import load_images, load_medmnist
from envoi.data.phantoms import PHANTOM_CLASSES, phantom_federation, phantom_images
from envoi.data.pictures import Fit, Reading
from envoi.data.rows import Columns
from envoi.data.splits import SplitPlan, patient_split, split_images, stratified_split
from envoi.data.stains import Stain, hospital_stain
from envoi.data.tables import list_table, load_table
from envoi.data.unlabelled import list_unlabelled

__all__ = [
    "PHANTOM_CLASSES",
    "Columns",
    "Fit",
    "Listing",
    "Reading",
    "SplitPlan",
    "Stain",
    "hospital_stain",
    "list_folder",
    "list_table",
    "list_unlabelled",
    "load_folder",
    "load_images",
    "load_medmnist",
    "load_table",
    "patient_split",
    "phantom_federation",
    "phantom_images",
    "split_images",
    "stratified_split",
]
