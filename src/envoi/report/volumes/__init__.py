"""Synthetic brain volumes beside real ones as one HTML page: no network, no torch."""

from envoi.report.volumes.page import write_volume_report
from envoi.report.volumes.sets import VolumeSets

__all__ = ["VolumeSets", "write_volume_report"]
