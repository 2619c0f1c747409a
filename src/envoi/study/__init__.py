"""The study: the contract that every hospital and the server sign up to, read from study.toml.

Its digest binds everything (classes and their order, image specification, networks, statistics
policy, training, roster of keys): two parties with the same digest agree on all of it.

    name, classes, seed, minimum_sites, deadline
    [image]        what one image looks like
    [model]        architectures, weight_format and, if need be, [model.initialisation]
    [statistics]   what may leave a hospital beside the network
    [training]     how sites are asked to train
    [audit]        what sites must find out about their files, if the study asks
    [server]       the server's keys for receipts and encryption, if it has any
    [sites]        site id = "ed25519:<base64 of the public key>"

Loads no torch until `Study.network` is called, and knows nothing of images or of files that
travel.
"""

from envoi.study.checks import decode_key, is_site_id, mirrored_classes
from envoi.study.contract import (
    AuditPolicy,
    Initialisation,
    StatisticsPolicy,
    Study,
    WeightFormat,
    study_warnings,
)
from envoi.study.file import load_study, study_document, study_from, write_study
from envoi.study.server_keys import ServerKeys, decode_recipient
from envoi.study.template import study_template

__all__ = [
    "AuditPolicy",
    "Initialisation",
    "ServerKeys",
    "StatisticsPolicy",
    "Study",
    "WeightFormat",
    "decode_key",
    "decode_recipient",
    "is_site_id",
    "load_study",
    "mirrored_classes",
    "study_document",
    "study_from",
    "study_template",
    "study_warnings",
    "write_study",
]
