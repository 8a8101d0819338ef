"""Colours, axes and images that the displays share."""

# Okabe and Ito's palette, which stays apart under all common colour vision deficiencies. Dashes
# say the same once more, for print in grey.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "0.45"


def import_pyplot(caller):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib, which is not installed. Install it with "
            "`pip install matplotlib`, or this package with its extra `plot`."
        ) from error
    return plt


def make_axes(ax, caller, figsize=None):
    plt = import_pyplot(caller)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def style_axes(ax):
    """Leave the data the darkest thing in the picture."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)
