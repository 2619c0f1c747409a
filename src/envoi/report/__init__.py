"""A run's folder as one HTML page that needs nothing else: no network, no script, no torch."""

from envoi.report.page import write_report

__all__ = ["write_report"]
