"""Plot risk-coverage curves."""

import numpy as np

from ..metrics import aurc, risk_at_coverage
from ..metrics._observation import predict_and_compare
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

    Attributes
    ----------
    line_ : Line2D or list of Line2D
        The curves, in the order of `selective_risk`. A single curve is not put in a list.

    random_line_, optimal_line_ : Line2D or None
        The lines of a random order and of the oracle; None if they were not drawn.

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
    ):
        self.coverage = coverage
        self.selective_risk = selective_risk
        self.aurc = aurc
        self.error_rate = error_rate
        self.optimal_risk = optimal_risk
        self.optimal_aurc = optimal_aurc
        self.operating_point = operating_point

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
            A `MetaErrorClassifier`; a `SelectiveClassifier`, whose operating point is marked; or
            any classifier with ``predict_proba`` or ``decision_function``, for which only the curve
            of max probability is drawn.

        X : array-like of length n_samples
            Rows on which the classifier was not trained.

        y : array-like of shape (n_samples,)
            True labels.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None means once.

        plot_baseline : bool, default=True
            Whether to draw the curve of max probability beside that of the error probability,
            which is named "meta-model".

        name : str, default=None
            Name of the first curve; None takes "meta-model" or "max probability".

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
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        predictions = predict_and_compare(estimator, X, y)
        scores = {row: score for row, (score, is_probability) in predictions.scores().items()}
        shown = [row for row in ("meta-model", "max probability") if row in scores]
        if not plot_baseline:
            shown = shown[:1]
        return cls.from_predictions(
            predictions.is_error,
            {row: scores[row] for row in shown},
            accepted=predictions.accepted,
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

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None means once.

        name : str, default=None
            Name of the first curve; None takes the one in `error_proba`, or "meta-model".

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
        """
        import_pyplot(f"{cls.__name__}.from_predictions")
        scores = error_proba if isinstance(error_proba, dict) else {"meta-model": error_proba}
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
            Name of the first curve in the legend; None takes the one in `selective_risk`.

        plot_random : bool, default=True
            Whether to draw the line of a random order.

        plot_oracle : bool, default=True
            Whether to draw the curve of the oracle.

        curve_kwargs : dict or list of dict, default=None
            Arguments of matplotlib's ``plot``: a dict for all curves, or a list of one per curve.

        Returns
        -------
        display : RiskCoverageDisplay
        """
        ax = self.ax_ = make_axes(ax, f"{type(self).__name__}.plot")
        self.figure_ = ax.figure
        names = list(self.selective_risk)
        if isinstance(curve_kwargs, dict) or curve_kwargs is None:
            curve_kwargs = [curve_kwargs or {}] * len(names)
        if len(curve_kwargs) != len(names):
            raise ValueError(
                f"curve_kwargs must be a dict, or a list with one dict for each of the "
                f"{len(names)} curves {names}, got a list of {len(curve_kwargs)}."
            )
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        lines = []
        # Curves that are already on the axes have the first styles.
        n_before = sum(line.get_gid() == _CURVE_ID for line in ax.get_lines())
        for number, (row, kwargs) in enumerate(zip(names, curve_kwargs)):
            label = name if name is not None and number == 0 else row
            style = {
                **_CURVES[(n_before + number) % len(_CURVES)],
                "gid": _CURVE_ID,
                "label": f"{label}: {1000 * self.aurc[row]:.1f}",
                # The first curves are the most important ones, so they are drawn on top.
                "zorder": 4 - 0.1 * number,
                **normalize_kwargs(kwargs, Line2D),
            }
            lines += ax.plot(self.coverage, self.selective_risk[row], **style)
        self.line_ = lines[0] if len(lines) == 1 else lines

        self.random_line_ = self.optimal_line_ = self.operating_point_ = None
        if plot_random:
            (self.random_line_,) = ax.plot(
                [0, 1],
                [self.error_rate] * 2,
                color=GREY,
                linestyle=":",
                linewidth=1.5,
                label=f"random order: {1000 * self.error_rate:.1f}",
            )
        if plot_oracle:
            (self.optimal_line_,) = ax.plot(
                self.coverage,
                self.optimal_risk,
                color=GREY,
                linewidth=1.2,
                label=f"oracle: {1000 * self.optimal_aurc:.1f}",
            )
        if self.operating_point is not None:
            self._mark_operating_point(ax)
        self._frame(ax)
        return self

    def _mark_operating_point(self, ax):
        """Draw the operating point and its projections on both axes."""
        coverage, risk = self.operating_point
        ax.plot([coverage, coverage, 0], [0, risk, risk], color="0.6", linewidth=0.8, zorder=2)
        (self.operating_point_,) = ax.plot(
            coverage,
            risk,
            marker="o",
            markersize=8,
            color="black",
            markeredgecolor="white",
            linestyle="none",
            zorder=6,
            label=f"operating point: {coverage:.1%} answered, {risk:.1%} wrong",
        )

    def _frame(self, ax):
        """Set limits and labels, and add the legend above the curves."""
        from matplotlib import rcParams
        from matplotlib.ticker import PercentFormatter

        # The risk at low coverage is noisy, so it does not determine the limits.
        curves = [(self.coverage, risk) for risk in self.selective_risk.values()]
        curves += [line.get_data() for line in ax.get_lines() if line.get_gid() == _CURVE_ID]
        risks = [self.error_rate, *(risk[x >= 0.1].max(initial=0) for x, risk in curves)]
        # The upper limit leaves room for the legend and its title above the curves.
        n_lines = 1 + len(ax.get_legend_handles_labels()[1])
        legend_height = (n_lines + 1) * rcParams["font.size"] * 1.5
        axes_height = ax.get_window_extent().height * 72 / self.figure_.dpi
        top = (max(risks) or 0.01) / (1 - min(0.5, legend_height / axes_height))
        ax.set(
            xlabel="Coverage (share of samples answered)",
            ylabel="Selective risk (error rate of answered samples)",
            xlim=(0, 1.01),
            ylim=(-0.01 * top, top),
        )
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if top > 0.05 else 1))
        style_axes(ax)
        legend = ax.legend(
            loc="upper left",
            framealpha=0.8,
            edgecolor="none",
            title="Area under the curve (AURC) × 1000, lower is better",
            alignment="left",
        )
        legend.get_title().set_color(GREY)
