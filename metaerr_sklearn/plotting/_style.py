"""Colours and axes that the displays share."""

from .._utils.packages import check_importable

# Colours of Okabe and Ito's palette can be distinguished with all common colour vision
# deficiencies. Curves also differ in their dashes, and histograms in hatching, for print in grey.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "0.45"


def import_pyplot(caller):
    """Return pyplot, or raise an error that names the caller and the package to install."""
    instead = "The extra `plot` of metaerr_sklearn installs it too."
    check_importable("matplotlib", user=caller, instead=instead)
    import matplotlib.pyplot as plt

    return plt


def make_axes(ax, caller, figsize=None):
    """Return the given axes, or those of a new figure."""
    plt = import_pyplot(caller)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def style_axes(ax):
    """Draw frame and grid less dark than the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)
