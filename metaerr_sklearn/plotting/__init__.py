"""Draw what `metrics` computes, in scikit-learn's Display convention.

Every display has ``from_estimator`` and ``from_predictions``, which compute, and ``plot``, which
draws what was computed and can be called again on other axes. matplotlib, the extra ``plot``, is
imported when something is drawn.
"""

from ._error_distribution import ErrorDistributionDisplay
from ._error_gallery import ErrorGalleryDisplay
from ._risk_coverage import RiskCoverageDisplay

__all__ = [
    "ErrorDistributionDisplay",
    "ErrorGalleryDisplay",
    "RiskCoverageDisplay",
]
