"""Make the meta-learner that a parameter names."""

from sklearn.base import clone

from .._base_estimator.adapter import why_no_classifier
from .._utils.validation import check_not_a_module
from ._base import ConfidenceMetaLearner, ResidualMetaLearner
from ._combined import AverageMetaLearner, ClassifierMetaLearner
from ._lightgbm import LightGBMMetaLearner
from ._logistic import LogisticMetaLearner
from ._mlp import MLPMetaLearner

_NAMED_LEARNERS = {
    "auto": lambda n_jobs: AverageMetaLearner(
        [LightGBMMetaLearner(n_jobs=n_jobs), LogisticMetaLearner()], n_jobs=n_jobs
    ),
    "lightgbm": lambda n_jobs: LightGBMMetaLearner(n_jobs=n_jobs),
    "mlp": lambda n_jobs: MLPMetaLearner(),
    "logistic": lambda n_jobs: LogisticMetaLearner(),
    "confidence": lambda n_jobs: ConfidenceMetaLearner(),
}


def make_meta_learner(meta_learner, *, n_jobs=None, only_input=False):
    """Return an unfitted meta-learner.

    Parameters
    ----------
    meta_learner : str, meta-learner or classifier
        As for `ErrorModel`.
    n_jobs : int, default=None
        Threads of the learners that are chosen by name.
    only_input : bool, default=False
        Whether a classifier is fitted on X itself.

    Returns
    -------
    learner : ResidualMetaLearner

    Raises
    ------
    ValueError
        If `meta_learner` is none of these.
    """
    if isinstance(meta_learner, str) and meta_learner in _NAMED_LEARNERS:
        return _NAMED_LEARNERS[meta_learner](n_jobs)
    if isinstance(meta_learner, ResidualMetaLearner):
        meta_learner.check_parameters()
        return clone(meta_learner)
    check_not_a_module(meta_learner)
    if not isinstance(meta_learner, str) and why_no_classifier(meta_learner) is None:
        return ClassifierMetaLearner(meta_learner, raw_input=only_input)
    raise ValueError(
        f"meta_learner must be one of {', '.join(map(repr, _NAMED_LEARNERS))}, a meta-learner "
        f"of this package or a classifier, got {meta_learner!r}."
    )
