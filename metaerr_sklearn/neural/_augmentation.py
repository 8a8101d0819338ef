"""Meta-features from a net's predictions for augmented images."""

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch
from sklearn.base import BaseEstimator
from skorch import NeuralNet
from skorch.dataset import unpack_data
from skorch.utils import to_device, to_tensor

from .._compat import safe_indexing
from .._utils import limits
from .._utils.failures import noted
from .._utils.images import spatial_axes
from .._utils.indexable import indexable
from .._utils.parameter_checks import check_not_a_module
from .._utils.probabilities import vote_and_deviations
from .._utils.rows import as_array, row_chunks
from ._as_net_input import as_net_input, as_pipeline_input
from ._net import NET_LOCK, net_at_end, preserved_rng, unfrozen
from ._views import MIRROR, SHIFTS, STRONG


class AugmentedConfidence(BaseEstimator):
    """Describe each prediction by the net's predictions for altered views of the sample.

    Pass an instance in ``meta_features=`` of `MetaErrorClassifier` if the base classifier is a
    skorch net on images, or a Pipeline that ends in one. ``meta_features="images"`` includes an
    instance. The default for nets on images includes one too, for a quarter of the rows. A
    prediction that changes when the image is shifted by one pixel is more often wrong (test-time
    augmentation [1]_, [2]_). The features of a training sample come from a net that was not trained
    on this sample. Each view costs one more forward pass, and the sample itself another one.

    Parameters
    ----------
    views : {"geometric", "shifts"} or callable, default="geometric"
        The views of images. "shifts" are shifts by one pixel up, down, left and right. "geometric"
        adds shifts by two pixels in both directions, rotations by 8 degrees, and magnifications by
        1.12 and 0.89: ten views in all. Images have the shape (n_samples, n_channels, height,
        width) or (n_samples, height, width, n_channels) with 1 to 4 channels or equal height and
        width, or (n_samples, height, width) with equal height and width. A callable gives views of
        any X: ``views(X)`` returns or yields altered versions of X, each with the rows of X in the
        same order.

    flip : bool, default=False
        Whether to add the mirrored image as one more view. Not used with a callable. Suitable for
        photographs, but not for digits, letters or traffic signs.

    Attributes
    ----------
    votes : bool
        True: the first column of `observe` is the log-odds that the prediction is right.

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
    (60, 3)
    """

    votes = True

    def __init__(self, views="geometric", *, flip=False):
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
            If `flip` is no bool, or if `views` is not a callable and X does not hold images, or the
            axes of height and width are not clear.
        """
        check_not_a_module(estimator)
        if not isinstance(self.flip, (bool, np.bool_)):
            raise ValueError(
                f"flip must be True or False, got {self.flip!r}. It mirrors left and right; for "
                "other views pass views=, a function that returns altered versions of X."
            )
        try:
            net_at_end(estimator)
        except TypeError as error:
            raise TypeError(
                'AugmentedConfidence, a part of meta_features="images", needs a net that '
                "classifies images: a skorch net, or a Pipeline or search that ends in one, got "
                f'{type(estimator).__name__}. For another base pass meta_features="auto".'
            ) from error
        if not callable(self.views):
            self._named_views()
            _check_is_one_input(X)
            _check_images(_as_images(safe_indexing(X, [0])))

    def observe(self, estimator, X):
        """Compute the features of the net's predictions on X.

        Parameters
        ----------
        estimator : fitted skorch net, Pipeline that ends in one, or FrozenEstimator
            The net whose predictions are described. Views of X pass through the whole Pipeline.

        X : array of shape (n_samples, ...), tensor, Dataset or SliceDataset
            Samples. Unless `views` is a callable, they must be images.

        Returns
        -------
        features : ndarray of float64, shape (n_samples, 1 + n_views)
            All features concern the class that the net predicts for the unaltered sample. The first
            is the log-odds of its mean probability over the sample, its shifts by one pixel and its
            mirror image, or over the sample and all views of a callable. The others are the
            log-odds of its probability in each view, minus those in the sample. Higher means more
            trusted.

        Raises
        ------
        TypeError
            If `estimator` is neither a skorch net nor ends in one.
        ValueError
            If `views` is not a callable and X does not hold images, if it returns no list of
            views, or if a view and X differ in their number of rows.
        """
        (X,) = indexable(X)
        self.check_base(estimator, X)
        net = net_at_end(estimator)
        net.check_is_fitted()
        step = 'predicting altered views of the rows; meta_features="one_pass" makes no views'
        with noted(step), NET_LOCK, preserved_rng(0, device=net.device):
            chunks = row_chunks(X, max_rows=limits.ERROR_MODEL_CHUNK)
            parts = [self._describe(estimator, part) for _, part in chunks]
        return np.concatenate(parts or [self._describe(estimator, X)])

    def get_feature_names_out(self, input_features=None):
        """Name the columns of `observe`.

        Parameters
        ----------
        input_features : Ignored
            Present for the API.

        Returns
        -------
        names : ndarray of str, shape (1 + n_views,)
            Empty if `views` is a callable, because the number of its views is not known.
        """
        if callable(self.views):
            return np.array([], dtype=object)
        names = ["mean probability over the views", *(view.name for view in self._named_views())]
        return np.array(names, dtype=object)

    def _named_views(self):
        """Return the views of images; those that vote come first."""
        if not isinstance(self.views, str) or self.views not in ("geometric", "shifts"):
            raise ValueError(
                f'views must be "geometric", "shifts" or a callable, got {self.views!r}. For views '
                "of your own pass a function that returns altered versions of X."
            )
        return self._voting_views() + (STRONG if self.views == "geometric" else ())

    def _voting_views(self):
        return SHIFTS + ((MIRROR,) if self.flip else ())

    def _describe(self, estimator, X):
        own, *views = self._predict_views(estimator, X)
        # The probabilities for strongly altered images are lower. They show which image is hard,
        # but a mean over them is worse than a mean over slightly altered images.
        n_voting = len(views) if callable(self.views) else len(self._voting_views())
        return vote_and_deviations(own, views, own.argmax(axis=1), n_voting)

    def _predict_views(self, estimator, X):
        """Return the probabilities of X and of each view."""
        inner = unfrozen(estimator)
        is_net = isinstance(inner, NeuralNet)
        if callable(self.views):
            # A function may alter its argument; X stays as it is.
            is_array = isinstance(X, (np.ndarray, torch.Tensor))
            views = self.views(deepcopy(X) if is_array else X)
            _check_are_views(views, X)
        elif is_net and type(inner).forward_iter is NeuralNet.forward_iter:
            return _predict_views_in_batches(inner, as_net_input(X), self._named_views())
        else:
            images = torch.from_numpy(np.require(_as_images(X), requirements=["C", "W"]))
            views = (view(images).numpy() for view in self._named_views())
        as_input = as_net_input if is_net else as_pipeline_input
        probas = [inner.predict_proba(as_input(X))]
        for view in views:
            proba = inner.predict_proba(as_input(view))
            if len(proba) != len(probas[0]):
                raise ValueError(
                    f"Each view must have one row for each of the {len(probas[0])} rows of X, got "
                    f"a view of {len(proba)} rows. Alter rows in views(X), but do not add or drop "
                    "any."
                )
            probas.append(proba)
        return [np.asarray(proba, dtype=np.float64) for proba in probas]


def _check_are_views(views, X):
    """Raise if a function returned one altered version of X in place of a list of them."""
    shape = getattr(views, "shape", None)
    if shape is not None and tuple(shape) == tuple(getattr(X, "shape", ())):
        raise ValueError(
            f"views(X) returned an array of the shape {tuple(shape)} of X. It must return a list "
            "of altered versions of X: return [altered]."
        )
    if isinstance(views, (list, tuple)) and not views:
        raise ValueError("views(X) returned no view. It must return altered versions of X.")


def _predict_views_in_batches(net, X, views):
    """Return the probabilities of X and of each view.

    The views are made on the device of the net, so that each batch is read and moved there once.
    """
    sizes = []

    def forward_iter(X, training=False, device="cpu"):
        for batch in net.get_iterator(net.get_dataset(X), training=training):
            images, y = unpack_data(batch)
            images = to_tensor(images, device=net.device)
            _check_images(images)
            sizes.append(len(images))
            for altered in (images, *(view(images) for view in views)):
                output = net.evaluation_step((altered, y), training=training)
                yield to_device(output, device=device)

    # A copy of a skorch net is made by a pickle, which would duplicate the weights.
    viewing = object.__new__(type(net))
    vars(viewing).update(vars(net), forward_iter=forward_iter)
    proba, n_passes = viewing.predict_proba(X), 1 + len(views)
    outputs = np.split(proba, np.cumsum(np.repeat(sizes, n_passes))[:-1])
    return [
        np.concatenate(outputs[number::n_passes], dtype=np.float64) for number in range(n_passes)
    ]


def _as_images(X):
    return np.asarray(as_array(X))


def _check_is_one_input(X):
    """Raise if X is a dict of inputs: the views of images alter one array."""
    if isinstance(X, Mapping):
        raise ValueError(
            f"X is a dict of the inputs {', '.join(map(repr, X))}, so that height and width are "
            "not clear: the views of images alter one array. Pass AugmentedConfidence(views=...) "
            "in meta_features=, with a function that returns altered versions of X, for example "
            "views=lambda X: [{**X, 'image': np.roll(X['image'], shift, axis=3)} for shift in "
            "(-1, 1)]. To use no views, pass "
            'meta_features="one_pass".'
        )


def _check_images(images):
    """Raise if height and width of a batch of images are not clear."""
    shape = tuple(getattr(images, "shape", ()))
    if spatial_axes(shape) is None:
        raise ValueError(
            "AugmentedConfidence alters images of shape (n_samples, n_channels, height, width) or "
            "(n_samples, height, width, n_channels) with 1 to 4 channels, or squares of shape "
            f"(n_samples, height, width), got {len(shape)} axes in the shape (n_samples"
            f"{''.join(f', {length}' for length in shape[1:])}): height and width are not clear. "
            "Give grey images an axis for one channel, X[:, None]. For other samples pass views=, "
            "a function that returns altered versions of X, for example "
            "views=lambda X: [np.roll(X, shift, axis=2) for shift in (-1, 1)]."
        )
