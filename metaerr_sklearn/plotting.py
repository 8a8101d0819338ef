"""Draw what `metrics` computes, in scikit-learn's Display convention.

Every display has ``from_estimator`` and ``from_predictions``, which compute, and ``plot``, which
draws what was computed and can be called again on other axes. matplotlib, the extra ``plot``, is
imported when something is drawn.
"""

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from ._rows import as_array, indexable
from .metrics import (
    aurc,
    error_roc_auc,
    observe_errors,
    risk_at_coverage,
)

__all__ = ["ErrorDistributionDisplay", "ErrorGalleryDisplay", "RiskCoverageDisplay"]

# Okabe and Ito's palette, which stays apart under all common colour vision deficiencies. Dashes
# say the same once more, for print in grey.
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "0.45"
_CURVES = (
    {"color": _BLUE, "linestyle": "-", "linewidth": 2.2},
    {"color": _VERMILION, "linestyle": (0, (5, 1.5)), "linewidth": 1.8},
    {"color": "#009E73", "linestyle": (0, (5, 1.5, 1, 1.5)), "linewidth": 1.8},
    {"color": "#CC79A7", "linestyle": (0, (2, 1)), "linewidth": 1.8},
    {"color": "#56B4E9", "linestyle": "-", "linewidth": 1.8},
    {"color": "#E69F00", "linestyle": (0, (5, 1.5)), "linewidth": 1.8},
)
_CURVE_ID = "selective risk"


