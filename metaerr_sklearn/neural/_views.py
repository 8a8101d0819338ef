"""Views of images: shifted, mirrored, turned, enlarged and reduced."""

from dataclasses import dataclass

import torch
from torch.nn.functional import affine_grid, grid_sample

from .._utils.images import spatial_axes


@dataclass(frozen=True)
class View:
    """Alter images by a rotation around the centre, a magnification and a shift.

    Pixels from outside an image get the value of the nearest pixel on its edge.

    Parameters
    ----------
    name : str
        What the view does.
    right, down : float, default=0
        Shift, in pixels.
    angle : float, default=0
        Rotation, in degrees, clockwise.
    zoom : float, default=1
        Magnification.
    mirror : bool, default=False
        Whether left and right are exchanged.
    """

    name: str
    right: float = 0
    down: float = 0
    angle: float = 0
    zoom: float = 1
    mirror: bool = False

    def __call__(self, images):
        """Return the altered images: same shape, dtype and device."""
        channels_first = _with_channels_first(images)
        # Half precision would blur the positions of pixels, and integers cannot be interpolated.
        exact = channels_first if images.dtype == torch.float64 else channels_first.float()
        grid = affine_grid(self._theta(exact), exact[:1].shape, align_corners=False)
        grid = grid.expand(len(exact), -1, -1, -1)
        altered = grid_sample(exact, grid, padding_mode="border", align_corners=False)
        if not images.dtype.is_floating_point:
            altered = altered.round()
        altered = altered.to(images.dtype)
        if images.ndim == 3:
            return altered[:, 0]
        is_last = spatial_axes(images.shape) == (1, 2)
        return altered.movedim(1, 3).contiguous() if is_last else altered

    def _theta(self, images):
        """Return the matrix from the position of a pixel to where its value comes from.

        Positions of rows and columns run from -1 to 1, so that the lengths of the sides enter.
        """
        height, width = images.shape[2:]
        angle = torch.deg2rad(torch.tensor(float(self.angle)))
        cos, sin = (float(f(angle)) / self.zoom for f in (torch.cos, torch.sin))
        sign = -1 if self.mirror else 1
        rows = [
            [sign * cos, sin * height / width, -2 * self.right / width],
            [-sign * sin * width / height, cos, -2 * self.down / height],
        ]
        return torch.tensor([rows], dtype=images.dtype, device=images.device)


SHIFTS = (
    View("down by 1 pixel", down=1),
    View("up by 1 pixel", down=-1),
    View("right by 1 pixel", right=1),
    View("left by 1 pixel", right=-1),
)
MIRROR = View("mirrored", mirror=True)
STRONG = (
    View("right and down by 2 pixels", right=2, down=2),
    View("left and up by 2 pixels", right=-2, down=-2),
    View("turned right by 8 degrees", angle=8),
    View("turned left by 8 degrees", angle=-8),
    View("enlarged by 12 %", zoom=1.12),
    View("reduced by 11 %", zoom=0.89),
)


def _with_channels_first(images):
    if images.ndim == 3:
        return images[:, None]
    return images if spatial_axes(images.shape) == (2, 3) else images.movedim(3, 1)
