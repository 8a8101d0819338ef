"""Plot the values of `metrics`, with scikit-learn's Display convention.

``from_estimator`` and ``from_predictions`` of a display compute the values. ``plot`` draws them,
and can be called again on other axes. matplotlib, which the extra ``plot`` installs, is imported
when a display is created.
"""

from ._error_distribution import ErrorDistributionDisplay
from ._error_gallery import ErrorGalleryDisplay
from ._risk_coverage import RiskCoverageDisplay

__all__ = [
    "ErrorDistributionDisplay",
    "ErrorGalleryDisplay",
    "RiskCoverageDisplay",
]
