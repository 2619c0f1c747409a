"""How good a classifier is, and how real synthetic volumes are: pure functions of arrays.

What is named here judges classifiers with NumPy and SciPy alone. Volumes have modules of their own,
of which `similarity` and `extractors` load torch. This room knows no file and no site.
"""

from envoi.evaluation.bootstrap import Statistic, bootstrap_interval
from envoi.evaluation.calibration import fit_temperature, negative_log_likelihood, softmax
from envoi.evaluation.checks import check_test_labels
from envoi.evaluation.classification import (
    CALIBRATION_BINS,
    accuracy,
    balanced_accuracy,
    calibration_bins,
    confusion_matrix,
    evaluate,
    expected_calibration_error,
    macro_auroc,
)
from envoi.evaluation.distillation import compare_with_teacher

__all__ = [
    "CALIBRATION_BINS",
    "Statistic",
    "accuracy",
    "balanced_accuracy",
    "bootstrap_interval",
    "calibration_bins",
    "check_test_labels",
    "compare_with_teacher",
    "confusion_matrix",
    "evaluate",
    "expected_calibration_error",
    "fit_temperature",
    "macro_auroc",
    "negative_log_likelihood",
    "softmax",
]
