"""Show the images that are most likely misclassified."""

from collections.abc import Mapping

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from .._utils.images import spatial_axes
from .._utils.in_memory import check_in_memory
from .._utils.indexable import indexable
from .._utils.labels import as_numpy, read_labels
from .._utils.rows import as_array
from ..metrics._compared_predictions import predict_and_compare
from ._style import BLUE, GREY, VERMILION, import_pyplot, make_axes


class ErrorGalleryDisplay:
    """Gallery of the images that are most likely misclassified.

    Create it with `from_estimator` or `from_predictions`. A gallery often shows wrong labels,
    ambiguous images and systematic errors of the classifier.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width) or (n_images, height, width, n_channels)
        Images to show, the highest error probability first: grey images, or colour images in
        [0, 1] or uint8.

    labels : ndarray of shape (n_images,)
        Predicted labels.

    error_proba : ndarray of shape (n_images,)
        Predicted probability that the label is wrong.

    indices : ndarray of shape (n_images,)
        Position of each image among the samples.

    y_true : ndarray of shape (n_images,), default=None
        True labels; None if they are not known.

    value_range : tuple of (float, float), default=None
        Values that are shown as black and as white in grey images; None takes the range of each
        image.

    Attributes
    ----------
    axes_ : ndarray of Axes, shape (n_images,)
        The axes of the images, inside `ax_`.

    ax_ : matplotlib Axes
        Axes with the gallery.

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
        """Show the samples on which an estimator is most likely wrong.

        Parameters
        ----------
        estimator : fitted classifier
            A `MetaErrorClassifier`, a `SelectiveClassifier`, or any classifier with
            ``predict_proba`` or ``decision_function``, whose samples are ranked by 1 - max
            probability.

        X : array-like of length n_samples
            Rows to predict.

        y : array-like of shape (n_samples,), default=None
            True labels; None if they are not known.

        images : array-like of length n_samples, default=None
            Images to show instead of X, for example the images before normalization.

        image_shape : tuple of int, default=None
            Shape of one image if the images are rows of numbers: ``(height, width)``,
            ``(n_channels, height, width)`` or ``(height, width, n_channels)``.

        n_images : int, default=20
            Number of images to show.

        n_columns : int, default=None
            Number of images in a row; None makes the gallery a little wider than high.

        cmap : str or Colormap, default="gray"
            Colour map of images with one channel.

        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : ErrorGalleryDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If the estimator has no score of confidence.
        ValueError
            If X or `images` does not have the shape of images, or lengths differ.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        images = _as_images(X if images is None else images, image_shape)
        predictions = predict_and_compare(estimator, X, None, with_proba=False, needs_labels=False)
        return cls.from_predictions(
            images,
            predictions.labels,
            predictions.error_proba,
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
            Images of shape (n_samples, height, width), (n_samples, n_channels, height, width) or
            (n_samples, height, width, n_channels) with 1, 3 or 4 channels, of any numeric type; or
            rows of numbers, with `image_shape`. Colour images with values outside [0, 1] are scaled
            by the minimum and maximum of all images.

        y_pred : array-like of shape (n_samples,)
            Predicted labels.

        error_proba : array-like of float, shape (n_samples,)
            Probability that the label is wrong.

        y_true : array-like of shape (n_samples,), default=None
            True labels; None if they are not known.

        image_shape : tuple of int, default=None
            Shape of one image if the images are rows of numbers.

        n_images : int, default=20
            Number of images to show.

        n_columns : int, default=None
            Number of images in a row; None makes the gallery a little wider than high.

        cmap : str or Colormap, default="gray"
            Colour map of images with one channel.

        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : ErrorGalleryDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `images` does not have the shape of images, or lengths differ.
        """
        import_pyplot(f"{cls.__name__}.from_predictions")
        images = _as_images(images, image_shape)
        check_in_memory(error_proba, "error_proba")
        y_pred = read_labels(y_pred, name="y_pred")
        error_proba = column_or_1d(as_numpy(error_proba)).astype(float)
        y_true = None if y_true is None else read_labels(y_true, name="y_true")
        check_consistent_length(images, y_pred, error_proba, y_true)
        top = np.argsort(-error_proba, kind="stable")[:n_images]
        low, high = _finite_range(images)
        shown = images[top]
        is_colour = images.ndim == 4
        if is_colour and images.dtype != np.uint8:
            shown = shown.astype(np.result_type(shown, np.float32))
            if low < 0 or high > 1:
                shown = (shown - low) / max(high - low, np.finfo(np.float32).tiny)
        display = cls(
            images=shown,
            labels=y_pred[top],
            error_proba=error_proba[top],
            indices=top,
            y_true=None if y_true is None else y_true[top],
            value_range=None if is_colour else (low, high),
        )
        return display.plot(ax, n_columns=n_columns, cmap=cmap)

    def plot(self, ax=None, *, n_columns=None, cmap="gray"):
        """Draw the gallery.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        n_columns : int, default=None
            Number of images in a row; None makes the gallery a little wider than high.

        cmap : str or Colormap, default="gray"
            Colour map of images with one channel.

        Returns
        -------
        display : ErrorGalleryDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_images = len(self.images)
        if n_columns is None:
            n_columns = max(1, min(n_images, int(np.ceil(np.sqrt(1.25 * n_images)))))
        n_rows = max(1, -(-n_images // n_columns))
        n_lines = 1 if self.y_true is None else 2
        cell = 1.15, 1.15 + 0.17 * n_lines
        ax = self.ax_ = make_axes(
            ax,
            f"{type(self).__name__}.plot",
            figsize=(cell[0] * n_columns + 0.3, cell[1] * n_rows + 0.3),
        )
        self.figure_ = ax.figure
        ax.set_axis_off()
        title = "Predicted label, and its probability of being wrong"
        ax.set_title(title, fontsize=9, color=GREY, loc="left")
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
        """Write label and error probability above an image; colour shows whether it is right."""
        probability = self.error_proba[i]
        percent = ">99%" if 0.995 <= probability < 1 else f"{probability:.0%}"
        text, color = f"{self.labels[i]}  {percent}", "black"
        if self.y_true is not None:
            is_wrong = self.labels[i] != self.y_true[i]
            text += f"\ntrue: {self.y_true[i]}" if is_wrong else "\nright"
            color = VERMILION if is_wrong else BLUE
        ax.set_title(text, fontsize=8, color=color, pad=3, linespacing=1.1)
        ax.spines[:].set(color="0.7" if self.y_true is None else color, linewidth=1.2)


def _finite_range(images):
    """Return the minimum and the maximum of the finite numbers."""
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        images = images[np.isfinite(images)]
    return (float(images.min()), float(images.max())) if images.size else (0.0, 1.0)


def _as_images(images, image_shape=None):
    """Return images as (n_samples, height, width) or (n_samples, height, width, n_channels)."""
    (images,) = indexable(images)
    if isinstance(images, Mapping):
        names = list(images)
        raise ValueError(
            f"X has the inputs {', '.join(map(repr, names))} of a net. Pass the pictures that are "
            f"to be drawn, for example images=X[{names[0]!r}]."
        )
    try:
        images = np.asarray(as_array(images))
    except ValueError as error:
        raise ValueError(
            f"images must be pictures of one size: {error} Resize or pad them to one shape."
        ) from error
    if image_shape is not None:
        if images[:1].size != np.prod(image_shape):
            raise ValueError(
                f"image_shape={image_shape} has {np.prod(image_shape)} numbers, but each sample "
                f"has {images[:1].size}. Pass the height and width of one image."
            )
        images = images.reshape(len(images), *image_shape)
    if images.ndim == 3:
        return images
    if images.ndim == 4:
        axes = spatial_axes(images.shape)
        if axes == (2, 3) or (axes is None and images.shape[-1] not in (1, 3, 4)):
            images = np.moveaxis(images, 1, -1)
        if images.shape[-1] == 1:
            return images[..., 0]
        if images.shape[-1] in (3, 4):
            return images
    raise ValueError(
        "images must have shape (n_samples, height, width), (n_samples, n_channels, height, width) "
        f"or (n_samples, height, width, n_channels) with 1, 3 or 4 channels, got {images.shape}. "
        "For rows of numbers pass image_shape=, for example (28, 28)."
    )
