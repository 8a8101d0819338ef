"""Refuse collections whose rows are not in the memory of this process."""

import numpy as np

# The frames of these modules have a length or become an array by themselves, but an engine or a
# file holds their rows. Other lazy collections have neither a length nor a shape.
_ENGINES = (
    "bigframes.",
    "_duckdb",
    "duckdb",
    "datasets.arrow_dataset",  # of Hugging Face
    "ibis.",
    "modin.",
    "pyspark.",
    "ray.",
    "vaex.",
)
# How to load all rows: the first of these methods that a collection has.
_TO_MEMORY = ("compute", "toPandas", "to_pandas", "df", "to_table", "read_all", "collect")
# How to predict part by part: the code for the first of these methods that a collection has.
_BY_PARTS = {
    "rechunk": "X.map_blocks(clf.predict_error_proba, dtype=float, drop_axis={axes})",
    "to_dask_array": "X.map_partitions(clf.predict_error_proba)",
    "mapInPandas": "a pandas_udf that calls clf.predict_error_proba",
    "collect_batches": "[clf.predict_error_proba(part) for part in X.collect_batches()]",
    "to_batches": "[clf.predict_error_proba(part) for part in X.to_batches()]",
    "iter_batches": "clf.predict_error_proba(part) for each part in X.iter_batches(...)",
    "read_next_batch": "[clf.predict_error_proba(part) for part in X]",
}


def check_in_memory(data, name="X"):
    """Raise if rows are held by an engine such as dask or Spark, or come one after the other.

    A conversion to an array would load all of them. No engine is imported to find this out.

    Parameters
    ----------
    data : any
        Rows, labels, weights or other values for each row; None passes.
    name : str, default="X"
        Their name in the error message.

    Raises
    ------
    TypeError
        If the rows of `data` are not in memory.
    """
    if data is None or isinstance(data, (np.ndarray, list, tuple, str)):
        return
    if not (_is_dask(data) or _is_of_engine(data) or _is_lazy(data)):
        return
    kind, package = type(data).__name__, type(data).__module__.partition(".")[0].lstrip("_")
    if package not in ("builtins", "io", "itertools"):
        kind = f"{package} {kind}"
    message = f"{name} is of type {kind}: its rows are not in memory."
    load = next((method for method in _TO_MEMORY if _has(data, method)), None)
    by_parts = next((code for method, code in _BY_PARTS.items() if _has(data, method)), None)
    if load is not None:
        message += f" If they fit in memory, pass {name}.{load}()."
    elif hasattr(data, "__next__"):
        message += f" If it gives single rows, pass list({name})."
        by_parts = "[clf.predict_error_proba(part) for part in X], if it gives parts of many rows"
    else:
        message += " If they fit in memory, pass an array or a frame of them."
    if name == "X" and by_parts is not None:
        axes = [*range(1, getattr(data, "ndim", 2))] if "axes" in by_parts else []
        by_parts = by_parts.format(axes=axes[0] if len(axes) == 1 else axes)
        message += f" To predict part by part: {by_parts}."
    raise TypeError(
        f'{message} The guide "Many cores, clusters, large data" has recipes for dask, Spark, Ray '
        "and files."
    )


def check_no_mask(values, advice, name="X"):
    """Raise if values are masked: NumPy, scikit-learn and torch read what is under the mask."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(
            f"{name} is a masked array with {np.ma.count_masked(values)} masked values, but the "
            f"mask is ignored and the values under it are read. Pass {advice}."
        )


def check_numbers(values, name):
    """Raise if numbers for each row are not in memory, or if some are masked."""
    check_in_memory(values, name)
    check_no_mask(values, "only the rows that have a value", name)


def _is_dask(data):
    # An array of xarray has this method also if its rows are in memory, and then returns None.
    return callable(getattr(type(data), "__dask_graph__", None)) and (
        data.__dask_graph__() is not None
    )


def _is_of_engine(data):
    # A Column of datasets is a sequence of labels or texts, which is read by position.
    is_sequence = type(data).__name__ == "Column" and hasattr(data, "__len__")
    return type(data).__module__.startswith(_ENGINES) and not is_sequence


def _is_lazy(data):
    # A Dataset of torch has its own checks; a number is no collection.
    if any(cls.__module__.startswith("torch.utils.data") for cls in type(data).__mro__):
        return False
    has_rows = any(hasattr(data, name) for name in ("__len__", "shape", "__array__"))
    return not has_rows and any(_has(data, name) for name in ("__iter__", *_TO_MEMORY, *_BY_PARTS))


def _has(data, method):
    # A delayed object of dask accepts any name as an attribute of the instance.
    return hasattr(type(data), method)
