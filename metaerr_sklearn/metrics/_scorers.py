"""Make scorers of metrics."""

import copy

from sklearn import get_config
from sklearn.utils.metadata_routing import MetadataRequest

from ._detection import (
    error_average_precision,
    error_brier_score,
    error_log_loss,
    error_roc_auc,
    fpr_at_tpr,
)
from ._observation import predict_and_compare
from ._risk_coverage import augrc, aurc, coverage_at_risk, excess_aurc, risk_at_coverage


def make_error_scorer(metric, *, greater_is_better=None, **kwargs):
    """Make a scorer of error probabilities for model selection.

    The scorer has scikit-learn's signature, ``scorer(estimator, X, y, sample_weight=None)``, and
    goes wherever `scoring` is asked for: ``GridSearchCV``, ``cross_validate``,
    ``cross_val_score``, ``permutation_importance``. It predicts labels and error probabilities in
    one pass. An estimator without ``predict_error_proba`` is scored with 1 minus its highest class
    probability, so that a plain classifier and a `MetaErrorClassifier` can stand in one search.

    Parameters
    ----------
    metric : callable
        ``metric(is_error, error_proba, *, sample_weight=None, **kwargs) -> float``, of this module
        or your own.

    greater_is_better : bool, default=None
        Whether a high value is good. Losses are negated by the scorer: put ``neg_`` in the name you
        give it. None is for the metrics of this module, whose direction is known.

    **kwargs : dict
        Further parameters of the metric, such as ``tpr=0.9``.

    Returns
    -------
    scorer : callable
        Picklable. A higher score is better. A metric that is undefined on a fold, as
        `error_roc_auc` on a fold without an error, scores NaN there, and so does the mean over the
        folds: `augrc`, `aurc` and `error_log_loss` are always defined. With metadata routing,
        ``scorer.set_score_request(sample_weight=True)`` returns a scorer that takes weights.

    Raises
    ------
    ValueError
        If the direction of an unknown metric is not said.

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
    if greater_is_better is None:
        if metric not in GREATER_IS_BETTER:
            raise ValueError(
                f"The direction of {metric!r} is not known. Pass greater_is_better=True if a high "
                "value is good, False if it is a loss."
            )
        greater_is_better = GREATER_IS_BETTER[metric]
    return _ErrorScorer(metric, greater_is_better, kwargs)


class _TakesSampleWeight:
    """Metadata routing of a scorer, in scikit-learn's public terms."""

    _sample_weight_request = None

    def set_score_request(self, *, sample_weight):
        """Return a copy that requests `sample_weight`; scorers are shared, so it is no setter."""
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_score_request needs metadata routing, which is off. Call "
                "sklearn.set_config(enable_metadata_routing=True); without it, scorers are given "
                "sample_weight by whoever calls them."
            )
        requesting = copy.copy(self)
        requesting._sample_weight_request = sample_weight
        return requesting

    def get_metadata_routing(self):
        """Return the metadata that the scorer wants."""
        routing = MetadataRequest(owner=type(self).__name__)
        routing.score.add_request(param="sample_weight", alias=self._sample_weight_request)
        return routing

    def _accept_sample_weight(self):
        # What searches of scikit-learn >= 1.8 ask the scorers in a dict when routing is off.
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
        """Score what was observed already."""
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
    """Scorers by name which, called together, share one pass over the samples.

    scikit-learn takes any callable that returns a dict as multi-metric scoring, and asks whether
    `scoring` is callable before it asks whether it is a dict.
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
#: Scorers by name; the names of losses begin with ``neg_``. As ``scoring=ERROR_SCORERS`` with
#: ``refit="error_roc_auc"``, or any other name, all metrics of a fold come from one pass over it.
#: Each item is a scorer of its own too. `risk_at_coverage` and `coverage_at_risk`, which need a
#: target, are left to `make_error_scorer`.
ERROR_SCORERS = _ErrorScorers(
    {
        ("" if greater_is_better else "neg_") + metric.__name__: make_error_scorer(metric)
        for metric, greater_is_better in GREATER_IS_BETTER.items()
        if metric not in (risk_at_coverage, coverage_at_risk)
    }
)
