"""What a hospital does: train on its own images, and let out what the study asks for.

Nothing but what `release` gives leaves a site.
"""

from envoi.site.audit import SiteAudit, audit
from envoi.site.course import class_weights
from envoi.site.export import accuracy_as_sent, release
from envoi.site.job import check_images, job_fingerprint
from envoi.site.moments import feature_moments
from envoi.site.train import TrainedSite, train
from envoi.site.workspace import Finished, Workspace

__all__ = [
    "Finished",
    "SiteAudit",
    "TrainedSite",
    "Workspace",
    "accuracy_as_sent",
    "audit",
    "check_images",
    "class_weights",
    "feature_moments",
    "job_fingerprint",
    "release",
    "train",
]
