"""Meta-features from a net's predictions for augmented images."""

import numpy as np
from sklearn.base import BaseEstimator

from .._compat import safe_indexing
from .._utils.probabilities import clipped_logit
from .._utils.rows import as_array
from ._inputs import as_net_input
from ._net import NET_LOCK, as_fitted_net, as_net, preserved_rng

_EPS = 1e-6


class AugmentedConfidence(BaseEstimator):
    """Describe each prediction by the net's predictions for altered views of the sample.

    Pass an instance in ``meta_features=`` of `MetaErrorClassifier` if the base classifier is a
    skorch net on images. A prediction that changes when the image is shifted by one pixel is more
    often wrong (test-time augmentation [1]_, [2]_). The features of a training sample come from a
    net that was not trained on this sample. Each view costs one more forward pass.

    Parameters
    ----------
    views : callable, default=None
        ``views(X)`` returns or yields altered versions of X, each with the rows of X in the same
        order. With None, X must be images of shape (n_samples, channels, height, width), and the
        views are X shifted by one pixel up, down, left and right.

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
            If the base classifier is not a skorch net.
        ValueError
            If ``views=None`` and X does not hold images.
        """
        as_net(estimator)
        n_axes = np.ndim(as_array(safe_indexing(X, [0])))
        if self.views is None and n_axes != 4:
            raise ValueError(
                "AugmentedConfidence shifts images of shape (n_samples, channels, height, width), "
                f"got X of type {type(X).__name__} with {n_axes} axes. Pass views=, a function "
                "that returns altered versions of X."
            )

    def observe(self, estimator, X):
        """Compute the features of the net's predictions on X.

        Parameters
        ----------
        estimator : fitted skorch net, or FrozenEstimator of one
            The net whose predictions are described.

        X : array of shape (n_samples, ...)
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
            If `estimator` is not a skorch net.
        ValueError
            If ``views=None`` and X does not hold images, or if a view and X differ in their number
            of rows.
        """
        self.check_base(estimator, X)
        net = as_fitted_net(estimator)
        with NET_LOCK, preserved_rng(0, device=net.device):
            proba = net.predict_proba(as_net_input(X))
            pred_encoded, rows = proba.argmax(axis=1), np.arange(len(proba))
            proba_pred, n_agreeing = [proba[rows, pred_encoded]], np.ones(len(proba))
            for view in self._shifted(X) if self.views is None else self.views(X):
                view_proba = net.predict_proba(as_net_input(view))
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

    def _shifted(self, X):
        images = np.asarray(as_array(X))
        height, width = images.shape[2:]
        padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
        for top, left in ((0, 1), (2, 1), (1, 0), (1, 2)):
            yield np.ascontiguousarray(padded[:, :, top : top + height, left : left + width])
        if self.flip:
            yield np.ascontiguousarray(images[..., ::-1])
