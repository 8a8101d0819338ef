"""Compare the error probability of a model with confidence scores."""

import numpy as np

from .._utils.random import draw_seed
from .._utils.validation import check_fraction
from ._checks import ROUNDING, check_ranking, rank_scores
from ._detection import error_brier_score, error_log_loss, error_roc_auc, fpr_at_tpr
from ._observation import predict_and_compare
from ._risk_coverage import augrc, augrc_of_ties, aurc, aurc_of_ties, sum_ties


def failure_report(
    estimator,
    X,
    y,
    *,
    sample_weight=None,
    n_bootstrap=1000,
    confidence_level=0.95,
    random_state=0,
    digits=3,
    output_dict=False,
):
    """Build a text report that compares the meta-model with confidence scores.

    The report has one row for each score that ranks the samples by their error probability: the
    meta-model, and the baselines max probability, margin and entropy, which are computed from the
    class probabilities of the base classifier. Log-loss and Brier score are shown for scores that
    are probabilities. The first lines give the error rate and the difference between meta-model and
    max probability, which are compared on the same bootstrap draws.

    Parameters
    ----------
    estimator : fitted classifier
        A `MetaErrorClassifier`, or any classifier with ``predict_proba`` or ``decision_function``,
        whose report has the baseline rows only. It may be inside a pipeline or a search.

    X : array-like of length n_samples
        Rows that neither the classifier nor its meta-model was trained on.

    y : array-like of shape (n_samples,)
        True labels.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. The bootstrap draws rows, and each keeps its
        weight.

    n_bootstrap : int, default=1000
        Number of bootstrap draws behind the intervals; 0 leaves the intervals out.

    confidence_level : float in (0, 1), default=0.95
        Level of the intervals, which are quantiles of the draws. Draws on which a metric is NaN are
        left out, for example the AUROC of a draw without an error.

    random_state : int, RandomState instance or None, default=0
        Seed of the bootstrap. By default the same input gives the same report.

    digits : int, default=3
        Digits after the point. AURC and AUGRC are printed times 1000, with two digits fewer.

    output_dict : bool, default=False
        Whether to return the numbers as a nested dict instead.

    Returns
    -------
    report : str or dict
        The dict has the keys ``n_samples``, ``n_errors``, ``error_rate``,
        ``error_rate_interval``, ``confidence_level``, ``n_bootstrap``, ``scores[row][metric]``,
        ``intervals[row][metric]`` (low, high), ``difference[metric]`` and
        ``difference_interval[metric]``. Metrics have the names of their functions, and no value is
        multiplied by 1000. ``pandas.DataFrame(report["scores"]).T`` is the table. Intervals are
        None if `n_bootstrap` is 0; the difference is None without a meta-model.

    Raises
    ------
    TypeError
        If the estimator has neither an error probability nor class probabilities or decision
        scores.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from metaerr_sklearn.metrics import failure_report
    >>> X, y = load_digits(return_X_y=True)
    >>> base = GaussianNB(var_smoothing=0.1).fit(X[:900], y[:900])
    >>> print(failure_report(base, X[900:], y[900:], n_bootstrap=0))
    n = 897, wrong = 95, error rate = 0.106
    AUROC: higher is better, others: lower. AURC and AUGRC times 1000.
    <BLANKLINE>
                        AUROC      AURC     AUGRC     FPR95  log-loss     Brier
    max probability     0.842      27.8      20.6     0.632     0.736     0.092
             margin     0.841      28.8      20.7     0.611         -         -
            entropy     0.842      27.7      20.5     0.632         -         -
    <BLANKLINE>
    """
    if n_bootstrap < 0 or n_bootstrap != int(n_bootstrap):
        raise ValueError(
            f"n_bootstrap must be a number of draws >= 0, got {n_bootstrap!r}. "
            "1000 is enough for 95 % intervals; 0 leaves the intervals out."
        )
    check_fraction(confidence_level, "confidence_level", closed="neither")
    predictions = predict_and_compare(estimator, X, y)
    scores = predictions.scores()
    is_error, _, weight = check_ranking(
        predictions.is_error,
        np.zeros(len(predictions.is_error)),
        sample_weight,
        drop_zero_weight=False,
    )

    report = {
        "n_samples": len(is_error),
        "n_errors": int(is_error.sum()),
        "error_rate": float(np.average(is_error, weights=weight)),
        "error_rate_interval": None,
        "confidence_level": confidence_level,
        "n_bootstrap": int(n_bootstrap),
        "scores": {
            row: {
                metric.__name__: metric(is_error, score, sample_weight=weight)
                for metric in (_REPORTED if is_probability else _REPORTED[:_N_RANKING])
            }
            for row, (score, is_probability) in scores.items()
        },
        "intervals": None,
        "difference": None,
        "difference_interval": None,
    }
    has_difference = {"meta-model", "max probability"} <= set(scores)
    if has_difference:
        model, baseline = report["scores"]["meta-model"], report["scores"]["max probability"]
        report["difference"] = {name: model[name] - baseline[name] for name in model}
    if n_bootstrap:
        rates, draws = _bootstrap(is_error, scores, weight, int(n_bootstrap), random_state)
        report["error_rate_interval"] = _interval(rates, confidence_level)
        report["intervals"] = {
            row: {name: _interval(values, confidence_level) for name, values in draws[row].items()}
            for row in draws
        }
        if has_difference:
            model, baseline = draws["meta-model"], draws["max probability"]
            report["difference_interval"] = {
                name: _interval(model[name] - baseline[name], confidence_level) for name in model
            }
    return report if output_dict else _format_report(report, digits)


