"""Measure how well an error probability finds the errors of a classifier.

Every metric takes ``(is_error, error_proba)``. Three conventions hold for all of them:

* **Ties.** The value never depends on the order of the rows. Metrics that accept rows one by one
  (`aurc`, `excess_aurc`, `augrc`, `risk_at_coverage`) take the expectation over all orders of tied
  rows; metrics that speak of thresholds treat a tie as the one threshold it is.
* **Weights** are counts of repetition: a row of weight 3 gives what three equal rows give.
* **No error at all, or nothing but errors**, is an ordinary input: the value is a limit where there
  is one and NaN where nothing can be ranked. It never raises.
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
