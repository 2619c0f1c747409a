"""Images out of a hospital's archive (PACS), without who they are of.

`pull` finds images by DICOMweb or DIMSE, fetches them one after another at a rate that spares the
archive, takes all that identifies anybody off each before it touches the disk, and can be stopped
at any point. Messages, logs and reprs name no patient, no UID and no number of the archive.
"""

from envoi.data.pacs.accessions import Accessions, read_accessions
from envoi.data.pacs.connect import Dicomweb, Dimse, connected
from envoi.data.pacs.pull import PullCounts, PullSettings, pull
from envoi.data.pacs.source import PacsGoneError, PacsQuery, Source, Tls

__all__ = [
    "Accessions",
    "Dicomweb",
    "Dimse",
    "PacsGoneError",
    "PacsQuery",
    "PullCounts",
    "PullSettings",
    "Source",
    "Tls",
    "connected",
    "pull",
    "read_accessions",
]
