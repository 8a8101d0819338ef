"""Hash any Python object, nets and tensors among them, by its value."""

import inspect
import linecache
import sys
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np

from .._compat import NumpyHasher


class NoSourceError(Exception):
    """The source code of a class or function cannot be read."""


def hash_of(value):
    """Return a hash that is the same for equal values in each process.

    Parameters
    ----------
    value : any
        A skorch net counts as equal to its copy from a pickle, and to a net that has the same
        parameters, weights and buffers after another training. A class or function counts by its
        name and, if it is the user's own, by its source code.

    Returns
    -------
    hash : str

    Raises
    ------
    NoSourceError
        If a class or function was typed into a session that keeps no source.
    Exception
        If the value cannot be pickled. Its classes decide which exception.
    """
    return _Hasher().hash(value)


class _Hasher(NumpyHasher):
    """Joblib's hasher, but for objects that it hashes by an address, or sorts by one.

    Parameters
    ----------
    in_net : bool, default=False
        Whether the object is a module of a net, which sets the mode of the module itself.
    """

    def __init__(self, in_net=False):
        # Processors compute SHA-1 in less than half of the time of MD5, joblib's default.
        super().__init__("sha1", coerce_mmap=True)
        self._in_net = in_net

    def save(self, obj):
        """Write an object; a tensor and a set by their values, however many objects share them."""
        is_new_code = _is_code(obj) and id(obj) not in self.memo
        torch = sys.modules.get("torch")
        if isinstance(obj, (set, frozenset)):
            obj = type(obj), sorted(map(hash_of, obj))
        elif torch is not None and isinstance(obj, torch.Tensor):
            obj = _value_of_tensor(obj, torch)
        super().save(obj)
        if is_new_code:
            super().save(source_of(obj))

    def _batch_setitems(self, items, *args):
        """Write the sorted items of a dict; joblib compares its keys, and tensors have no order."""
        items = list(items)
        if {type(key) for key, _ in items} not in ({str}, {int}):
            items = enumerate(sorted(items, key=lambda item: hash_of(item[0])))
        super()._batch_setitems(items, *args)

    def reducer_override(self, obj):
        """Return class and state of a net or module; NotImplemented for any other object."""
        torch, skorch = sys.modules.get("torch"), sys.modules.get("skorch")
        if skorch is not None and isinstance(obj, skorch.NeuralNet):
            return type(obj), (), _state_of_net(obj, torch, skorch)
        if skorch is not None and isinstance(obj, skorch.callbacks.Callback):
            # The rest is state of a training: a clone has none of it, and no prediction uses it.
            return type(obj), (), obj.get_params(deep=False)
        if torch is not None and isinstance(obj, torch.nn.Module):
            if hasattr(obj, "_orig_mod"):  # compiled
                return type(obj), (), {"_orig_mod": obj._orig_mod}
            if self._in_net:
                return _copy_with(obj, training=None).__reduce_ex__(2)
        return NotImplemented


def _state_of_net(net, torch, skorch):
    """Return the attributes of a net, without those that only its training uses."""
    # Without this attribute, skorch does not pickle the modules itself.
    state = _copy_with(net, cuda_dependent_attributes_=[]).__getstate__()
    of_training = torch.optim.Optimizer, skorch.history.History
    # A net may share a module with its parameters. A copy from a pickle does not.
    return {
        name: _Hasher(in_net=True).hash(part) if isinstance(part, torch.nn.Module) else part
        for name, part in state.items()
        if not isinstance(part, of_training)
    }


def _value_of_tensor(tensor, torch):
    if torch.nn.parameter.is_lazy(tensor):
        return type(tensor), tensor.requires_grad
    data = BytesIO()
    torch.save(tensor.detach().cpu().clone(), data)  # takes any dtype and layout
    return type(tensor), tensor.requires_grad, np.frombuffer(data.getbuffer(), dtype=np.uint8)


def _copy_with(obj, **attributes):
    copied = object.__new__(type(obj))
    vars(copied).update(vars(obj), **attributes)
    return copied


def _is_code(value):
    return isinstance(value, type) or inspect.isfunction(value)


def source_of(value):
    """Return the user's own source code of a class or function, and of what it is made of.

    Parameters
    ----------
    value : class or function
        Its base classes, and the classes and functions that its code names, are searched, too.

    Returns
    -------
    source : list of str
        Code of this package and of installed packages is left out.

    Raises
    ------
    NoSourceError
        If a class or function was typed into a session that keeps no source.
    """
    found, waiting = {}, [value]
    while waiting:
        value = waiting.pop()
        if value not in found:
            found[value] = _own_source(value)
            waiting += value.__bases__ if isinstance(value, type) else ()
            waiting += _named_in(value) if found[value] else ()
    return sorted(set(found.values()) - {""})


@cache
def _own_source(value):
    """Return the source code of a class or function; "" if it is not the user's own."""
    try:
        path = Path(inspect.getsourcefile(value) or "")
        is_installed = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        if is_installed or not {_STANDARD_LIBRARY, _PACKAGE}.isdisjoint(path.parents):
            return ""
        return inspect.getsource(value)
    except (OSError, TypeError):
        if value.__module__ != "__main__":
            return ""
    # Python finds no source of a class in a notebook, but that of its methods: the whole cell.
    files = {function.__code__.co_filename for function in _functions_in(value)}
    cells = sorted("".join(linecache.getlines(file)) for file in files)
    if not any(cells):
        raise NoSourceError(f"the source code of {value.__qualname__} cannot be read")
    return "".join(cells)


def _functions_in(value):
    members = vars(value).values() if isinstance(value, type) else [value]
    return list(filter(inspect.isfunction, map(inspect.unwrap, members)))


def _named_in(value):
    """Return the classes and functions among the globals that a class or function names."""
    named = []
    for function in _functions_in(value):
        codes = [function.__code__]
        for code in codes:
            codes += filter(inspect.iscode, code.co_consts)
            named += map(function.__globals__.get, code.co_names)
    return filter(_is_code, named)


_STANDARD_LIBRARY, _PACKAGE = Path(inspect.__file__).parent, Path(__file__).parents[1]
