"""Plot the error probabilities of right and of wrong predictions."""

import numpy as np
from scipy.special import expit, logit

from ..metrics import error_roc_auc
from ..metrics._checks import check_ranking
from ..metrics._compared_predictions import predict_and_compare
from ._style import BLUE, VERMILION, import_pyplot, make_axes, style_axes

# The least and the greatest probability that bins of equal width in log-odds distinguish.
_LOWEST, _HIGHEST = 1e-4, 1 - 1e-4
_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)


class ErrorDistributionDisplay:
    """Histograms of the error probability, one of the right and one of the wrong samples.

    Create it with `from_estimator` or `from_predictions`. The less the two histograms overlap, the
    better the error probability separates right from wrong samples. Probabilities are drawn in
    log-odds, because most of them are near 0; give the edges of the bins for another axis.

    Parameters
    ----------
    bin_edges : ndarray of shape (n_bins + 1,)
        Edges of the bins on the scale of the error probability. If all are between 0 and 1, without
        these, the axis is in log-odds.

    right, wrong : ndarray of shape (n_bins,)
        Share of the right, and of the wrong, samples in each bin. Each array sums to 1, so that few
        wrong samples remain visible beside many right ones. If a group is empty, its shares are 0.

    n_right, n_wrong : int
        Number of samples in each group.

    roc_auc : float
        Probability that a wrong sample has a higher error probability than a right one; NaN if one
        of the groups is empty.

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
    metaerr_sklearn.metrics.error_roc_auc : Computes the number in the legend.

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
        """Plot the error probabilities that an estimator predicts.

        Parameters
        ----------
        estimator : fitted classifier
            A `MetaErrorClassifier`, a `SelectiveClassifier`, or any classifier with
            ``predict_proba`` or ``decision_function``, whose 1 - max probability is plotted.

        X : array-like of length n_samples
            Rows on which the classifier was not trained.

        y : array-like of shape (n_samples,)
            True labels.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None means once.

        bins : int or sequence of float, default=25
            Number of bins, or their edges. A number of bins for probabilities gives bins of equal
            width in log-odds; ``numpy.linspace(0, 1, 26)`` gives bins of equal width in
            probability. Values beyond the edges are counted in the first or the last bin.

        name : str, default=None
            Title of the legend; None takes "error probability" or "1 - max probability".

        threshold : float, default=None
            Position of a vertical line, for example the value above which samples are reviewed.

        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : ErrorDistributionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If the estimator has no score of confidence.
        ValueError
            If labels are missing or of another type than the predictions, or a weight or bin is
            invalid.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        predictions = predict_and_compare(estimator, X, y, with_proba=False)
        if name is None:
            name = "error probability" if predictions.has_error_proba else "1 - max probability"
        return cls.from_predictions(
            predictions.is_error,
            predictions.error_proba,
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
        """Plot an error probability, or another error score.

        Parameters
        ----------
        is_error : array-like of bool, shape (n_samples,)
            True where the classifier is wrong.

        error_proba : array-like of float, shape (n_samples,)
            Higher means more likely wrong. Values that are all in [0, 1] are shown as
            probabilities. The bins of other scores cover the range of the finite values.

        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None means once.

        bins : int or sequence of float, default=25
            Number of bins, or their edges. A number of bins for probabilities gives bins of equal
            width in log-odds; ``numpy.linspace(0, 1, 26)`` gives bins of equal width in
            probability. Values beyond the edges are counted in the first or the last bin.

        name : str, default=None
            Title of the legend.

        threshold : float, default=None
            Position of a vertical line, for example the value above which samples are reviewed.

        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : ErrorDistributionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If lengths differ, `is_error` is not boolean, `error_proba` is NaN anywhere, or a weight
            or bin is invalid.
        """
        import_pyplot(f"{cls.__name__}.from_predictions")
        roc_auc = error_roc_auc(is_error, error_proba, sample_weight=sample_weight)
        is_error, error_proba, weight = check_ranking(
            is_error, error_proba, sample_weight, drop_zero_weight=False
        )
        if np.ndim(bins) == 0 and error_proba.min() >= 0 and error_proba.max() <= 1:
            low = np.clip(error_proba.min(), _LOWEST, 0.01)
            high = np.clip(error_proba.max(), 0.99, _HIGHEST)
            log_odds = logit(np.clip(error_proba, low, high))
            edges = expit(np.histogram_bin_edges(log_odds, bins, (logit(low), logit(high))))
        else:
            edges = np.histogram_bin_edges(error_proba[np.isfinite(error_proba)], bins)
        error_proba = np.clip(error_proba, edges[0], edges[-1])

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
            Axes to draw on; None creates a new figure.

        name : str, default=None
            Title of the legend.

        threshold : float, default=None
            Position of a vertical line.

        Returns
        -------
        display : ErrorDistributionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from matplotlib.ticker import PercentFormatter

        ax = self.ax_ = make_axes(ax, f"{type(self).__name__}.plot")
        self.figure_ = ax.figure
        self.right_ = ax.stairs(
            self.right,
            self.bin_edges,
            fill=True,
            facecolor=BLUE + "70",
            edgecolor=BLUE,
            linewidth=1.4,
            label=f"right (n = {self.n_right:,})",
        )
        self.wrong_ = ax.stairs(
            self.wrong,
            self.bin_edges,
            fill=True,
            facecolor=VERMILION + "70",
            edgecolor=VERMILION,
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
        low, high = self.bin_edges[0], self.bin_edges[-1]
        word = "probability of being wrong" if low >= 0 and high <= 1 else "error score"
        if low > 0 and high < 1:
            ticks = [tick for tick in _TICKS if low <= tick <= high]
            ax.set_xscale("logit")
            ax.set_xticks(ticks, [f"{100 * tick:.4g}%" for tick in ticks])
            ax.set_xticks([], minor=True)
            word += ", in log-odds"
        elif low == 0 and high == 1:
            ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set(
            xlabel=f"Predicted {word}",
            ylabel="Share of the right (or wrong) samples",
            xlim=(low, high),
            ylim=(0, None),
        )
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        style_axes(ax)
        title = [] if name is None else [str(name)]
        if not np.isnan(self.roc_auc):
            title.append(f"AUROC {self.roc_auc:.3f}")
        ax.legend(
            loc="best",
            framealpha=0.8,
            edgecolor="none",
            title=", ".join(title) or None,
            alignment="left",
        )
        return self
