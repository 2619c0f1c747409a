"""What a hospital does: train on its own images, and let out what the study asks for.

Nothing but what `release` gives leaves a site.
"""

from envoi.site.audit import SiteAudit, audit
from envoi.site.course import class_weights
from envoi.site.export import accuracy_as_sent, release
from envoi.site.job import check_images, job_fingerprint
from envoi.site.moments import feature_moments
from envoi.site.numbers import Numbers, above_all
from envoi.site.seen import image_digests, seen_among
from envoi.site.train import TrainedSite, train
from envoi.site.workspace import Finished, Workspace

__all__ = [
    "Finished",
    "Numbers",
    "SiteAudit",
    "TrainedSite",
    "Workspace",
    "above_all",
    "accuracy_as_sent",
    "audit",
    "check_images",
    "class_weights",
    "feature_moments",
    "image_digests",
    "job_fingerprint",
    "release",
    "seen_among",
    "train",
]
