"""Handle a fit that fails: name the step in the exception, and restore the earlier fit."""

from contextlib import contextmanager
from functools import wraps


@contextmanager
def noted(step):
    """Add a note to an exception that is raised inside the block.

    Parameters
    ----------
    step : str
        What the block does, for example "fitting fold 3 of 5".
    """
    try:
        yield
    except Exception as error:
        error.add_note(f"raised while {step}")
        raise


def keeps_earlier_fit(fit):
    """Decorate a method ``fit``: if it fails, the object is as it was before the call.

    Otherwise the attributes of two fits would be mixed, for example the class labels of new data
    with a classifier that was fitted on old data.
    """

    @wraps(fit)
    def fit_or_restore(self, *args, **kwargs):
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return fit_or_restore