class RiskCoverageDisplay:
    """Risk-coverage curves: how the error rate falls when the most doubtful samples are left out.

    Build it with `from_estimator` or `from_predictions`. A curve is better the lower it lies: it
    runs between the oracle, which leaves out the errors first, and the horizontal line of a random
    order, and ends at the error rate of the classifier, where every sample is answered.

    Parameters
    ----------
    coverage : ndarray of shape (n_points,)
        Shares of the samples answered, in (0, 1].

    selective_risk : dict of str to ndarray of shape (n_points,)
        Error rate among the samples answered, for each way to rank them.

    aurc : dict of str to float
        Area under each curve (lower is better).

    error_rate : float
        Error rate of the classifier, the risk of a random order.

    optimal_risk : ndarray of shape (n_points,)
        Error rate among the samples answered by the oracle.

    optimal_aurc : float
        Area under the curve of the oracle.

    operating_point : tuple of (float, float), default=None
        Coverage and selective risk of a classifier that abstains; None without one, or where it
        answers nothing.

    Attributes
    ----------
    line_ : Line2D or list of Line2D
        The curves, in the order of `selective_risk`; one curve comes without the list.

    random_line_, optimal_line_ : Line2D or None
        The two limits, None where they were not wanted.

    operating_point_ : Line2D or None
        The marker of the operating point.

    ax_ : matplotlib Axes
        Axes with the curves.

    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    metaerr_sklearn.metrics.risk_at_coverage : The numbers of the curves.
    metaerr_sklearn.metrics.aurc : The number in the legend.

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
        """Compare a meta-model with max probability on one test set.

        Parameters
        ----------
        estimator : fitted classifier
            A `MetaErrorClassifier`; a `SelectiveClassifier`, whose operating point is marked; or
            any classifier with ``predict_proba`` or ``decision_function``, which has the curve of
            max probability only.

        X : array-like of length n_samples
            Rows that the classifier was not trained on.

        y : array-like of shape (n_samples,)
            True labels.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None means once.

        plot_baseline : bool, default=True
            Whether to draw max probability beside the meta-model.

        name : str, default=None
            Name of the first curve; None names it after the way to rank.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        plot_random : bool, default=True
            Whether to draw the line of a random order.

        plot_oracle : bool, default=True
            Whether to draw the best curve possible.

        curve_kwargs : dict or list of dict, default=None
            Arguments of matplotlib's ``plot``, for all curves or for each.

        Returns
        -------
        display : RiskCoverageDisplay
        """
        _import_pyplot(f"{cls.__name__}.from_estimator")
        seen = observe_errors(estimator, X, y)
        scores = {row: score for row, (score, is_probability) in seen.scores().items()}
        shown = [row for row in ("meta-model", "max probability") if row in scores]
        if not plot_baseline:
            shown = shown[:1]
        return cls.from_predictions(
            seen.is_error,
            {row: scores[row] for row in shown},
            accepted=seen.accepted,
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
        """Compare any number of scores of the same predictions.

        Parameters
        ----------
        is_error : array-like of bool, shape (n_samples,)
            True where the classifier is wrong.

        error_proba : array-like of float, shape (n_samples,), or dict of str to such
            Higher means more likely wrong; only the order counts. A dict has several scores by
            name, each of which becomes a curve.

        accepted : array-like of bool, shape (n_samples,), default=None
            True where a classifier that abstains does answer; its operating point is marked.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None means once.

        name : str, default=None
            Name of the first curve; None takes the one in `error_proba`, or "meta-model".

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        plot_random : bool, default=True
            Whether to draw the line of a random order.

        plot_oracle : bool, default=True
            Whether to draw the best curve possible.

        curve_kwargs : dict or list of dict, default=None
            Arguments of matplotlib's ``plot``, for all curves or for each.

        Returns
        -------
        display : RiskCoverageDisplay
        """
        _import_pyplot(f"{cls.__name__}.from_predictions")
        scores = error_proba if isinstance(error_proba, dict) else {"meta-model": error_proba}
        weights = {"sample_weight": sample_weight}
        # One point for each row, up to what a line can show.
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
            operating_point=_operating_point(is_error, accepted, sample_weight),
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
            Where to draw; None makes a new figure.

        name : str, default=None
            Name of the first curve in the legend; None takes the one in `selective_risk`.

        plot_random : bool, default=True
            Whether to draw the line of a random order.

        plot_oracle : bool, default=True
            Whether to draw the best curve possible.

        curve_kwargs : dict or list of dict, default=None
            Arguments of matplotlib's ``plot``, for all curves or for each.

        Returns
        -------
        display : RiskCoverageDisplay
        """
        ax = self.ax_ = _axes(ax, f"{type(self).__name__}.plot")
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
        # Curves of displays drawn before have taken the first styles.
        n_before = sum(line.get_gid() == _CURVE_ID for line in ax.get_lines())
        for number, (row, kwargs) in enumerate(zip(names, curve_kwargs)):
            label = name if name is not None and number == 0 else row
            style = {
                **_CURVES[(n_before + number) % len(_CURVES)],
                "gid": _CURVE_ID,
                "label": f"{label}: {1000 * self.aurc[row]:.1f}",
                # The first curves, which the reader came for, lie on top.
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
                color=_GREY,
                linestyle=":",
                linewidth=1.5,
                label=f"random order: {1000 * self.error_rate:.1f}",
            )
        if plot_oracle:
            (self.optimal_line_,) = ax.plot(
                self.coverage,
                self.optimal_risk,
                color=_GREY,
                linewidth=1.2,
                label=f"oracle: {1000 * self.optimal_aurc:.1f}",
            )
        if self.operating_point is not None:
            self._mark_operating_point(ax)
        self._frame(ax)
        return self

    def _mark_operating_point(self, ax):
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
        from matplotlib import rcParams
        from matplotlib.ticker import PercentFormatter

        # The first few rows make a spike or nothing: they do not set the scale.
        curves = [(self.coverage, risk) for risk in self.selective_risk.values()]
        curves += [line.get_data() for line in ax.get_lines() if line.get_gid() == _CURVE_ID]
        risks = [self.error_rate, *(risk[x >= 0.1].max(initial=0) for x, risk in curves)]
        # The legend, with its title, lies above the curves.
        n_lines = 1 + len(ax.get_legend_handles_labels()[1])
        legend_height = (n_lines + 1) * rcParams["font.size"] * 1.5
        axes_height = ax.get_window_extent().height * 72 / self.figure_.dpi
        top = (max(risks) or 0.01) / (1 - min(0.5, legend_height / axes_height))
        ax.set(
            xlabel="Coverage (share of samples answered)",
            ylabel="Selective risk (error rate among them)",
            xlim=(0, 1.01),
            ylim=(-0.01 * top, top),
        )
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if top > 0.05 else 1))
        _quiet(ax)
        legend = ax.legend(
            loc="upper left",
            framealpha=0.8,
            edgecolor="none",
            title="Area under the curve (AURC) × 1000, lower is better",
            alignment="left",
        )
        legend.get_title().set_color(_GREY)


