"""Cache fits of the base classifier, and meta-features, on disk with joblib."""

import pickle
from copy import copy
from functools import partial
from threading import Lock

from .._utils.messages import warn_caller
from .._version import __version__
from .hashing import NoSourceError, hash_of


def cached(function, memory):
    """Return a function whose results are kept, see `Kept`.

    Parameters
    ----------
    function : callable
        A function of a module. The results depend on its arguments alone.
    memory : joblib.Memory or None
        The cache; None keeps nothing.

    Returns
    -------
    function : callable
    """
    kept = Kept(memory, function)

    def call(*args, **kwargs):
        return kept(partial(function, *args, **kwargs), args, kwargs)

    return call


class Kept:
    """Keep what is computed, under a key that is made from all that it depends on.

    A key has the version of this package, too, and the source code of the user's own classes and
    functions, see `hash_of`. What has no safe key is computed anew each time: if an object cannot
    be pickled (a lambda), or if its code was typed into a session that keeps no source.

    Parameters
    ----------
    memory : joblib.Memory, default=None
        The cache; None keeps nothing.
    *values : any
        What all that is computed depends on.
    """

    def __init__(self, memory=None, *values):
        self.memory = memory
        self._key = self._recall = None
        if memory is not None:
            self._key = _hash((__version__, values))
            self._recall = memory.cache(_compute, ignore=["compute"])

    def __call__(self, compute, *values):
        """Return ``compute()``, or the result that was kept for equal values.

        Parameters
        ----------
        compute : callable
            Called without arguments. Its result can be pickled.
        *values : any
            What the result depends on, besides the values of the object.

        Returns
        -------
        result : any
        """
        return self.at(self.key_of(*values), compute)

    def at(self, key, compute):
        """Return ``compute()``, or the result that was kept for this key of `key_of`."""
        return compute() if key is None else self._recall(key, compute).value

    def narrowed(self, *values):
        """Return a `Kept` for what depends on further values, too."""
        narrowed = copy(self)
        narrowed._key = self.key_of(*values)
        return narrowed

    def key_of(self, *values):
        """Return the key for these values; None if nothing is kept for them."""
        return None if self._key is None else _hash((self._key, values))


class Recent:
    """Hold the arrays that this process computed last, under keys like those of `Kept`.

    A search predicts the same held-out rows for each candidate. Nothing is written, because a
    deployed classifier predicts new rows without end.

    Parameters
    ----------
    max_bytes : int, default=2**25
        Size of all arrays. The oldest are forgotten.
    """

    def __init__(self, max_bytes=2**25):
        self.max_bytes = max_bytes
        self._arrays, self._lock = {}, Lock()

    def __call__(self, compute, key, *values):
        """Return ``compute()``, or the array that it returned for an equal key and equal values.

        Parameters
        ----------
        compute : callable
            Called without arguments. Returns an array, which becomes read-only.
        key : str or None
            From `Kept.key_of`; with None, nothing is held.
        *values : any
            What the result depends on, besides the values of the key.

        Returns
        -------
        array : ndarray
        """
        key = None if key is None else _hash((key, values))
        if key is None:
            return compute()
        with self._lock:
            array = self._arrays.pop(key, None)
        if array is None:
            array = compute()
            array.flags.writeable = False
        with self._lock:
            self._arrays[key] = array
            while sum(held.nbytes for held in self._arrays.values()) > self.max_bytes:
                del self._arrays[next(iter(self._arrays))]
        return array


class _Result:
    """Hold a result that is pickled as a whole.

    joblib pickles objects in Python. Python's own pickle takes a tenth of the time for a forest.
    """

    def __init__(self, value):
        self.value = value

    def __getstate__(self):
        return pickle.dumps(self.value, pickle.HIGHEST_PROTOCOL)

    def __setstate__(self, state):
        self.value = pickle.loads(state)


def _compute(key, compute):
    """Call a function; joblib takes the key alone."""
    return _Result(compute())


def _hash(value):
    """Return the hash of a value, or None if it cannot be pickled."""
    try:
        return hash_of(value)
    except Exception:  # the classes of the user and of torch decide which exception
        return None


def kept_for_fits(memory, estimator, X, y, fit_params):
    """Return a `Kept` for all that depends on the arguments of a fit; it hashes them only once.

    Parameters
    ----------
    memory : joblib.Memory or None
        The cache.
    estimator : estimator
        The base, which is checked here but is no part of the key.
    X, y : array-likes of length n_samples
        Rows and labels.
    fit_params : dict
        Arguments of the ``fit`` of the base.

    Returns
    -------
    kept : Kept

    Raises
    ------
    ValueError
        If an argument cannot be pickled; see `check_can_be_cached`.
    """
    kept = Kept(memory, X, y, fit_params)
    if memory is not None:
        check_can_be_cached(estimator=estimator)
        if kept.key_of() is None:
            check_can_be_cached(X=X, y=y, fit_params=fit_params)
    return kept


def check_can_be_cached(**objects):
    """Check, before any fit, that a cache key can be made from each object.

    If an object cannot be pickled, there is a ValueError. If its source code cannot be read, there
    is a warning.
    """
    for name, value in objects.items():
        try:
            hash_of(value)
        except NoSourceError as error:
            warn_caller(
                f"memory= keeps no fit of this {name}: {error}, and without it the cache could "
                "return results of an earlier version. Define it in a file, and import it."
            )
        except Exception as error:  # see `_hash`
            reason = error.args[0] if error.args else type(error).__name__
            raise ValueError(
                f"memory= stores each fit under a key that is made from {name}, which cannot be "
                f"pickled: {reason}. Define its functions and classes with def and class at the "
                "top level of a module (a lambda or a class inside a function cannot be pickled), "
                "or pass memory=None."
            ) from error
