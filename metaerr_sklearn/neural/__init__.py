"""Trained modules as classifiers, and tools for skorch nets; needs torch and skorch."""

# ruff: noqa: E402
from .._utils.packages import check_importable as _check_importable

_check_importable(
    "torch",
    "skorch",
    user="metaerr_sklearn.neural",
    instead="All other modules of metaerr_sklearn work without it.",
)

from ._as_classifier import as_classifier
from ._as_net_input import as_net_input
from ._augmentation import AugmentedConfidence
from ._embedding import TorchEmbedding
from ._net import preserved_rng
from ._scores import energy_confidence, max_logit_confidence, mc_dropout_proba
from ._training import fit_net_weighted

__all__ = [
    "AugmentedConfidence",
    "TorchEmbedding",
    "as_classifier",
    "as_net_input",
    "energy_confidence",
    "fit_net_weighted",
    "max_logit_confidence",
    "mc_dropout_proba",
    "preserved_rng",
]
