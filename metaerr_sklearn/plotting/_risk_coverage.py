"""Plot risk-coverage curves."""

from functools import partial

import numpy as np

from .._utils.in_memory import check_in_memory
from ..metrics import aurc, risk_at_coverage
from ..metrics._compared_predictions import predict_and_compare
from ..metrics._risk_coverage import operating_point_of
from ._style import BLUE, GREY, VERMILION, import_pyplot, make_axes, style_axes

_CURVES = (
    {"color": BLUE, "linestyle": "-", "linewidth": 2.2},
    {"color": VERMILION, "linestyle": (0, (5, 1.5)), "linewidth": 1.8},
    {"color": "#009E73", "linestyle": (0, (5, 1.5, 1, 1.5)), "linewidth": 1.8},
    {"color": "#CC79A7", "linestyle": (0, (2, 1)), "linewidth": 1.8},
    {"color": "#56B4E9", "linestyle": "-", "linewidth": 1.8},
    {"color": "#E69F00", "linestyle": (0, (5, 1.5)), "linewidth": 1.8},
)
_CURVE_ID = "selective risk"


class RiskCoverageDisplay:
    """Risk-coverage curves: the error rate if only the most trusted samples are answered.

    Create it with `from_estimator` or `from_predictions`. A lower curve is better. The lower limit
    is the curve of the oracle, which rejects all errors first. A random order gives a horizontal
    line. All curves end at the error rate of the classifier, where every sample is answered.

    Parameters
    ----------
    coverage : ndarray of shape (n_points,)
        Shares of the samples that are answered, in (0, 1].

    selective_risk : dict of str to ndarray of shape (n_points,)
        Error rate among the answered samples, for each score that ranks them.

    aurc : dict of str to float
        Area under each curve (lower is better).

    error_rate : float
        Error rate of the classifier, the risk of a random order.

    optimal_risk : ndarray of shape (n_points,)
        Error rate among the samples that the oracle answers.

    optimal_aurc : float
        Area under the curve of the oracle.

    operating_point : tuple of (float, float), default=None
        Coverage and selective risk of a classifier that abstains. None if the classifier does not
        abstain, or if it answers no sample.

    target_risk : float, default=None
        Highest error rate that a `SelectiveClassifier` was fitted to keep. None if it has no such
        target.

    Attributes
    ----------
    line_ : Line2D or list of Line2D
        The curves, in the order of `selective_risk`. A single curve is not put in a list.

    random_line_, optimal_line_, target_line_ : Line2D or None
        The lines of a random order, of the oracle and of the target risk; None if they were not
        drawn. If another display has already drawn the same line on these axes, it is that line.

    operating_point_ : Line2D or None
        The marker of the operating point.

    ax_ : matplotlib Axes
        Axes with the curves.

    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    metaerr_sklearn.metrics.risk_at_coverage : Computes the curves.
    metaerr_sklearn.metrics.aurc : Computes the numbers in the legend.

    References
    ----------
    .. [1] El-Yaniv, Wiener (2010). On the Foundations of Noise-free Selective Classification.
       Journal of Machine Learning Research 11.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from metaerr_sklearn.plotting import RiskCoverageDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> base = GaussianNB().fit(X[:900], y[:900])
    >>> display = RiskCoverageDisplay.from_estimator(base, X[900:], y[900:])
    >>> display.figure_.savefig("risk_coverage.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        coverage,
        selective_risk,
        aurc,
        error_rate,
        optimal_risk,
        optimal_aurc,
        operating_point=None,
        target_risk=None,
    ):
        self.coverage = coverage
        self.selective_risk = selective_risk
        self.aurc = aurc
        self.error_rate = error_rate
        self.optimal_risk = optimal_risk
        self.optimal_aurc = optimal_aurc
        self.operating_point = operating_point
        self.target_risk = target_risk

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        sample_weight=None,
        plot_baseline=True,
        name=None,
        ax=None,
        plot_random=True,
        plot_oracle=True,
        curve_kwargs=None,
    ):
        """Plot the curve of an estimator, and that of max probability.

        Parameters
        ----------
        estimator : fitted classifier
            A `MetaErrorClassifier`; a `SelectiveClassifier`, whose operating point and target risk
            are drawn; or any classifier with ``predict_proba`` or ``decision_function``, for which
            only the curve of max probability is drawn.

        X : array-like of length n_samples
            Rows on which the classifier was not trained.

        y : array-like of shape (n_samples,)
            True labels.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None means once.

        plot_baseline : bool, default=True
            Whether to draw the curve of max probability beside that of the error probability.

        name : str, default=None
            Name of the model in the legend. Give it if several models are drawn on the same axes.

        ax : matplotlib Axes, default=None
            Axes to draw on, for example the ``ax_`` of the display of another model; None creates
            a new figure.

        plot_random : bool, default=True
            Whether to draw the line of a random order.

        plot_oracle : bool, default=True
            Whether to draw the curve of the oracle.

        curve_kwargs : dict or list of dict, default=None
            Arguments of matplotlib's ``plot``: a dict for all curves, or a list of one per curve.

        Returns
        -------
        display : RiskCoverageDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If the estimator has no score of confidence.
        ValueError
            If labels are missing or of another type than the predictions, a weight is invalid, or
            `curve_kwargs` does not have one dict for each curve.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        predictions = predict_and_compare(estimator, X, y)
        scores = {row: score for row, (score, is_probability) in predictions.scores().items()}
        shown = [row for row in ("error probability", "max probability") if row in scores]
        if not plot_baseline:
            shown = shown[:1]
        return cls.from_predictions(
            predictions.is_error,
            {row: scores[row] for row in shown},
            accepted=predictions.accepted,
            target_risk=predictions.target_risk,
            sample_weight=sample_weight,
            name=name,
            ax=ax,
            plot_random=plot_random,
            plot_oracle=plot_oracle,
            curve_kwargs=curve_kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        is_error,
        error_proba,
        *,
        accepted=None,
        target_risk=None,
        sample_weight=None,
        name=None,
        ax=None,
        plot_random=True,
        plot_oracle=True,
        curve_kwargs=None,
    ):
        """Plot the curves of one or several scores of the same predictions.

        Parameters
        ----------
        is_error : array-like of bool, shape (n_samples,)
            True where the classifier is wrong.

        error_proba : array-like of float, shape (n_samples,), or dict of str to such
            Higher means more likely wrong; only the order counts. A dict of scores by name gives
            one curve for each score.

        accepted : array-like of bool, shape (n_samples,), default=None
            True for the rows that a selective classifier answers. Its operating point is marked.

        target_risk : float, default=None
            Error rate among the answers that should be kept. It is drawn as a line.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None means once.

        name : str, default=None
            Name of the model in the legend; if there are several scores, it is put before the name
            of each.

        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        plot_random : bool, default=True
            Whether to draw the line of a random order.

        plot_oracle : bool, default=True
            Whether to draw the curve of the oracle.

        curve_kwargs : dict or list of dict, default=None
            Arguments of matplotlib's ``plot``: a dict for all curves, or a list of one per curve.

        Returns
        -------
        display : RiskCoverageDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If lengths differ, `is_error` is not boolean, a score is NaN anywhere, a weight is
            invalid, or `curve_kwargs` does not have one dict for each curve.
        """
        import_pyplot(f"{cls.__name__}.from_predictions")
        check_in_memory(is_error, "is_error")
        scores = (
            error_proba if isinstance(error_proba, dict) else {"error probability": error_proba}
        )
        weights = {"sample_weight": sample_weight}
        # One point for each row, but not more than a line can show.
        coverage = np.linspace(0, 1, min(len(is_error), 1000) + 1)[1:]
        curves = {
            row: risk_at_coverage(is_error, score, target_coverage=coverage, **weights)
            for row, score in {**scores, None: is_error}.items()
        }
        optimal_risk = curves.pop(None)
        display = cls(
            coverage=coverage,
            selective_risk=curves,
            aurc={row: aurc(is_error, score, **weights) for row, score in scores.items()},
            error_rate=float(optimal_risk[-1]),
            optimal_risk=optimal_risk,
            optimal_aurc=aurc(is_error, is_error, **weights),
            operating_point=operating_point_of(is_error, accepted, sample_weight),
            target_risk=target_risk,
        )
        return display.plot(
            ax,
            name=name,
            plot_random=plot_random,
            plot_oracle=plot_oracle,
            curve_kwargs=curve_kwargs,
        )

    def plot(self, ax=None, *, name=None, plot_random=True, plot_oracle=True, curve_kwargs=None):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        name : str, default=None
            Name of the model in the legend; if there are several curves, it is put before the name
            of each.

        plot_random : bool, default=True
            Whether to draw the line of a random order.

        plot_oracle : bool, default=True
            Whether to draw the curve of the oracle.

        curve_kwargs : dict or list of dict, default=None
            Arguments of matplotlib's ``plot``: a dict for all curves, or a list of one per curve.

        Returns
        -------
        display : RiskCoverageDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `curve_kwargs` does not have one dict for each curve.
        """
        ax = self.ax_ = make_axes(ax, f"{type(self).__name__}.plot")
        self.figure_ = ax.figure
        lines = self._draw_curves(ax, name, curve_kwargs)
        self.line_ = lines[0] if len(lines) == 1 else lines
        self.random_line_ = self.optimal_line_ = self.target_line_ = self.operating_point_ = None
        if plot_random:
            self.random_line_ = _draw_once(
                ax,
                ([0, 1], [self.error_rate] * 2),
                ("random order", _per_mille(self.error_rate)),
                {"color": GREY, "linestyle": ":", "linewidth": 1.5},
            )
        if plot_oracle:
            self.optimal_line_ = _draw_once(
                ax,
                (self.coverage, self.optimal_risk),
                ("oracle", _per_mille(self.optimal_aurc)),
                {"color": GREY, "linewidth": 1.2},
            )
        if self.target_risk is not None:
            self.target_line_ = _draw_once(
                ax,
                ([0, 1], [self.target_risk] * 2),
                ("target risk", f"{100 * self.target_risk:.3g}% wrong"),
                {"color": "black", "linestyle": (0, (8, 4)), "linewidth": 0.9},
            )
        if self.operating_point is not None:
            coverage, risk = self.operating_point
            (self.operating_point_,) = ax.plot(
                coverage,
                risk,
                marker="o",
                markersize=8,
                color=lines[0].get_color(),
                markeredgecolor="black",
                linestyle="none",
                zorder=6,
                label=f"answered: {coverage:.1%}, of which {risk:.1%} are wrong",
            )
        self._frame(ax)
        return self

    def _draw_curves(self, ax, name, curve_kwargs):
        """Draw one curve for each score, and return the lines."""
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        names = list(self.selective_risk)
        if isinstance(curve_kwargs, dict) or curve_kwargs is None:
            curve_kwargs = [curve_kwargs or {}] * len(names)
        if len(curve_kwargs) != len(names):
            raise ValueError(
                f"curve_kwargs must be a dict, or a list with one dict for each of the "
                f"{len(names)} curves {names}, got a list of {len(curve_kwargs)}."
            )
        lines = []
        # Curves that are already on the axes have the first styles, and each display has a number.
        before = [line.get_gid() for line in _curves_on(ax)]
        n_before, n_models = len(before), 1 + len(set(before))
        model = name if name is not None or n_models == 1 else f"model {n_models}"
        for number, (row, kwargs) in enumerate(zip(names, curve_kwargs)):
            is_named = name is not None and len(names) == 1
            label = (
                name if is_named else ", ".join(str(n) for n in (model, row) if n not in (None, ""))
            )
            style = {
                **_CURVES[(n_before + number) % len(_CURVES)],
                "gid": f"{_CURVE_ID} {n_models}",
                "label": f"{label}: {_per_mille(self.aurc[row])}",
                # The first curves are the most important ones, so they are drawn on top.
                "zorder": 4 - 0.1 * number,
                **normalize_kwargs(kwargs, Line2D),
            }
            lines += ax.plot(self.coverage, self.selective_risk[row], **style)
        return lines

    def _frame(self, ax):
        """Set limits and labels, and add the legend above the curves."""
        from matplotlib.ticker import PercentFormatter

        # The risk at low coverage is noisy, so it does not determine the limits.
        curves = _curves_on(ax)
        data = [line.get_data() for line in curves]
        risks = [self.error_rate, *(risk[x >= 0.1].max(initial=0) for x, risk in data)]
        risks += [] if self.target_risk is None else [self.target_risk]
        style_axes(ax)
        ax.set(
            xlabel="Share of samples answered (coverage)",
            ylabel="Error rate of the answers (selective risk)",
            xlim=(0, 1.01),
        )
        entries = zip(*ax.get_legend_handles_labels())
        entries = sorted(entries, key=lambda entry: entry[0] not in curves)
        legend = ax.legend(
            *zip(*entries),
            loc="upper right",
            fontsize="small",
            title_fontsize="small",
            framealpha=0.8,
            edgecolor="none",
            title="Area under the curve (AURC) × 1000, lower is better",
            alignment="left",
        )
        legend.get_title().set_color(GREY)
        # The upper limit leaves room for the legend above the curves; a legend that would take most
        # of the axes is put beside them.
        share = 1.1 * legend.get_window_extent().height / ax.get_window_extent().height
        if share > 0.6:
            share = 0.1
            legend.set_loc("upper left")
            legend.set_bbox_to_anchor((1, 1), transform=ax.transAxes)
        top = (max(risks) or 0.01) / (1 - share)
        ax.set_ylim(-0.01 * top, top)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.yaxis.set_major_formatter(partial(_show_rate, decimals=0 if top > 0.05 else 1))


def _curves_on(ax):
    """Return the lines on these axes that displays have drawn as curves of a score."""
    return [line for line in ax.get_lines() if (line.get_gid() or "").startswith(_CURVE_ID)]


def _draw_once(ax, points, label, style):
    """Draw a line that models may share, and return it; one line of the legend is for all of them.

    Lines of one word that end at the same risk are equal. The text of a further line follows that
    of the first.
    """
    word, text = label
    before = [line for line in ax.get_lines() if line.get_gid() == word]
    for line in before:
        if np.isclose(line.get_ydata()[-1], points[1][-1]):
            return line
    if before:
        before[0].set_label(f"{before[0].get_label()}, {text}")
    (line,) = ax.plot(*points, gid=word, label="_" if before else f"{word}: {text}", **style)
    return line


def _show_rate(rate, _, decimals):
    """Return the label of a tick; there is no error rate above 1, where the legend is."""
    return f"{rate:.{decimals}%}" if rate < 1.001 else ""


def _per_mille(value):
    return f"{1000 * value:.1f}"