def _ranking_metrics(weight, error):
    """Compute the ranking metrics of the report from the sums over ties of one draw."""
    n, n_wrong = weight.sum(), error.sum()
    error_rate = n_wrong / n
    generalized = augrc_of_ties(weight, error)
    roc_auc = fpr = float("nan")
    if 0 < n_wrong < n:
        # This is the identity in the docstring of `augrc`, solved for the AUROC.
        roc_auc = 1 - (generalized - error_rate**2 / 2) / (error_rate * (1 - error_rate))
        accepted_right = np.cumsum(weight - error)
        enough = np.argmax(accepted_right >= 0.95 * (1 - ROUNDING) * accepted_right[-1])
        fpr = np.cumsum(error)[enough] / n_wrong
    return roc_auc, aurc_of_ties(weight, error), generalized, fpr


def _bootstrap(is_error, scores, weight, n_bootstrap, random_state):
    """Draw rows with replacement, the same rows for each score.

    Returns the error rates, shape (n_bootstrap,), and ``{row: {metric: values}}``.
    """
    rng = np.random.default_rng(draw_seed(random_state))
    n_samples = len(is_error)
    # A draw changes the weights only, so ties and losses are computed once.
    ties = {row: rank_scores(score) for row, (score, _) in scores.items()}
    losses = {
        row: _losses(is_error, score)
        for row, (score, is_probability) in scores.items()
        if is_probability
    }
    rates = np.empty(n_bootstrap)
    values = {row: np.empty((n_bootstrap, len(_REPORTED))) for row in scores}
    for draw in range(n_bootstrap):
        counts = np.bincount(rng.integers(n_samples, size=n_samples), minlength=n_samples)
        drawn = counts * weight
        if not drawn.any():
            rates[draw] = np.nan
            for row in scores:
                values[row][draw] = np.nan
            continue
        rates[draw] = drawn @ is_error / drawn.sum()
        for row in scores:
            values[row][draw, :_N_RANKING] = _ranking_metrics(*sum_ties(ties[row], is_error, drawn))
            if row in losses:
                values[row][draw, _N_RANKING:] = losses[row] @ drawn / drawn.sum()
    names = [metric.__name__ for metric in _REPORTED]
    return rates, {
        row: dict(zip(names if row in losses else names[:_N_RANKING], values[row].T))
        for row in scores
    }


def _losses(is_error, error_proba):
    """Return log-loss and squared error of each row, shape (2, n_samples)."""
    eps = np.finfo(np.float64).eps
    proba_of_outcome = np.clip(np.where(is_error, error_proba, 1 - error_proba), eps, 1 - eps)
    return np.stack([-np.log(proba_of_outcome), (error_proba - is_error) ** 2])


def _interval(values, confidence_level):
    """Return the quantiles of the finite values that bound the given level."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    tail = (1 - confidence_level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _format_report(report, digits):
    """Lay the report out as a table, 87 characters wide with three digits."""

    def number(value, name, sign=""):
        scale, places = (1000, max(digits - 2, 0)) if name in _PER_MILLE else (1, digits)
        return "n/a" if np.isnan(value) else f"{scale * value:{sign}.{places}f}"

    def interval(bounds, name, sign="", joint="-"):
        return joint.join(number(bound, name, sign) for bound in bounds)

    head = (
        f"n = {report['n_samples']}, wrong = {report['n_errors']}, "
        f"error rate = {report['error_rate']:.{digits}f}"
    )
    note = "AUROC: higher is better, others: lower. AURC and AUGRC times 1000."
    if report["n_bootstrap"]:
        head += f" ({interval(report['error_rate_interval'], None, joint=' to ')})"
        note += (
            f"\n{100 * report['confidence_level']:g} % intervals from {report['n_bootstrap']} "
            "bootstrap draws."
        )
    lines = [head, note]
    if report["difference"]:
        gains = []
        for name in ("error_roc_auc", "aurc"):
            gain = f"{_COLUMNS[name]} {number(report['difference'][name], name, '+')}"
            if report["n_bootstrap"]:
                bounds = report["difference_interval"][name]
                gain += f" ({interval(bounds, name, '+', ' to ')})"
            gains.append(gain)
        lines += ["meta-model minus max probability:", f"    {', '.join(gains)}"]

    name_width = max(len(row) for row in report["scores"])
    width = max(digits + 9, 2 * digits + 6) if report["n_bootstrap"] else digits + 7
    lines += [
        "",
        " " * name_width + "".join(f"{title:>{width}}" for title in _COLUMNS.values()),
    ]
    for row, values in report["scores"].items():
        cells = [number(values[name], name) if name in values else "-" for name in _COLUMNS]
        lines.append(f"{row:>{name_width}}" + "".join(f"{cell:>{width}}" for cell in cells))
        if report["n_bootstrap"]:
            bounds = report["intervals"][row]
            cells = [interval(bounds[name], name) if name in bounds else "" for name in _COLUMNS]
            under = " " * name_width + "".join(f"{cell:>{width}}" for cell in cells)
            lines.append(under.rstrip())
    return "\n".join(lines) + "\n"


# The columns of the report. Those after the first four need probabilities.
_REPORTED = (error_roc_auc, aurc, augrc, fpr_at_tpr, error_log_loss, error_brier_score)
_N_RANKING = 4
_COLUMNS = dict(
    zip(
        (metric.__name__ for metric in _REPORTED),
        ("AUROC", "AURC", "AUGRC", "FPR95", "log-loss", "Brier"),
    )
)
_PER_MILLE = ("aurc", "augrc")