class ErrorDistributionDisplay:
    """Predicted error of the samples that are right and of those that are wrong.

    Build it with `from_estimator` or `from_predictions`. The less the two histograms overlap, the
    better the error probability tells right from wrong.

    Parameters
    ----------
    bin_edges : ndarray of shape (n_bins + 1,)
        Limits of the bins on the scale of the error probability.

    right, wrong : ndarray of shape (n_bins,)
        Share of the right, and of the wrong, samples in each bin. Each sums to 1, so that the few
        wrong samples can be seen beside the many right ones; all 0 where there is no such sample.

    n_right, n_wrong : int
        Number of samples in each group.

    roc_auc : float
        Probability that a wrong sample has the higher error probability; NaN without one of the
        groups.

    Attributes
    ----------
    right_, wrong_ : StepPatch
        The two histograms.

    ax_ : matplotlib Axes
        Axes with the histograms.

    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    metaerr_sklearn.metrics.error_roc_auc : The number in the legend.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from metaerr_sklearn.plotting import ErrorDistributionDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> base = GaussianNB(var_smoothing=0.1).fit(X[:900], y[:900])
    >>> display = ErrorDistributionDisplay.from_estimator(base, X[900:], y[900:])
    >>> display.n_right, display.n_wrong
    (802, 95)
    """

    def __init__(self, *, bin_edges, right, wrong, n_right, n_wrong, roc_auc):
        self.bin_edges = bin_edges
        self.right = right
        self.wrong = wrong
        self.n_right = n_right
        self.n_wrong = n_wrong
        self.roc_auc = roc_auc

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, sample_weight=None, bins=25, name=None, threshold=None, ax=None
    ):
        """Show the error probability of an estimator on one test set.

        Parameters
        ----------
        estimator : fitted classifier
            A `MetaErrorClassifier` or a `SelectiveClassifier`; of any classifier with
            ``predict_proba`` or ``decision_function``, 1 - max probability is shown.

        X : array-like of length n_samples
            Rows that the classifier was not trained on.

        y : array-like of shape (n_samples,)
            True labels.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None means once.

        bins : int or sequence of float, default=25
            Number of bins, or their limits.

        name : str, default=None
            What is shown, as title of the legend; None names the way to rank.

        threshold : float, default=None
            Where to draw a vertical line, for example above which samples go to review.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ErrorDistributionDisplay
        """
        _import_pyplot(f"{cls.__name__}.from_estimator")
        seen = observe_errors(estimator, X, y, with_proba=False)
        if name is None:
            name = "meta-model" if seen.has_meta_model else "1 - max probability"
        return cls.from_predictions(
            seen.is_error,
            seen.error_proba,
            sample_weight=sample_weight,
            bins=bins,
            name=name,
            threshold=threshold,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        is_error,
        error_proba,
        *,
        sample_weight=None,
        bins=25,
        name=None,
        threshold=None,
        ax=None,
    ):
        """Show any error probability or score.

        Parameters
        ----------
        is_error : array-like of bool, shape (n_samples,)
            True where the classifier is wrong.

        error_proba : array-like of float, shape (n_samples,)
            Higher means more likely wrong. Bins run from 0 to 1 where it lies in [0, 1], else from
            its least to its largest value.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None means once.

        bins : int or sequence of float, default=25
            Number of bins, or their limits.

        name : str, default=None
            What is shown, as title of the legend.

        threshold : float, default=None
            Where to draw a vertical line, for example above which samples go to review.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ErrorDistributionDisplay
        """
        _import_pyplot(f"{cls.__name__}.from_predictions")
        roc_auc = error_roc_auc(is_error, error_proba, sample_weight=sample_weight)
        is_error = column_or_1d(is_error).astype(bool)
        error_proba = column_or_1d(error_proba).astype(float)
        weight = np.ones(len(is_error)) if sample_weight is None else column_or_1d(sample_weight)
        is_probability = error_proba.min() >= 0 and error_proba.max() <= 1
        finite = error_proba[np.isfinite(error_proba)]
        edges = np.histogram_bin_edges(finite, bins, (0, 1) if is_probability else None)
        # Infinite scores are in the first and the last bin.
        if len(finite):
            error_proba = np.clip(error_proba, finite.min(), finite.max())

        def shares(group):
            counts, _ = np.histogram(error_proba[group], edges, weights=weight[group])
            return counts / max(counts.sum(), np.finfo(float).tiny)

        display = cls(
            bin_edges=edges,
            right=shares(~is_error),
            wrong=shares(is_error),
            n_right=int((~is_error).sum()),
            n_wrong=int(is_error.sum()),
            roc_auc=roc_auc,
        )
        return display.plot(ax, name=name, threshold=threshold)

    def plot(self, ax=None, *, name=None, threshold=None):
        """Draw the two histograms.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        name : str, default=None
            What is shown, as title of the legend.

        threshold : float, default=None
            Where to draw a vertical line.

        Returns
        -------
        display : ErrorDistributionDisplay
        """
        from matplotlib.ticker import PercentFormatter

        ax = self.ax_ = _axes(ax, f"{type(self).__name__}.plot")
        self.figure_ = ax.figure
        self.right_ = ax.stairs(
            self.right,
            self.bin_edges,
            fill=True,
            facecolor=_BLUE + "70",
            edgecolor=_BLUE,
            linewidth=1.4,
            label=f"right (n = {self.n_right:,})",
        )
        self.wrong_ = ax.stairs(
            self.wrong,
            self.bin_edges,
            fill=True,
            facecolor=_VERMILION + "70",
            edgecolor=_VERMILION,
            linewidth=1.4,
            hatch="///",
            label=f"wrong (n = {self.n_wrong:,})",
        )
        if threshold is not None:
            ax.axvline(
                threshold,
                color="0.3",
                linewidth=1,
                linestyle="--",
                label=f"threshold {threshold:.3g}",
            )
        is_probability = self.bin_edges[0] >= 0 and self.bin_edges[-1] <= 1
        ax.set(
            xlabel=f"Predicted {'probability of being wrong' if is_probability else 'error score'}",
            ylabel="Share of the group",
            xlim=(self.bin_edges[0], self.bin_edges[-1]),
            ylim=(0, None),
        )
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        _quiet(ax)
        title = [] if name is None else [name]
        if not np.isnan(self.roc_auc):
            title.append(f"AUROC {self.roc_auc:.3f}")
        ax.legend(loc="best", frameon=False, title=", ".join(title) or None, alignment="left")
        return self


