"""Run functions in threads, and leave what all threads share as it was."""

import threading
import warnings
from contextlib import contextmanager
from itertools import chain, islice

from joblib import Parallel, delayed, effective_n_jobs
from sklearn import config_context, get_config
from threadpoolctl import ThreadpoolController

# Held by the caller that limits BLAS, and takes the limit away: it holds for the whole process.
_LIMITING = threading.Lock()


def run_in_threads(n_jobs, works):
    """Return what functions return, called side by side.

    Each has one thread of OpenMP and BLAS. Fits of LightGBM with one thread each take less time
    than one after the other with several threads, which wait for each other at every split; idle
    threads of BLAS spin, and take the core that another function wants.

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
    if len(first) < 2 or effective_n_jobs(n_jobs) == 1:
        return [work() for work in works]
    config, controller = get_config(), ThreadpoolController()
    # By `limit(user_api=)` the others would be put back as well, to what they were in this moment.
    openmp = controller.select(user_api="openmp")

    def run(work):
        with config_context(**config), openmp.limit(limits=1):
            return work()

    # Where scikit-learn checks an array it changes the warning filters, where it looks for
    # neighbours the threads of BLAS, and puts back what it found: among threads, what another one
    # has changed. scikit-learn's own Parallel does the former in every thread.
    with warnings.catch_warnings(), _one_thread_of(controller.select(user_api="blas")):
        return Parallel(n_jobs, require="sharedmem")(delayed(run)(work) for work in works)


@contextmanager
def _one_thread_of(blas):
    if not _LIMITING.acquire(blocking=False):
        yield
        return
    try:
        with blas.limit(limits=1):
            yield
    finally:
        _LIMITING.release()
