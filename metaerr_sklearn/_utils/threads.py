"""Run functions in threads, and restore the settings that all threads share.

joblib and threadpoolctl alone do not do this (tests/test_threads.py fails with them):

- joblib's threading backend raises an error for `inner_max_num_threads`;
- a limit of OpenMP holds only in the thread that sets it, so each thread has to set one;
- `threadpool_limits` restores the number of threads of BLAS that it found, which may be the limit
  of another thread: if two calls overlap, BLAS stays limited after both;
- `warnings.catch_warnings`, which scikit-learn uses in its checks, has the same flaw;
- after an exception joblib returns while other threads still run.
"""

import threading
import warnings
from contextlib import contextmanager
from itertools import chain, islice

from joblib import Parallel, delayed
from sklearn import config_context, get_config
from threadpoolctl import ThreadpoolController

_LOCK = threading.Lock()
# Number of callers inside `_as_before`, and the thread counts of BLAS to restore when the last one
# leaves.
_n_callers, _blas_threads = 0, {}


def run_in_threads(n_jobs, works):
    """Call functions in threads and return their results in order.

    With several jobs and functions, each function has one thread of OpenMP. Parallel fits of
    LightGBM with one thread each take less time than successive fits with several threads, because
    these wait for each other at every split.

    Parameters
    ----------
    n_jobs : int or None
        Number of threads, as in joblib.
    works : iterable of callables
        Functions without arguments. The iterable is read one function at a time.

    Returns
    -------
    results : list
    """
    works = iter(works)
    first = list(islice(works, 2))
    works = chain(first, works)
    # The first check saves a tenth of a millisecond, which counts if one row is predicted.
    if len(first) < 2:
        return [work() for work in works]
    parallel = Parallel(n_jobs, require="sharedmem")
    if parallel.n_jobs == 1:
        return [work() for work in works]
    config, controller = get_config(), ThreadpoolController()
    # `limit(user_api="openmp")` would also restore the other libraries, to their counts at this
    # moment.
    openmp = controller.select(user_api="openmp")
    changed, n_running, is_over = threading.Condition(), 0, False

    def run(work):
        nonlocal n_running
        with changed:
            if is_over:
                return None
            n_running += 1
        try:
            with config_context(**config), openmp.limit(limits=1):
                return work()
        finally:
            with changed:
                n_running -= 1
                changed.notify_all()

    # scikit-learn changes the warning filters when it checks an array, and the threads of BLAS when
    # it searches for neighbours. In several threads each restores what another one has changed, so
    # both are restored here, after the last thread.
    with warnings.catch_warnings(), _as_before(controller.select(user_api="blas")):
        try:
            return parallel(delayed(run)(work) for work in works)
        finally:
            # After an exception or an interruption, threads of joblib still run.
            with changed:
                is_over = True
                changed.wait_for(lambda: not n_running)


@contextmanager
def one_thread_of_blas():
    """Limit BLAS to one thread in the whole process until the last of several callers leaves.

    There is no effect while another thread holds a limit of threadpoolctl.
    """
    blas = ThreadpoolController().select(user_api="blas")
    with _as_before(blas):
        _set_threads(blas, dict.fromkeys(_threads_of(blas), 1))
        yield


@contextmanager
def _as_before(blas):
    """Restore the threads of BLAS when the last of several callers leaves."""
    global _n_callers, _blas_threads
    with _LOCK:
        if not _n_callers:
            _blas_threads = _threads_of(blas)
        _n_callers += 1
    try:
        yield
    finally:
        with _LOCK:
            _n_callers -= 1
            if not _n_callers:
                _set_threads(blas, _blas_threads)


def _threads_of(libraries):
    return {library.filepath: library.num_threads for library in libraries.lib_controllers}


def _set_threads(libraries, numbers):
    for library in libraries.lib_controllers:
        if numbers.get(library.filepath) is not None:
            library.set_num_threads(numbers[library.filepath])
    # In newer versions of threadpoolctl, no other thread can set the counts until the thread that
    # did so has ended a limit. This limit changes nothing and ends at once.
    with libraries.limit(limits=None):
        pass