class ErrorGalleryDisplay:
    """Contact sheet of the images that are most likely misclassified.

    Build it with `from_estimator` or `from_predictions`. Look before you read: wrong labels,
    doubtful images and blind spots of the classifier are often seen at a glance.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width) or (n_images, height, width, n_channels)
        What to show, the most doubtful first; grey, or red, green and blue in [0, 1] or uint8.

    labels : ndarray of shape (n_images,)
        Predicted labels.

    error_proba : ndarray of shape (n_images,)
        Predicted probability that the label is wrong.

    indices : ndarray of shape (n_images,)
        Position of each image among the samples.

    y_true : ndarray of shape (n_images,), default=None
        True labels, where they are known.

    value_range : tuple of (float, float), default=None
        Values shown as black and white in grey images; None takes those of `images`.

    Attributes
    ----------
    axes_ : ndarray of Axes, shape (n_images,)
        One for each image, inside `ax_`.

    ax_ : matplotlib Axes
        Axes with the sheet.

    figure_ : matplotlib Figure
        Figure with the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from metaerr_sklearn.plotting import ErrorGalleryDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> base = GaussianNB(var_smoothing=0.1).fit(X[:900], y[:900])
    >>> display = ErrorGalleryDisplay.from_estimator(base, X[900:], image_shape=(8, 8), n_images=6)
    >>> display.images.shape
    (6, 8, 8)
    """

    def __init__(self, *, images, labels, error_proba, indices, y_true=None, value_range=None):
        self.images = images
        self.labels = labels
        self.error_proba = error_proba
        self.indices = indices
        self.y_true = y_true
        self.value_range = value_range

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        images=None,
        image_shape=None,
        n_images=20,
        n_columns=None,
        cmap="gray",
        ax=None,
    ):
        """Show the samples that an estimator is most likely wrong about.

        Parameters
        ----------
        estimator : fitted classifier
            A `MetaErrorClassifier` or a `SelectiveClassifier`; of any classifier with
            ``predict_proba`` or ``decision_function``, 1 - max probability decides.

        X : array-like of length n_samples
            Rows to predict.

        y : array-like of shape (n_samples,), default=None
            True labels, where they are known.

        images : array-like of length n_samples, default=None
            What to show, if it is not X itself: for example the images before normalization.

        image_shape : tuple of int, default=None
            Shape of one image, ``(height, width)``, ``(n_channels, height, width)`` or ``(height,
            width, n_channels)``, where the images are rows of numbers.

        n_images : int, default=20
            How many to show.

        n_columns : int, default=None
            How many side by side; None makes the sheet a little wider than high.

        cmap : str or Colormap, default="gray"
            Colours of images with one channel.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ErrorGalleryDisplay
        """
        _import_pyplot(f"{cls.__name__}.from_estimator")
        images = _as_images(X if images is None else images, image_shape)
        seen = observe_errors(estimator, X, with_proba=False)
        return cls.from_predictions(
            images,
            seen.labels,
            seen.error_proba,
            y_true=y,
            n_images=n_images,
            n_columns=n_columns,
            cmap=cmap,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        images,
        y_pred,
        error_proba,
        *,
        y_true=None,
        image_shape=None,
        n_images=20,
        n_columns=None,
        cmap="gray",
        ax=None,
    ):
        """Show the samples with the highest error probability.

        Parameters
        ----------
        images : array-like of length n_samples
            Of shape (n_samples, height, width), (n_samples, n_channels, height, width) or
            (n_samples, height, width, n_channels) with 1, 3 or 4 channels, numbers of any range or
            uint8; or rows of numbers, with `image_shape`. Colour images outside [0, 1] are scaled
            by the least and largest value of all.

        y_pred : array-like of shape (n_samples,)
            Predicted labels.

        error_proba : array-like of float, shape (n_samples,)
            Probability that the label is wrong.

        y_true : array-like of shape (n_samples,), default=None
            True labels, where they are known.

        image_shape : tuple of int, default=None
            Shape of one image where the images are rows of numbers.

        n_images : int, default=20
            How many to show.

        n_columns : int, default=None
            How many side by side; None makes the sheet a little wider than high.

        cmap : str or Colormap, default="gray"
            Colours of images with one channel.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ErrorGalleryDisplay

        Raises
        ------
        ValueError
            If the images are no images, or lengths differ.
        """
        _import_pyplot(f"{cls.__name__}.from_predictions")
        images = _as_images(images, image_shape)
        y_pred, error_proba = column_or_1d(y_pred), column_or_1d(error_proba).astype(float)
        y_true = None if y_true is None else column_or_1d(y_true)
        check_consistent_length(images, y_pred, error_proba, y_true)
        most_doubtful = np.argsort(-error_proba, kind="stable")[:n_images]
        low, high = _finite_range(images)
        shown = images[most_doubtful]
        is_colour = images.ndim == 4
        if is_colour and images.dtype != np.uint8:
            shown = shown.astype(np.result_type(shown, np.float32))
            if low < 0 or high > 1:
                shown = (shown - low) / max(high - low, np.finfo(np.float32).tiny)
        display = cls(
            images=shown,
            labels=y_pred[most_doubtful],
            error_proba=error_proba[most_doubtful],
            indices=most_doubtful,
            y_true=None if y_true is None else y_true[most_doubtful],
            value_range=None if is_colour else (low, high),
        )
        return display.plot(ax, n_columns=n_columns, cmap=cmap)

    def plot(self, ax=None, *, n_columns=None, cmap="gray"):
        """Draw the contact sheet.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        n_columns : int, default=None
            How many images side by side; None makes the sheet a little wider than high.

        cmap : str or Colormap, default="gray"
            Colours of images with one channel.

        Returns
        -------
        display : ErrorGalleryDisplay
        """
        n_images = len(self.images)
        if n_columns is None:
            n_columns = max(1, min(n_images, int(np.ceil(np.sqrt(1.25 * n_images)))))
        n_rows = max(1, -(-n_images // n_columns))
        n_lines = 1 if self.y_true is None else 2
        cell = 1.15, 1.15 + 0.17 * n_lines
        ax = self.ax_ = _axes(
            ax,
            f"{type(self).__name__}.plot",
            figsize=(cell[0] * n_columns + 0.3, cell[1] * n_rows + 0.3),
        )
        self.figure_ = ax.figure
        ax.set_axis_off()
        title = "Predicted label, and its probability of being wrong"
        ax.set_title(title, fontsize=9, color=_GREY, loc="left")
        low, high = self.value_range or (None, None)
        self.axes_ = np.empty(n_images, dtype=object)
        for i in range(n_images):
            row, column = divmod(i, n_columns)
            share = cell[0] / cell[1]
            box = (
                (column + 0.05) / n_columns,
                1 - (row + 0.98) / n_rows,
                0.9 / n_columns,
                0.94 * share / n_rows,
            )
            small = self.axes_[i] = ax.inset_axes(box)
            small.imshow(self.images[i], cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
            small.set(xticks=[], yticks=[])
            self._caption(small, i)
        return self

    def _caption(self, ax, i):
        probability = self.error_proba[i]
        percent = ">99%" if 0.995 <= probability < 1 else f"{probability:.0%}"
        text, color = f"{self.labels[i]}  {percent}", "black"
        if self.y_true is not None:
            is_wrong = self.labels[i] != self.y_true[i]
            text += f"\ntrue: {self.y_true[i]}" if is_wrong else "\nright"
            color = _VERMILION if is_wrong else _BLUE
        ax.set_title(text, fontsize=8, color=color, pad=3, linespacing=1.1)
        ax.spines[:].set(color="0.7" if self.y_true is None else color, linewidth=1.2)


def _operating_point(is_error, accepted, sample_weight):
    """Return coverage and selective risk, or None if there are none."""
    if accepted is None:
        return None
    accepted = column_or_1d(accepted).astype(bool)
    check_consistent_length(is_error, accepted)
    weight = np.ones(len(accepted)) if sample_weight is None else column_or_1d(sample_weight)
    if not weight[accepted].any():
        return None
    coverage = np.average(accepted, weights=weight)
    risk = np.average(column_or_1d(is_error)[accepted], weights=weight[accepted])
    return float(coverage), float(risk)


def _finite_range(images):
    """Return the least and the largest number."""
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        images = images[np.isfinite(images)]
    return (float(images.min()), float(images.max())) if images.size else (0.0, 1.0)


def _import_pyplot(caller):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib, which is not installed. Install it with "
            "`pip install matplotlib`, or this package with its extra `plot`."
        ) from error
    return plt


def _axes(ax, caller, figsize=None):
    plt = _import_pyplot(caller)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def _quiet(ax):
    """Leave the data the darkest thing in the picture."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)


def _as_images(images, image_shape=None):
    """Return images as (n_samples, height, width) or (n_samples, height, width, n_channels)."""
    images = np.asarray(as_array(indexable(images)[0]))
    if image_shape is not None:
        if images[:1].size != np.prod(image_shape):
            raise ValueError(
                f"image_shape={image_shape} has {np.prod(image_shape)} numbers, but each sample "
                f"has {images[:1].size}. Give the height and width of one image."
            )
        images = images.reshape(len(images), *image_shape)
    if images.ndim == 3:
        return images
    if images.ndim == 4:
        if images.shape[-1] not in (1, 3, 4) and images.shape[1] in (1, 3, 4):
            images = np.moveaxis(images, 1, -1)
        if images.shape[-1] == 1:
            return images[..., 0]
        if images.shape[-1] in (3, 4):
            return images
    raise ValueError(
        "images must have shape (n_samples, height, width), (n_samples, n_channels, height, width) "
        f"or (n_samples, height, width, n_channels) with 1, 3 or 4 channels, got {images.shape}. "
        "For rows of numbers give image_shape=, such as (28, 28)."
    )
