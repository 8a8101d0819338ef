"""Predict when a scikit-learn classifier is wrong, and act on it."""

import importlib

from ._version import __version__

# Public name -> the module that holds it. Modules are imported on first use, so that
# `import metaerr_sklearn` stays light: torch, skorch, lightgbm and matplotlib come later or never.
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
