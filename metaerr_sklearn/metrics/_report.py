"""Compare the error probability of a model with confidence scores."""

from numbers import Real

import numpy as np
from sklearn.utils import check_scalar

from .._utils.parameter_checks import check_fraction
from .._utils.random import draw_seed
from ._checks import ROUNDING, check_ranking, rank_scores
from ._compared_predictions import predict_and_compare
from ._detection import error_brier_score, error_log_loss, error_roc_auc, fpr_at_tpr
from ._intervals import Intervals, wilson
from ._risk_coverage import augrc, aurc, sum_ties

# Rows of all draws of the bootstrap together, which bounds its time. With many rows, fewer draws
# give the same variance.
_MAX_DRAWN_ROWS = 20_000_000
_MIN_DRAWS = 50


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
    """Build a text report that compares the error probability with confidence scores.

    The report has one row for each score that ranks the samples. "error probability" is that of a
    `MetaErrorClassifier`. The baselines "max probability", "margin" and "entropy" are computed from
    the class probabilities of the base classifier. The columns are the metrics `error_roc_auc`,
    `aurc`, `augrc`, `fpr_at_tpr` (FPR95, at a rate of 95 %), `error_log_loss` and
    `error_brier_score`; the last two are shown for scores that are probabilities. The first lines
    give the error rate, and the difference between error probability and max probability on the
    same rows.

    Parameters
    ----------
    estimator : fitted classifier
        A `MetaErrorClassifier`, or any classifier with ``predict_proba`` or ``decision_function``,
        whose report has the baseline rows only. It may be inside a pipeline or a search.

    X : array-like of length n_samples
        Rows that neither the classifier nor its error model was trained on.

    y : array-like of shape (n_samples,)
        True labels.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. The intervals are for rows that are drawn, and
        each keeps its weight.

    n_bootstrap : int, default=1000
        Number of bootstrap draws behind the intervals of FPR95, the only ones without a closed
        form; 0 leaves all intervals out. With more than 20,000 rows fewer draws are used, at least
        50: the report says how many.

    confidence_level : float in (0, 1), default=0.95
        Level of the intervals; see Notes.

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
        ``error_rate_interval``, ``confidence_level``, ``n_bootstrap`` (the draws used),
        ``scores[row][metric]``,
        ``intervals[row][metric]`` (low, high), ``difference[metric]`` and
        ``difference_interval[metric]``. Metrics have the names of their functions, and no value is
        multiplied by 1000. ``pandas.DataFrame(report["scores"]).T`` is the table. Intervals are
        None if `n_bootstrap` is 0; the difference is None without an error probability.

    Raises
    ------
    TypeError
        If the estimator has neither an error probability nor class probabilities or decision
        scores.
    ValueError
        If labels are missing or of another type than the predictions, a weight is negative or not
        finite, or a parameter is out of range.

    Notes
    -----
    Quantiles of bootstrap draws make intervals that are too narrow with few errors. These are used
    instead. At a level of 95 % they contain the true value in 93 to 97 % of samples with 10, 20 or
    50 errors (98 % for an AUROC above 0.98):

    - error rate: the interval of Wilson [1]_;
    - AUROC: the variance of DeLong [2]_ on the logit scale. With few errors a share of the variance
      of Hanley and McNeil [3]_ is added, so that the interval of an AUROC of 1 is not empty;
    - AURC, AUGRC, log-loss, Brier score: the variance from the influence function [4]_ on the log
      scale;
    - FPR95: the interval of Wilson, for the number of errors that has the variance of the bootstrap
      draws;
    - differences of AUROC, AURC and AUGRC: the mean of the t interval and of the interval that
      combines the bounds of the two values [5]_. Other differences have a t interval.

    Quantiles are those of a t distribution whose degrees of freedom are the number of errors
    (effective number, if weighted), or of right predictions if there are fewer, minus 1. If no
    prediction is wrong, or none is right, the bounds of AURC and AUGRC are those of a random order,
    and AUROC and FPR95 have none.

    References
    ----------
    .. [1] Wilson (1927). Probable Inference, the Law of Succession, and Statistical Inference,
       Journal of the American Statistical Association.
    .. [2] DeLong, DeLong, Clarke-Pearson (1988). Comparing the Areas under Two or More Correlated
       Receiver Operating Characteristic Curves, Biometrics.
    .. [3] Hanley, McNeil (1982). The Meaning and Use of the Area under a Receiver Operating
       Characteristic (ROC) Curve, Radiology.
    .. [4] Hampel (1974). The Influence Curve and its Role in Robust Estimation, Journal of the
       American Statistical Association.
    .. [5] Zou, Donner (2008). Construction of Confidence Limits about Effect Measures: A General
       Approach, Statistics in Medicine.

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
    is_number = isinstance(n_bootstrap, Real) and np.isfinite(n_bootstrap)
    if not is_number or n_bootstrap < 0 or n_bootstrap != int(n_bootstrap):
        raise ValueError(
            f"n_bootstrap must be a number of draws >= 0, got {n_bootstrap!r}. "
            "1000 is enough for 95 % intervals; 0 leaves the intervals out."
        )
    check_scalar(digits, "digits", target_type=(int, np.integer), min_val=0)
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
        "n_samples": int(np.sum(weight > 0)),
        "n_errors": int(np.sum(is_error & (weight > 0))),
        "error_rate": float(np.average(is_error, weights=weight)),
        "error_rate_interval": None,
        "confidence_level": confidence_level,
        "n_bootstrap": _limit_draws(int(n_bootstrap), len(is_error)),
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
    if {"error probability", "max probability"} <= set(scores):
        model, baseline = report["scores"]["error probability"], report["scores"]["max probability"]
        report["difference"] = {name: model[name] - baseline[name] for name in model}
    if n_bootstrap:
        report |= _find_intervals(report, scores, is_error, weight, random_state)
    return report if output_dict else _format_report(report, digits)


def _find_intervals(report, scores, is_error, weight, random_state):
    """Return the intervals for the values of a report, by their keys in it."""
    intervals = Intervals(is_error, weight, report["confidence_level"])
    estimates = {
        row: _estimates(intervals, *score, report["scores"][row]) for row, score in scores.items()
    }
    of_rows = {
        row: {name: (one.low, one.high) for name, one in estimates[row].items()} for row in scores
    }
    draws = _bootstrap_fpr(is_error, scores, weight, report["n_bootstrap"], random_state)
    for row, values in draws.items():
        fpr = report["scores"][row]["fpr_at_tpr"]
        of_rows[row]["fpr_at_tpr"] = _fpr_interval(intervals, fpr, values)
    found = {"error_rate_interval": intervals.rate_interval, "intervals": of_rows}
    if report["difference"] is not None:
        model, baseline = estimates["error probability"], estimates["max probability"]
        find = dict.fromkeys(_LOSSES, intervals.mean_difference)
        of_difference = found["difference_interval"] = {
            name: find.get(name, intervals.difference)(model[name], baseline[name])
            for name in model
        }
        of_difference["fpr_at_tpr"] = _fpr_difference_interval(
            intervals,
            report["difference"]["fpr_at_tpr"],
            draws["error probability"] - draws["max probability"],
        )
    return found


def _limit_draws(n_bootstrap, n_samples):
    """Return the number of draws that takes a bounded time."""
    return min(n_bootstrap, max(_MAX_DRAWN_ROWS // n_samples, _MIN_DRAWS))


def _estimates(intervals, score, is_probability, values):
    """Return {metric: Estimate} of one score, without FPR95."""
    names = [metric.__name__ for metric in (error_roc_auc, aurc, augrc)]
    ranking = intervals.ranking(score, [values[name] for name in names])
    estimates = dict(zip(names, ranking))
    if is_probability:
        losses = _losses(intervals.is_error, score)
        for name, loss, highest in zip(_LOSSES, losses, (np.inf, 1.0)):
            estimates[name] = intervals.mean_loss(loss, values[name], highest)
    return estimates


def _fpr_interval(intervals, fpr, draws):
    """Return the interval of FPR95: Wilson's, for a number of errors with the draws' variance."""
    draws = draws[np.isfinite(draws)]
    variance = np.var(draws) if len(draws) else 0.0
    number = intervals.n_wrong
    if variance > 0 and 0 < fpr < 1:
        number = min(number, fpr * (1 - fpr) / variance)
    return wilson(fpr, number, intervals.normal_quantile)


def _fpr_difference_interval(intervals, difference, draws):
    """Return the t interval of a difference of FPR95, with the variance of the draws."""
    draws = draws[np.isfinite(draws)]
    if len(draws) == 0:
        return float("nan"), float("nan")
    margin = intervals.t_quantile * np.std(draws)
    return float(max(difference - margin, -1)), float(min(difference + margin, 1))


def _bootstrap_fpr(is_error, scores, weight, n_bootstrap, random_state):
    """Draw rows with replacement, the same rows for each score; return {row: FPR95 of draws}."""
    rng = np.random.default_rng(draw_seed(random_state))
    n_samples = len(is_error)
    # A draw changes the weights only, so ties are computed once.
    ties = {row: rank_scores(score) for row, (score, _) in scores.items()}
    values = {row: np.empty(n_bootstrap) for row in scores}
    for draw in range(n_bootstrap):
        drawn = np.bincount(rng.integers(n_samples, size=n_samples), minlength=n_samples) * weight
        for row in scores:
            values[row][draw] = _fpr_of_ties(*sum_ties(ties[row], is_error, drawn))
    return values


def _fpr_of_ties(weight, error):
    """Compute `fpr_at_tpr` from the sums over ties of one draw."""
    n_wrong, accepted_right = error.sum(), np.cumsum(weight - error)
    if n_wrong == 0 or accepted_right[-1] <= 0:
        return float("nan")
    enough = np.argmax(accepted_right >= 0.95 * (1 - ROUNDING) * accepted_right[-1])
    return error[: enough + 1].sum() / n_wrong


def _losses(is_error, error_proba):
    """Return log-loss and squared error of each row, shape (2, n_samples)."""
    eps = np.finfo(np.float64).eps
    proba_of_outcome = np.clip(np.where(is_error, error_proba, 1 - error_proba), eps, 1 - eps)
    return np.stack([-np.log(proba_of_outcome), (error_proba - is_error) ** 2])


def _format_report(report, digits):
    """Return the report as text."""
    return "\n".join([*_head_lines(report, digits), *_table_lines(report, digits)]) + "\n"


def _number(value, name, digits, sign=""):
    """Return the value of a metric as text."""
    scale, places = (1000, max(digits - 2, 0)) if name in _PER_MILLE else (1, digits)
    return "n/a" if np.isnan(value) else f"{scale * value:{sign}.{places}f}"


def _interval(bounds, name, digits, sign="", joint="-"):
    """Return the interval of a metric as text."""
    if np.isnan(bounds).all():
        return "n/a"
    return joint.join(_number(bound, name, digits, sign) for bound in bounds)


def _head_lines(report, digits):
    """Return the error rate, and the difference to max probability, as lines."""
    head = (
        f"n = {report['n_samples']}, wrong = {report['n_errors']}, "
        f"error rate = {report['error_rate']:.{digits}f}"
    )
    note = "AUROC: higher is better, others: lower. AURC and AUGRC times 1000."
    if report["n_bootstrap"]:
        interval = _interval(report["error_rate_interval"], None, digits, joint=" to ")
        head += f" ({interval})"
        note += (
            f"\n{100 * report['confidence_level']:g} % intervals; those of FPR95 from "
            f"{report['n_bootstrap']} bootstrap draws."
        )
    lines = [head, note]
    if report["difference"]:
        gains = []
        for name in ("error_roc_auc", "aurc"):
            difference = report["difference"][name]
            gain = f"{_COLUMNS[name]} {_number(difference, name, digits, '+')}"
            if report["n_bootstrap"] and not np.isnan(difference):
                bounds = report["difference_interval"][name]
                gain += f" ({_interval(bounds, name, digits, '+', ' to ')})"
            gains.append(gain)
        lines += ["error probability minus max probability:", f"    {', '.join(gains)}"]
    return lines


def _table_lines(report, digits):
    """Return the lines of a table, or of two if one would not fit into 80 columns."""
    cells = {
        row: [{name: _number(value, name, digits) for name, value in values.items()}]
        for row, values in report["scores"].items()
    }
    if report["n_bootstrap"]:
        for row, bounds in report["intervals"].items():
            cells[row].append({name: _interval(bounds[name], name, digits) for name in bounds})
    name_width = max(map(len, cells))
    longest = max(len(cell) for lines in cells.values() for line in lines for cell in line.values())
    width = max(longest + 1, digits + 9 if report["n_bootstrap"] else digits + 7)
    columns = list(_COLUMNS)
    tables = [columns]
    if name_width + width * len(columns) > _MAX_WIDTH:
        tables = [columns[:_N_RANKING], columns[_N_RANKING:]]

    def line(title, cells):
        return f"{title:>{name_width}}{''.join(f'{cell:>{width}}' for cell in cells)}".rstrip()

    lines = []
    for table in tables:
        lines += ["", line("", (_COLUMNS[name] for name in table))]
        for row, (values, *intervals) in cells.items():
            if not values.keys() & set(table):
                continue
            lines.append(line(row, (values.get(name, "-") for name in table)))
            lines += [line("", (one.get(name, "") for name in table)) for one in intervals]
    return lines


# The columns of the report. Those after the first four need probabilities.
_REPORTED = (error_roc_auc, aurc, augrc, fpr_at_tpr, error_log_loss, error_brier_score)
_N_RANKING = 4
_MAX_WIDTH = 80
_LOSSES = tuple(metric.__name__ for metric in _REPORTED[_N_RANKING:])
_COLUMNS = dict(
    zip(
        (metric.__name__ for metric in _REPORTED),
        ("AUROC", "AURC", "AUGRC", "FPR95", "log-loss", "Brier"),
    )
)
_PER_MILLE = ("aurc", "augrc")
