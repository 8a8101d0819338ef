"""Measure how well an error probability finds the errors of a classifier.

Every metric takes ``(is_error, error_proba)``. Three conventions hold for all of them:

* **Ties.** The value never depends on the order of the rows. Metrics that accept rows one by one
  (`aurc`, `excess_aurc`, `augrc`, `risk_at_coverage`) take the expectation over all orders of tied
  rows. Metrics that are defined by a threshold accept tied rows together or not at all.
* **Weights** are counts: a row of weight 3 gives the same value as three equal rows.
* **Only right or only wrong samples** are ordinary input and raise no error. The value is the limit
  if there is one, else NaN.
"""

from ._detection import (
    error_average_precision,
    error_brier_score,
    error_log_loss,
    error_roc_auc,
    fpr_at_tpr,
)
from ._report import failure_report
from ._risk_coverage import (
    augrc,
    aurc,
    coverage_at_risk,
    excess_aurc,
    risk_at_coverage,
    risk_coverage_curve,
)
from ._scorers import ERROR_SCORERS, make_error_scorer

__all__ = [
    "ERROR_SCORERS",
    "augrc",
    "aurc",
    "coverage_at_risk",
    "error_average_precision",
    "error_brier_score",
    "error_log_loss",
    "error_roc_auc",
    "excess_aurc",
    "failure_report",
    "fpr_at_tpr",
    "make_error_scorer",
    "risk_at_coverage",
    "risk_coverage_curve",
]
