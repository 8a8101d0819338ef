"""Meta-features from a net's predictions for augmented images."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet

from .._compat import safe_indexing
from .._utils.images import spatial_axes
from .._utils.labels import as_numpy
from .._utils.probabilities import clipped_logit
from .._utils.rows import as_array, indexable
from ._inputs import as_net_input, as_pipeline_input
from ._net import NET_LOCK, net_at_end, preserved_rng

_EPS = 1e-6


class AugmentedConfidence(BaseEstimator):
    """Describe each prediction by the net's predictions for altered views of the sample.

    Pass an instance in ``meta_features=`` of `MetaErrorClassifier` if the base classifier is a
    skorch net on images, or a Pipeline that ends in one. A prediction that changes when the image
    is shifted by one pixel is more often wrong (test-time augmentation [1]_, [2]_). The features of
    a training sample come from a net that was not trained on this sample. Each view costs one more
    forward pass.

    Parameters
    ----------
    views : callable, default=None
        ``views(X)`` returns or yields altered versions of X, each with the rows of X in the same
        order. With None, X must be images, and the views are X shifted by one pixel up, down, left
        and right. Images have the shape (n_samples, n_channels, height, width) or (n_samples,
        height, width, n_channels) with 1 to 4 channels or equal height and width, or (n_samples,
        height, width) with equal height and width.

    flip : bool, default=False
        Whether to add the mirrored image as one more view. Only used with ``views=None``.
        Suitable for photographs, but not for digits.

    References
    ----------
    .. [1] Ayhan, Berens (2018). Test-time Data Augmentation for Estimation of Heteroscedastic
       Aleatoric Uncertainty in Deep Neural Networks, MIDL.
    .. [2] Shanmugam, Blalock, Balakrishnan, Guttag (2021). Better Aggregation in Test-Time
       Augmentation, ICCV.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch import NeuralNetClassifier
    >>> from skorch.toy import make_classifier
    >>> from metaerr_sklearn.neural import AugmentedConfidence
    >>> X = np.random.default_rng(0).normal(size=(60, 20)).astype("float32")
    >>> net = NeuralNetClassifier(make_classifier(hidden_units=8), verbose=0)
    >>> net = net.fit(X, (X[:, 0] > 0).astype("int64"))
    >>> AugmentedConfidence(lambda X: [0.9 * X, 1.1 * X]).observe(net, X).shape
    (60, 5)
    """

    def __init__(self, views=None, *, flip=False):
        self.views = views
        self.flip = flip

    def check_base(self, estimator, X):
        """Check the base classifier and the samples before any fit.

        Parameters
        ----------
        estimator : estimator
            The base classifier, fitted or not.

        X : any
            Samples.

        Raises
        ------
        TypeError
            If the base classifier is neither a skorch net nor ends in one.
        ValueError
            If ``views=None`` and X does not hold images, or the axes of height and width are not
            clear.
        """
        net_at_end(estimator)
        if self.views is None:
            self._spatial_axes(_as_images(safe_indexing(X, [0])))

    def _spatial_axes(self, images):
        axes = spatial_axes(images.shape)
        if axes is None:
            raise ValueError(
                "AugmentedConfidence shifts images of shape (n_samples, n_channels, height, width) "
                "or (n_samples, height, width, n_channels) with 1 to 4 channels, or squares of "
                f"shape (n_samples, height, width), got {images.ndim} axes in the shape (n_samples"
                f"{''.join(f', {length}' for length in images.shape[1:])}): height and width are "
                "not clear. Pass views=, a function that returns altered versions of X, for "
                "example views=lambda X: [np.roll(X, shift, axis=2) for shift in (-1, 1)]."
            )
        return axes

    def observe(self, estimator, X):
        """Compute the features of the net's predictions on X.

        Parameters
        ----------
        estimator : fitted skorch net, Pipeline that ends in one, or FrozenEstimator
            The net whose predictions are described. Views of X pass through the whole Pipeline.

        X : array of shape (n_samples, ...), tensor, Dataset or SliceDataset
            Samples. With ``views=None`` they must be images.

        Returns
        -------
        features : ndarray of float64, shape (n_samples, 5)
            All features concern the class that the net predicts for the unaltered sample. The
            first three are the mean, minimum and standard deviation of this class's log-odds over
            the sample and its views. The fourth is the log-odds of its mean probability, the fifth
            the fraction of the sample and its views that get this class, in (0, 1]. Higher means
            more trusted, except for the standard deviation.

        Raises
        ------
        TypeError
            If `estimator` is neither a skorch net nor ends in one.
        ValueError
            If ``views=None`` and X does not hold images, or if a view and X differ in their number
            of rows.
        """
        (X,) = indexable(X)
        self.check_base(estimator, X)
        net = net_at_end(estimator)
        net.check_is_fitted()
        with NET_LOCK, preserved_rng(0, device=net.device):
            proba = _predict_proba(estimator, X)
            pred_encoded, rows = proba.argmax(axis=1), np.arange(len(proba))
            proba_pred, n_agreeing = [proba[rows, pred_encoded]], np.ones(len(proba))
            for view in self._shifted(X) if self.views is None else self.views(X):
                view_proba = _predict_proba(estimator, view)
                if len(view_proba) != len(proba):
                    raise ValueError(
                        f"Each view must have one row for each of the {len(proba)} rows of X, got "
                        f"a view of {len(view_proba)} rows. Alter rows in views(X), but do not add "
                        "or drop any."
                    )
                proba_pred.append(view_proba[rows, pred_encoded])
                n_agreeing += view_proba.argmax(axis=1) == pred_encoded
        proba_pred = np.stack(proba_pred).astype(np.float64)
        logits = clipped_logit(proba_pred, _EPS)
        return np.column_stack(
            [
                logits.mean(axis=0),
                logits.min(axis=0),
                logits.std(axis=0),
                clipped_logit(proba_pred.mean(axis=0), _EPS),
                n_agreeing / len(proba_pred),
            ]
        )

    def get_feature_names_out(self, input_features=None):
        """Name the columns of `observe`.

        Parameters
        ----------
        input_features : Ignored
            Present for the API.

        Returns
        -------
        names : ndarray of str, shape (5,)
        """
        return np.array(
            [
                "mean log-odds over the views",
                "least log-odds over the views",
                "spread of the log-odds over the views",
                "log-odds of the mean probability over the views",
                "share of views with the same label",
            ],
            dtype=object,
        )

    def _shifted(self, X):
        images = _as_images(X)
        rows, columns = self._spatial_axes(images)
        margin = np.zeros((images.ndim, 2), dtype=int)
        margin[[rows, columns]] = 1
        padded = np.pad(images, margin, mode="edge")
        for top, left in ((0, 1), (2, 1), (1, 0), (1, 2)):
            window = [slice(None)] * images.ndim
            window[rows] = slice(top, top + images.shape[rows])
            window[columns] = slice(left, left + images.shape[columns])
            yield np.ascontiguousarray(padded[tuple(window)])
        if self.flip:
            yield np.ascontiguousarray(np.flip(images, columns))


def _as_images(X):
    return np.asarray(as_numpy(as_array(X)))


def _predict_proba(estimator, X):
    inner = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
    as_input = as_net_input if isinstance(inner, NeuralNet) else as_pipeline_input
    return inner.predict_proba(as_input(X))
