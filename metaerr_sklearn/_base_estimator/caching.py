"""Cache fits of the base classifier, and meta-features, on disk with joblib."""

import inspect
from functools import partial
from pickle import PicklingError

import joblib

from .._version import __version__

# What joblib raises for an object that it cannot pickle.
_NOT_PICKLABLE = (PicklingError, TypeError, AttributeError)


def cached(function, memory, *objects):
    """Return a function whose results are cached; without a memory, the function itself.

    A result is stored under the arguments of the call, the version of this package and the source
    code of the user's own classes and functions, see `source_of`.

    Parameters
    ----------
    function : callable
        A function of a module.
    memory : joblib.Memory or None
        The cache.
    *objects : any
        Objects whose source code is part of the key.

    Returns
    -------
    function : callable
    """
    if memory is None:
        return function
    return partial(memory.cache(_call), function, (__version__, source_of(*objects)))


def _call(function, key, *args, **kwargs):
    """Call a function; joblib makes its key from all arguments, `key` among them."""
    return function(*args, **kwargs)


class Kept:
    """Keep what is computed, under a key that is made from all that it depends on.

    A key has the version of this package and the source code of the user's own classes and
    functions, too. What has no safe key is computed anew each time: if an object cannot be pickled
    (a lambda), or if its code was typed into an interactive session and has no source.

    Parameters
    ----------
    memory : joblib.Memory, default=None
        The cache; None keeps nothing.
    *values : any
        What all that is computed depends on.
    code : sequence of objects, default=()
        Objects whose source code is part of the key.
    """

    def __init__(self, memory=None, *values, code=()):
        self._memory, self._key = memory, None
        if memory is not None:
            sources = _sources(*code)
            if None not in sources.values():
                self._key = _hash((__version__, sources, values))

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
        key = None if self._key is None else _hash((self._key, values))
        if key is None:
            return compute()
        return self._memory.cache(_compute, ignore=["compute"])(key, compute)


def _compute(key, compute):
    """Call a function; joblib takes the key alone."""
    return compute()


def _hash(value):
    """Return the hash of a value, or None if it cannot be pickled."""
    try:
        return joblib.hash(value)
    except _NOT_PICKLABLE:
        return None


def check_can_be_cached(**objects):
    """Raise a ValueError, before any fit, if joblib cannot make a cache key from an object."""
    for name, value in objects.items():
        try:
            joblib.hash(value)
        except _NOT_PICKLABLE as error:
            raise ValueError(
                f"memory= stores each fit under a key that is made from {name}, which cannot be "
                f"pickled: {error.args[0]}. Define its functions and classes with def and class at "
                "the top level of a module (a lambda or a class inside a function cannot be "
                "pickled), or pass memory=None."
            ) from error


def source_of(*objects):
    """Return the source code of the user's own classes and functions in some objects.

    Joblib identifies a class by its name: without its code in the key, results of an earlier
    version of the class would be used. Parameters, attributes and the entries of lists and dicts
    are searched too. Code of installed packages is left out, and so is code without a file, such as
    a class that was typed into an interactive session.

    Parameters
    ----------
    *objects : any
        Estimators or containers of these.

    Returns
    -------
    source : list of str
    """
    return [source for _, source in sorted(_sources(*objects).items()) if source]


def _sources(*objects):
    """Return the source code by name; "" for installed code, and None if there is no source."""
    found, seen, waiting = {}, set(), list(objects)
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (list, tuple, set)):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, partial):
            waiting += [value.func, value.args, value.keywords]
        elif isinstance(value, type):
            waiting += value.__bases__
            found[f"{value.__module__}.{value.__qualname__}"] = _own_source(value)
        elif inspect.isfunction(value) or inspect.ismethod(value):
            found[f"{value.__module__}.{value.__qualname__}"] = _own_source(value)
        else:
            waiting.append(type(value))
            waiting += getattr(value, "__dict__", {}).values()
    return found


def _own_source(value):
    """Return the source code of a class or function of the user's own.

    It is "" for installed code, and None for code that was typed into an interactive session.
    """
    try:
        path = inspect.getsourcefile(value) or ""
        is_installed = "site-packages" in path or path.startswith(_STANDARD_LIBRARY)
        return "" if is_installed else inspect.getsource(value)
    except (OSError, TypeError):
        return None if value.__module__ == "__main__" else ""


_STANDARD_LIBRARY = inspect.getsourcefile(inspect).removesuffix("inspect.py")
