"""Predict when a scikit-learn classifier is wrong, and act on it."""

import importlib
from typing import TYPE_CHECKING

from ._version import __version__

# Editors read these imports for completion and signatures. They are not executed.
# ruff: noqa: F401
if TYPE_CHECKING:
    from .classifier import MetaErrorClassifier
    from .error_model import ErrorModel
    from .meta_features import OtherFits
    from .meta_learners import (
        AverageMetaLearner,
        ConfidenceMetaLearner,
        LightGBMMetaLearner,
        LogisticMetaLearner,
        MLPMetaLearner,
    )
    from .metrics import ERROR_SCORERS, failure_report, make_error_scorer
    from .model_selection import SemiSupervisedKFold
    from .plotting import ErrorDistributionDisplay, ErrorGalleryDisplay, RiskCoverageDisplay
    from .selective import SelectiveClassifier, certify_threshold
    from .self_training import SelfTrainingWithMetaErr
    from .slices import error_slices

# Public name -> its module. A module is imported when one of its names is first used, so that
# `import metaerr_sklearn` does not import torch, skorch, lightgbm or matplotlib.
_MODULES = {
    "AverageMetaLearner": "meta_learners",
    "ConfidenceMetaLearner": "meta_learners",
    "ERROR_SCORERS": "metrics",
    "ErrorDistributionDisplay": "plotting",
    "ErrorGalleryDisplay": "plotting",
    "ErrorModel": "error_model",
    "LightGBMMetaLearner": "meta_learners",
    "LogisticMetaLearner": "meta_learners",
    "MLPMetaLearner": "meta_learners",
    "MetaErrorClassifier": "classifier",
    "OtherFits": "meta_features",
    "RiskCoverageDisplay": "plotting",
    "SelectiveClassifier": "selective",
    "SelfTrainingWithMetaErr": "self_training",
    "SemiSupervisedKFold": "model_selection",
    "certify_threshold": "selective",
    "error_slices": "slices",
    "failure_report": "metrics",
    "make_error_scorer": "metrics",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_MODULES})
