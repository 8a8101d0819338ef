"""Make scikit-learn scorers from metrics."""

import copy

from sklearn import get_config
from sklearn.utils.metadata_routing import MetadataRequest

from .._utils.parameter_checks import check_arguments
from ._compared_predictions import predict_and_compare
from ._detection import (
    error_average_precision,
    error_brier_score,
    error_log_loss,
    error_roc_auc,
    fpr_at_tpr,
)
from ._risk_coverage import augrc, aurc, coverage_at_risk, excess_aurc, risk_at_coverage


def make_error_scorer(metric, *, greater_is_better=None, **kwargs):
    """Make a scorer of error probabilities for model selection.

    The scorer has scikit-learn's signature, ``scorer(estimator, X, y, sample_weight=None)``. Pass
    it as `scoring` to ``GridSearchCV``, ``cross_validate``, ``cross_val_score`` or
    ``permutation_importance``. It predicts labels and error probabilities in one pass. The error
    probability of an estimator without ``predict_error_proba`` is 1 - max probability, so one
    search can compare plain classifiers with `MetaErrorClassifier`.

    Parameters
    ----------
    metric : callable
        ``metric(is_error, error_proba, *, sample_weight=None, **kwargs) -> float``, from this
        module or your own.

    greater_is_better : bool, default=None
        Whether a high value is good. The scorer negates losses, so begin its name with ``neg_``.
        None is allowed for the metrics of this module, whose direction is known.

    **kwargs : dict
        Further parameters of the metric, such as ``tpr=0.9``.

    Returns
    -------
    scorer : callable
        Picklable. A higher score is better. If a metric is undefined on a fold, for example
        `error_roc_auc` on a fold without an error, the score of that fold and the mean over the
        folds are NaN; `augrc`, `aurc` and `error_log_loss` are always defined. With metadata
        routing, ``scorer.set_score_request(sample_weight=True)`` returns a scorer that takes
        weights.

    Raises
    ------
    TypeError
        If `metric` is no function, or does not take these arguments.
    ValueError
        If `greater_is_better` is None and the metric is not one of this module.

    See Also
    --------
    ERROR_SCORERS : All metrics at once, from one pass over the samples.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from metaerr_sklearn.metrics import fpr_at_tpr, make_error_scorer
    >>> X, y = load_digits(return_X_y=True)
    >>> scorer = make_error_scorer(fpr_at_tpr, tpr=0.9)
    >>> cross_val_score(GaussianNB(), X, y, cv=3, scoring=scorer).round(2)
    array([...])
    """
    _check_metric(metric, kwargs)
    if greater_is_better is None:
        if metric not in GREATER_IS_BETTER:
            raise ValueError(
                f"The direction of {metric!r} is not known. Pass greater_is_better=True if a high "
                "value is good, False if it is a loss."
            )
        greater_is_better = GREATER_IS_BETTER[metric]
    return _ErrorScorer(metric, greater_is_better, kwargs)


def _check_metric(metric, kwargs):
    """Raise before a search is fitted if the metric could not be called."""
    if not callable(metric):
        raise TypeError(
            f"metric must be a function metric(is_error, error_proba, *, sample_weight=None), got "
            f"{metric!r}. Pass one of metaerr_sklearn.metrics, such as aurc, or your own."
        )
    form = f"metric(is_error, error_proba, sample_weight=..., **{kwargs})"
    check_arguments(metric, "metric", form, "", None, None, sample_weight=None, **kwargs)


class _TakesSampleWeight:
    """Let a scorer request `sample_weight` by scikit-learn's metadata routing."""

    _sample_weight_request = None

    def set_score_request(self, *, sample_weight):
        """Return a copy that requests `sample_weight`; the shared scorer is not changed."""
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_score_request needs metadata routing, which is off. Call "
                "sklearn.set_config(enable_metadata_routing=True), or pass sample_weight to the "
                "scorer."
            )
        requesting = copy.copy(self)
        requesting._sample_weight_request = sample_weight
        return requesting

    def get_metadata_routing(self):
        """Return the metadata that the scorer requests."""
        routing = MetadataRequest(owner=type(self).__name__)
        routing.score.add_request(param="sample_weight", alias=self._sample_weight_request)
        return routing

    def _accept_sample_weight(self):
        # Without routing, searches of scikit-learn >= 1.8 call this on the scorers of a dict.
        return True


class _ErrorScorer(_TakesSampleWeight):
    """One metric as ``scorer(estimator, X, y, sample_weight=None)``."""

    def __init__(self, metric, greater_is_better, kwargs):
        self.metric = metric
        self.greater_is_better = greater_is_better
        self.kwargs = kwargs

    def __call__(self, estimator, X, y, sample_weight=None):
        predictions = predict_and_compare(estimator, X, y, with_proba=False)
        return self.score(predictions, sample_weight)

    def score(self, predictions, sample_weight):
        """Compute the score from predictions."""
        value = self.metric(
            predictions.is_error,
            predictions.error_proba,
            sample_weight=sample_weight,
            **self.kwargs,
        )
        return value if self.greater_is_better else -value

    def __repr__(self):
        sign = "" if self.greater_is_better else ", greater_is_better=False"
        kwargs = "".join(f", {name}={value!r}" for name, value in self.kwargs.items())
        name = getattr(self.metric, "__name__", repr(self.metric))
        return f"make_error_scorer({name}{sign}{kwargs})"


class _ErrorScorers(_TakesSampleWeight, dict):
    """Dict of scorers that is itself a scorer: one pass over the samples serves all of them.

    scikit-learn accepts any callable that returns a dict as multi-metric scoring, and checks
    whether `scoring` is callable before it checks whether it is a dict.
    """

    def __call__(self, estimator, X, y, sample_weight=None):
        predictions = predict_and_compare(estimator, X, y, with_proba=False)
        return {name: scorer.score(predictions, sample_weight) for name, scorer in self.items()}

    def set_score_request(self, *, sample_weight):
        requesting = super().set_score_request(sample_weight=sample_weight)
        requesting.update(
            (name, scorer.set_score_request(sample_weight=sample_weight))
            for name, scorer in self.items()
        )
        return requesting


GREATER_IS_BETTER = {
    error_roc_auc: True,
    error_average_precision: True,
    fpr_at_tpr: False,
    aurc: False,
    excess_aurc: False,
    augrc: False,
    risk_at_coverage: False,
    coverage_at_risk: True,
    error_brier_score: False,
    error_log_loss: False,
}
#: Scorers by name; the names of losses begin with ``neg_``. With ``scoring=ERROR_SCORERS`` and
#: ``refit="error_roc_auc"``, or another name, one pass over a fold gives all metrics. Each item is
#: also a scorer by itself. Use `make_error_scorer` for `risk_at_coverage` and `coverage_at_risk`,
#: which need a target.
ERROR_SCORERS = _ErrorScorers(
    {
        ("" if greater_is_better else "neg_") + metric.__name__: make_error_scorer(metric)
        for metric, greater_is_better in GREATER_IS_BETTER.items()
        if metric not in (risk_at_coverage, coverage_at_risk)
    }
)
