"""Report the steps of a fit."""

import time
from contextlib import contextmanager


class FitProgress:
    """Report the steps of a fit to scikit-learn's callbacks, and print them if `verbose`.

    `n_steps` is None if the number of steps is unknown before the fit.
    """

    def __init__(self, estimator, n_steps, X, y, *, verbose=False):
        self._estimator, self._n_steps, self._verbose = estimator, n_steps, verbose
        self._data = {"estimator": estimator, "X": X, "y": y}
        self._started, self._n_done, self._context = time.perf_counter(), 0, None
        if hasattr(estimator, "_init_callback_context"):
            context = estimator._init_callback_context(max_subtasks=n_steps)
            self._context = context.call_on_fit_task_begin(**self._data)

    def done(self, step, *, print_line=True):
        """Report that a step is over; with ``print_line=False``, nothing is printed."""
        self._n_done += 1
        if self._context is not None:
            task = self._context.subcontext(task_name=step)
            task.call_on_fit_task_begin(**self._data).call_on_fit_task_end(**self._data)
        if self._verbose and print_line:
            seconds = time.perf_counter() - self._started
            name = type(self._estimator).__name__
            of_all = "" if self._n_steps is None else f"/{self._n_steps}"
            print(f"[{name}] {self._n_done}{of_all} {step}, {seconds:.1f} s")

    @contextmanager
    def within(self, step, estimator):
        """Report a step that fits an estimator, with the steps of this fit if it has callbacks."""
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
        """Report that the fit is done."""
        if self._context is not None:
            self._context.call_on_fit_task_end(**self._data)
