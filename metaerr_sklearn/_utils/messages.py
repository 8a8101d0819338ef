"""Name the user's line in a warning, and an estimator in a message."""

import sys
import warnings


def warn_caller(message):
    """Warn, and point to the user's line that called a method of this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_inside(module):
    # Functions of contextlib call ours where a context manager decorates them.
    own = f"{__name__.partition('.')[0]}."
    return module == "contextlib" or module.startswith((own, "sklearn.callback"))


def name_of(estimator):
    """Return the name of an estimator for messages: its class, or the module in `as_classifier`."""
    return getattr(estimator, "name_in_messages", type(estimator).__name__)
