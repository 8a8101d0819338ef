"""Test images unlike the training images: altered by a shift, or of no known class."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from _data import load_images
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from sklearn.datasets import load_digits

# Letters that are easily taken for a digit are left out.
LETTERS = "ACDEFHJKMNPRTUVWXY"
FONTS = (
    *(f"DejaVu{family}" for family in ("Sans", "Sans-Bold", "Serif", "Serif-Bold", "SansMono")),
    *("DejaVuSans-Oblique", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralItalic"),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)


def blur(X, rng):
    return ndimage.gaussian_filter(X, (0, 0, 1.3, 1.3))


def noise(X, rng):
    return np.clip(X + rng.normal(0, 0.15, X.shape), 0, 1)


def contrast(X, rng):
    mean = X.mean(axis=(1, 2, 3), keepdims=True)
    return mean + 0.35 * (X - mean)


def rotation(X, rng):
    return ndimage.rotate(X, 22, axes=(2, 3), reshape=False, order=1, mode="nearest")


SHIFTS = {"blur": blur, "noise": noise, "contrast": contrast, "rotation": rotation}


def shifted_images(name, X, y, seed):
    """Yield (name of the shift, images, labels).

    At lower contrast a net for MNIST is wrong on nearly all images, so this shift is left out. That
    net gets digits of another source in its place.
    """
    for shift, alter in SHIFTS.items():
        if (name, shift) != ("mnist", "contrast"):
            yield shift, alter(X, np.random.default_rng(seed)).astype(np.float32), y
    if name == "mnist":
        yield "other digits", *other_digits()


def other_digits():
    """Return the digits that scikit-learn ships, in the size and the frame of MNIST."""
    X, y = load_digits(return_X_y=True)
    X = ndimage.zoom(X.reshape(-1, 8, 8) / 16, (1, 2.5, 2.5), order=1)
    X = np.pad(X, ((0, 0), (4, 4), (4, 4)))[:, None]
    return np.clip(X, 0, 1).astype(np.float32), y


def foreign_images(name, like, n_images, seed):
    """Yield (name, images) of sets whose images belong to no class of the set `name`.

    Their number of channels and their size are those of the images `like`.
    """
    rng, shape = np.random.default_rng(seed), like.shape[1:]
    yield "letters", _in_shape(letters(n_images, rng), shape)
    yield "random pixels", rng.random((n_images, *shape), dtype=np.float32)
    is_grey = shape[0] == 1
    for other in ("fashion-mnist", "mnist") if is_grey else ("cifar10", "gtsrb"):
        is_known = other == name or {other, name} == {"mnist", "digits"}
        if not is_known:
            images = load_images(other).X_test
            chosen = rng.choice(len(images), min(n_images, len(images)), replace=False)
            yield other, _in_shape(images[chosen], shape)


def letters(n_images, rng):
    """Draw white letters on black, in the fonts that matplotlib ships, at 28 x 28 pixels."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    fonts = [
        ImageFont.truetype(str(folder / f"{font}.ttf"), size) for font in FONTS for size in (18, 22)
    ]
    images = []
    for _ in range(n_images):
        image = Image.new("L", (28, 28))
        place = tuple(14 + rng.integers(-2, 3, 2))
        letter, font = LETTERS[rng.integers(len(LETTERS))], fonts[rng.integers(len(fonts))]
        ImageDraw.Draw(image).text(place, letter, fill=255, font=font, anchor="mm")
        images.append(np.asarray(image))
    return np.stack(images)[:, None].astype(np.float32) / 255


def _in_shape(images, shape):
    """Scale images to the size of `shape`, and repeat a grey channel if it has several."""
    factors = np.array(shape[1:]) / images.shape[2:]
    images = ndimage.zoom(images, (1, 1, *factors), order=1)
    return np.ascontiguousarray(np.broadcast_to(images, (len(images), *shape)))
