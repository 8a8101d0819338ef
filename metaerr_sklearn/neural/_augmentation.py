"""Describe predictions by those for augmented images."""

import numpy as np
from scipy.special import logit
from sklearn.base import BaseEstimator

from .._compat import safe_indexing
from .._utils.rows import as_array
from ._inputs import as_net_input
from ._net import NET_LOCK, as_fitted_net, as_net, preserved_rng


class AugmentedConfidence(BaseEstimator):
    """Describe each prediction by what the net says of altered views of the sample.

    An object for ``meta_features=`` of `MetaErrorClassifier` over a skorch net on images: a
    prediction that a shift of one pixel changes is more often wrong (test-time augmentation [1]_,
    [2]_). Each training sample is shown to the net that has not trained on it. Each view costs one
    more pass of the net.

    Parameters
    ----------
    views : callable, default=None
        ``views(X)`` returns or yields altered copies of X, as many rows in the same order. None
        takes images of shape (n_samples, channels, height, width) and shifts them by one pixel
        up, down, left and right.

    flip : bool, default=False
        Whether the mirrored image is one more view, with ``views=None``. Right for photographs,
        wrong for digits.

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
        """Say what is wrong with base and samples before anything is fitted.

        Parameters
        ----------
        estimator : estimator
            The base, fitted or not.

        X : any
            Samples.

        Raises
        ------
        TypeError
            If the base is not a skorch net.
        ValueError
            If ``views=None`` and X are not images.
        """
        as_net(estimator)
        n_axes = np.ndim(as_array(safe_indexing(X, [0])))
        if self.views is None and n_axes != 4:
            raise ValueError(
                "AugmentedConfidence shifts images of shape (n_samples, channels, height, width), "
                f"got X of type {type(X).__name__} with {n_axes} axes. Pass views=, a function "
                "that returns altered copies of X."
            )

    def observe(self, estimator, X):
        """Describe the net's predictions on X.

        Parameters
        ----------
        estimator : fitted skorch net, or FrozenEstimator of one
            Whose predictions are described.

        X : array of shape (n_samples, ...)
            Samples; images for the views of ``views=None``.

        Returns
        -------
        features : ndarray of float64, shape (n_samples, 5)
            Of the class that the net predicts for the sample itself, over the sample and its views:
            mean, least and standard deviation of the log-odds, log-odds of the mean probability
            (higher = more trusted; the deviation the other way), and the share that predict this
            class, in (0, 1].

        Raises
        ------
        TypeError
            If `estimator` is not a skorch net.
        ValueError
            If ``views=None`` and X are not images, or a view has not as many rows as X.
        """
        self.check_base(estimator, X)
        net = as_fitted_net(estimator)
        with NET_LOCK, preserved_rng(0, device=net.device):
            own = net.predict_proba(as_net_input(X))
            pred_encoded, rows = own.argmax(axis=1), np.arange(len(own))
            probas, agreement = [own[rows, pred_encoded]], np.ones(len(own))
            for view in self._shifted(X) if self.views is None else self.views(X):
                other = net.predict_proba(as_net_input(view))
                if len(other) != len(own):
                    raise ValueError(
                        f"views(X) must return copies of X with its {len(own)} rows, got a view of "
                        f"{len(other)} rows."
                    )
                probas.append(other[rows, pred_encoded])
                agreement += other.argmax(axis=1) == pred_encoded
        probas = np.stack(probas).astype(np.float64)
        logits = _clipped_logit(probas)
        return np.column_stack(
            [
                logits.mean(axis=0),
                logits.min(axis=0),
                logits.std(axis=0),
                _clipped_logit(probas.mean(axis=0)),
                agreement / len(probas),
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


def _clipped_logit(proba):
    return logit(np.clip(proba, 1e-6, 1 - 1e-6))
