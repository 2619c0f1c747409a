"""How good a classifier is: pure functions of its answers and the truth.

NumPy and SciPy only. This room knows no network, no file and no site.
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
