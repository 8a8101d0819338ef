"""Run functions in threads, and leave what all threads share as it was."""

import threading
import warnings
from contextlib import contextmanager
from itertools import chain, islice

from joblib import Parallel, delayed
from sklearn import config_context, get_config
from threadpoolctl import ThreadpoolController

_LOCK = threading.Lock()
# How many callers count on it that BLAS gets back the threads it had, and how many these were.
_n_callers, _blas_threads = 0, {}


def run_in_threads(n_jobs, works):
    """Return what functions return, called side by side where there are several jobs and functions.

    Each then has one thread of OpenMP: fits of LightGBM with one thread each take less time than
    one after the other with several threads, which wait for each other at every split.

    Parameters
    ----------
    n_jobs : int or None
        Threads, as in joblib.
    works : iterable of callables
        Functions without arguments, taken one by one.

    Returns
    -------
    results : list
    """
    works = iter(works)
    first = list(islice(works, 2))
    works = chain(first, works)
    parallel = Parallel(n_jobs, require="sharedmem")
    if len(first) < 2 or parallel.n_jobs == 1:
        return [work() for work in works]
    config, controller = get_config(), ThreadpoolController()
    # By `limit(user_api=)` the others would be put back as well, to what they were in this moment.
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

    # Where scikit-learn checks an array it changes the warning filters, where it looks for
    # neighbours the threads of BLAS, and puts back what it found: among threads, what another one
    # has changed. scikit-learn's own Parallel does the former in every thread.
    with warnings.catch_warnings(), _as_before(controller.select(user_api="blas")):
        try:
            return parallel(delayed(run)(work) for work in works)
        finally:
            # After an exception or an interruption joblib leaves threads at work.
            with changed:
                is_over = True
                changed.wait_for(lambda: not n_running)


@contextmanager
def one_thread_of_blas():
    """Limit BLAS, in the whole process, to one thread; not where somebody else holds the limit."""
    blas = ThreadpoolController().select(user_api="blas")
    with _as_before(blas):
        _set_threads(blas, dict.fromkeys(_threads_of(blas), 1))
        yield


@contextmanager
def _as_before(blas):
    """Give BLAS the threads back that it had when the first of several callers came."""
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
    # Newer versions of threadpoolctl let no other thread set them until the one that did says that
    # it is done, which is at the end of a limit.
    with libraries.limit(limits=None):
        pass
