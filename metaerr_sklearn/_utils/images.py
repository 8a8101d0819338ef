"""Find out whether rows are images, and the axes of images."""

import numpy as np

from .rows import is_instance_by_name

# Numbers of channels of common images: grey, grey with opacity, colour, colour with opacity.
_N_CHANNELS = (1, 2, 3, 4)


def spatial_axes(shape):
    """Return the axes of rows and columns of images, as counted from the first axis of a batch.

    Images have the shape (n_samples, height, width), (n_samples, n_channels, height, width) or
    (n_samples, height, width, n_channels). The channels are the axis of length 1 to 4. If this is
    not clear, the two axes of equal length are height and width.

    Parameters
    ----------
    shape : tuple of int
        Shape of a batch of images.

    Returns
    -------
    axes : tuple of int or None
        None if the shape does not decide. Three axes that are no squares may be sequences.
    """
    if len(shape) == 3:
        is_square = shape[1] == shape[2] and shape[1] not in _N_CHANNELS
        return (1, 2) if is_square else None
    if len(shape) != 4:
        return None
    first, last = shape[1] in _N_CHANNELS, shape[3] in _N_CHANNELS
    if first == last:
        first, last = shape[2] == shape[3], shape[1] == shape[2]
    if first == last:
        return None
    return (2, 3) if first else (1, 2)


def holds_images(X):
    """Return whether X is surely a batch of images: an array or tensor of 4 axes and of floats.

    Three axes may be those of sequences, and integers may be positions in an Embedding layer. An
    axis as short as one of channels is no side of an image: rows of shape (channels, 1, length)
    are sequences.

    Parameters
    ----------
    X : any
        Rows.

    Returns
    -------
    holds_images : bool
    """
    if not (isinstance(X, np.ndarray) or is_instance_by_name(X, "torch", "Tensor")):
        return False
    is_float = getattr(X.dtype, "is_floating_point", False) or getattr(X.dtype, "kind", "") == "f"
    axes = spatial_axes(X.shape) if X.ndim == 4 else None
    return is_float and axes is not None and min(X.shape[axis] for axis in axes) > _N_CHANNELS[-1]
