"""The only imports of private or version-dependent scikit-learn names."""

import sys
import time
import warnings
from contextlib import contextmanager

from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._metadata_requests import _routing_enabled as routing_enabled
from sklearn.utils.validation import _check_method_params as slice_fit_params
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _num_samples as num_samples

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9 has no callbacks (SLEP 23)

    class CallbackSupportMixin:
        """Stand in where the installed scikit-learn has no callbacks."""

    def with_callbacks(method):
        """Return the method unchanged."""
        return method


def warn_caller(message):
    """Warn the user where a method of ours was called, whatever decorators lie between."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_inside(module):
    return module.startswith((f"{__name__.partition('.')[0]}.", "sklearn.callback"))


class FitProgress:
    """Report the steps of a fit: to scikit-learn's callbacks, and in words if `verbose`.

    `n_steps` is None where their number is not known beforehand.
    """

    def __init__(self, estimator, n_steps, X, y, *, verbose=False):
        self._estimator, self._n_steps, self._verbose = estimator, n_steps, verbose
        self._data = {"estimator": estimator, "X": X, "y": y}
        self._started, self._n_done, self._context = time.perf_counter(), 0, None
        if hasattr(estimator, "_init_callback_context"):
            context = estimator._init_callback_context(max_subtasks=n_steps)
            self._context = context.call_on_fit_task_begin(**self._data)

    def done(self, step, *, in_words=True):
        """Report that a step is over; who has words of their own for it says so."""
        self._n_done += 1
        if self._context is not None:
            task = self._context.subcontext(task_name=step)
            task.call_on_fit_task_begin(**self._data).call_on_fit_task_end(**self._data)
        if self._verbose and in_words:
            seconds = time.perf_counter() - self._started
            name = type(self._estimator).__name__
            of_all = "" if self._n_steps is None else f"/{self._n_steps}"
            print(f"[{name}] {self._n_done}{of_all} {step}, {seconds:.1f} s")

    @contextmanager
    def within(self, step, estimator):
        """Report a step that is the fit of an estimator; it shows its own steps if it can."""
        if self._context is None or not hasattr(estimator, "set_callbacks"):
            yield
            self.done(step)
            return
        self._n_done += 1
        task = self._context.subcontext(task_name=step)
        with task.propagate_callback_context(estimator):
            task.call_on_fit_task_begin(**self._data)
            yield
        task.call_on_fit_task_end(**self._data)

    def close(self):
        """Report that the fit is over."""
        if self._context is not None:
            self._context.call_on_fit_task_end(**self._data)


__all__ = [
    "CallbackSupportMixin",
    "FitProgress",
    "check_sample_weight",
    "num_samples",
    "routing_enabled",
    "safe_indexing",
    "slice_fit_params",
    "warn_caller",
    "with_callbacks",
]
