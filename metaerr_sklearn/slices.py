"""Find the readable regions of the input where a classifier errs most."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np
from scipy.stats import fisher_exact
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_scalar

from ._compat import num_samples
from ._utils import limits
from ._utils.binomial import clopper_pearson
from ._utils.columns import Columns, is_frame
from ._utils.in_memory import check_in_memory
from ._utils.indexable import indexable
from ._utils.messages import warn_caller
from ._utils.parameter_checks import check_fraction
from ._utils.random import draw_seed
from ._utils.rows import take_rows
from .metrics._compared_predictions import predict_and_compare

# The significance level of the tests that select regions. It is low because a tree takes the best
# of many splits.
_SIGNIFICANCE_LEVEL = 0.001
# The chance that the held-out rows confirm any region whose error rate is not higher.
_FAMILY_LEVEL = 0.05
__all__ = ["ErrorSlice", "ErrorSlices", "error_slices"]


class ErrorSlice(NamedTuple):
    """A region of the input, and the error rate of the held-out rows in it.

    ``condition`` is the region as text. ``low`` and ``high`` are the bounds of the interval of
    ``error_rate``. ``lift`` is its ratio to the error rate of the other held-out rows; infinite if
    none of these is wrong. ``n_samples`` and ``n_errors`` count the held-out rows in the region,
    and the wrong ones among them. ``confirmed`` is False if the held-out rows do not show that the
    error rate is higher than elsewhere.
    """

    condition: str
    error_rate: float
    low: float
    high: float
    lift: float
    n_samples: int
    n_errors: int
    confirmed: bool = True

    def __str__(self):
        if self.n_samples == 0:
            return f"{self.condition}: no held-out row, not confirmed"
        times = "no error elsewhere" if self.lift == np.inf else f"{self.lift:.1f} x the rest"
        return (
            f"{self.condition}: error {self.error_rate:.2f} ({self.low:.2f} to {self.high:.2f}), "
            f"{times}, n = {self.n_samples}{'' if self.confirmed else ', not confirmed'}"
        )


class ErrorSlices(Sequence):
    """Regions of high error: a sequence of `ErrorSlice` that prints as text.

    The first slice has the highest lower bound of the error rate on the discovery rows.

    Attributes
    ----------
    error_rate : float in [0, 1]
        Error rate of all held-out rows.

    n_samples : int
        Number of held-out rows.

    n_unconfirmed : int
        Number of regions found on the discovery rows that the held-out rows do not confirm.

    confidence_level : float in (0, 1)
        Confidence level of the interval of each slice.

    left_out_ : dict of str to str
        Why a column of X is in no slice, by its name. There is a warning if it is not empty.
    """

    def __init__(
        self, slices, regions, table, *, error_rate, n_samples, n_unconfirmed, confidence_level
    ):
        self.left_out_ = table.left_out
        self._slices = slices
        self._regions = regions
        self._table = table
        self.error_rate = error_rate
        self.n_samples = n_samples
        self.n_unconfirmed = n_unconfirmed
        self.confidence_level = confidence_level

    def __len__(self):
        return len(self._slices)

    def __getitem__(self, position):
        return self._slices[position]

    def __repr__(self):
        head = f"error {self.error_rate:.2f} among {self.n_samples} held-out rows"
        if not self._slices:
            if self.n_unconfirmed:
                number = self.n_unconfirmed
                regions = (
                    "1 region that they do" if number == 1 else f"{number} regions that they do"
                )
                head += f". only_confirmed=False shows {regions} not confirm"
            return f"No region of high error stands out: {head}."
        head += f", in regions of high error ({100 * self.confidence_level:g} % intervals):"
        lines = [head, *(f"  {position}. {s}" for position, s in enumerate(self))]
        if not all(found.confirmed for found in self):
            lines.append(
                "Not confirmed: many errors only in the half of the rows where it was found, "
                "likely by chance."
            )
        return "\n".join(lines)

    def apply(self, X):
        """Find the slice of each row.

        Parameters
        ----------
        X : frame or array of shape (n_samples, n_columns)
            Rows with the columns of the X in which the slices were found.

        Returns
        -------
        position : ndarray of int, shape (n_samples,)
            Position of the slice in this sequence; -1 for a row in no slice. Slices do not overlap.
        """
        columns = self._table.read(X)
        position = np.full(num_samples(X), -1)
        for number, region in enumerate(self._regions):
            position[region.contains(columns)] = number
        return position


def error_slices(
    estimator,
    X,
    y=None,
    *,
    table=None,
    max_depth=3,
    min_samples=30,
    n_slices=5,
    only_confirmed=True,
    confidence_level=0.95,
    random_state=None,
):
    """Find a few readable regions of the input in which the error rate is high.

    The rows are split into two halves. A shallow decision tree is fitted to the errors of the
    discovery half. Nodes whose error rate is clearly above that of the other rows become slices.
    The held-out half, which has no influence on the choice, must confirm them. It gives their error
    rates and exact (Clopper-Pearson) intervals.

    Parameters
    ----------
    estimator : fitted classifier
        A `MetaErrorClassifier`. With `y` also any other classifier. A `SelectiveClassifier` is
        evaluated on all rows, with the labels that it would give without abstaining.

    X : frame or array of shape (n_samples, n_columns)
        Table of numbers, dates, categories, strings, booleans and missing values, or with `table`
        any rows that `estimator` predicts. With ``y=None`` X has one row for each training row of
        `estimator`, in the same order: the training X, or columns that describe the rows.

    y : array-like of shape (n_samples,), default=None
        True labels of rows on which `estimator` was not trained. None takes the out-of-fold errors.

    table : frame or array of shape (n_samples, n_columns), default=None
        Columns that describe the rows of X, for example the camera of each image. The regions are
        found in these columns. None takes X.

    max_depth : int, default=3
        Maximum depth of the tree, and so the maximum number of conditions of a region.

    min_samples : int, default=30
        Minimum number of discovery rows in a region.

    n_slices : int, default=5
        Maximum number of slices.

    only_confirmed : bool, default=True
        Whether to return only regions whose higher error rate the held-out half confirms. False
        returns the other regions too, with ``confirmed=False``: most of them are found by chance.

    confidence_level : float in (0, 1), default=0.95
        Confidence level of the interval of each slice, not of all intervals together.

    random_state : int, RandomState instance or None, default=None
        Seed of the split into halves, and of ties between splits of the tree.

    Returns
    -------
    slices : ErrorSlices
        A sequence of disjoint `ErrorSlice`, sorted by the lower bound of their error rate on the
        discovery rows, the highest first. It is empty if no region has a clearly higher error rate:
        if errors are at random, in at least 95 % of data sets.
        ``print(slices)`` shows them, and ``slices.apply(X) == 0`` is the mask of the first one.

    Raises
    ------
    ValueError
        If X, or `table`, is not a table, if their numbers of rows differ, if fewer than
        ``4 * min_samples`` rows have a known error, if ``y=None`` and there are no out-of-fold
        errors for these rows, or if a parameter is out of range.

    Notes
    -----
    Only the discovery rows decide which regions become slices, and in which order. Therefore the
    interval of a region that was selected by chance is near the average error rate. A node becomes
    a slice if its error rate is higher than that of the other rows by Fisher's exact test at a
    significance level of 0.1 %; the level is low because a tree takes the best of many splits. A
    further condition is kept if the lower 99.9 % bound of the error rate is above the error rate
    without the condition. Such a tree finds regions in pure noise too, so each region is tested
    again on the held-out rows: Fisher's exact test, one-sided, with Holm's correction [1]_ for the
    number of regions, at a level of 5 % for all regions together. If a region is barely
    confirmed, its interval is a little too high, because a region with fewer held-out errors would
    not be shown. Tests and intervals assume independent rows.

    References
    ----------
    .. [1] Holm (1979). A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian
       Journal of Statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from metaerr_sklearn import MetaErrorClassifier
    >>> from metaerr_sklearn.slices import error_slices
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 3))
    >>> y = np.where(X[:, 1] > 1, rng.random(1000) < 0.5, X[:, 0] > 0)  # noise where x1 > 1
    >>> clf = MetaErrorClassifier(LogisticRegression(), "logistic", random_state=0).fit(X, y)
    >>> error_slices(clf, X, random_state=0)
    error 0.10 among 500 held-out rows, in regions of high error (95 % intervals):
      0. x1 > 1: error 0.48 (0.37 to 0.59), 20.1 x the rest, n = 83
      1. x1 <= 1 and -0.144 < x0 <= 0.08: error 0.21 (0.09 to 0.38), 2.2 x the rest, n = 34
    """
    check_scalar(max_depth, "max_depth", target_type=(int, np.integer), min_val=1)
    check_scalar(min_samples, "min_samples", target_type=(int, np.integer), min_val=1)
    check_scalar(n_slices, "n_slices", target_type=(int, np.integer), min_val=1)
    check_fraction(confidence_level, "confidence_level", closed="neither")
    described = X
    if table is not None:
        _, described = indexable(X, table)
    _check_table(described, "X" if table is None else "table")
    n_samples = num_samples(described)
    if y is None:
        described, is_error = _out_of_fold_errors(estimator, described)
        n_samples = len(is_error)
    if n_samples < 4 * min_samples:
        raise ValueError(
            f"error_slices needs at least 4 * min_samples = {4 * min_samples} rows, got "
            f"{n_samples} whose errors are known. Give more rows or a smaller min_samples."
        )
    if y is not None:
        is_error = predict_and_compare(estimator, X, y, with_proba=False).is_error
    seed = draw_seed(random_state)
    n_rare = min(is_error.sum(), (~is_error).sum())
    discovery, holdout = train_test_split(
        np.arange(len(is_error)),
        test_size=0.5,
        stratify=is_error if n_rare > 1 else None,
        random_state=seed,
    )
    reader = _Table(described)
    if reader.left_out:
        reasons = "; ".join(f"{name!r}: {why}" for name, why in reader.left_out.items())
        warn_caller(
            f"Columns of X that no slice can use: {reasons}. Pass numbers, dates or texts in their "
            "place."
        )
    columns = reader.read(described)
    regions = _choose_regions(
        reader,
        [column[discovery] for column in columns],
        is_error[discovery],
        tree=DecisionTreeClassifier(
            max_depth=max_depth, min_samples_leaf=min_samples, random_state=seed
        ),
        n_slices=n_slices,
    )
    columns, is_error = [column[holdout] for column in columns], is_error[holdout]
    slices = [_evaluate(region, reader, columns, is_error, confidence_level) for region in regions]
    confirmed = _holm([_p_value(region.contains(columns), is_error) for region in regions])
    slices = [found._replace(confirmed=bool(is_sure)) for found, is_sure in zip(slices, confirmed)]
    shown = [j for j, found in enumerate(slices) if found.confirmed or not only_confirmed]
    return ErrorSlices(
        [slices[j] for j in shown],
        [regions[j] for j in shown],
        reader,
        error_rate=float(is_error.mean()),
        n_samples=len(is_error),
        n_unconfirmed=sum(not found.confirmed for found in slices),
        confidence_level=confidence_level,
    )


def _check_table(X, name="X"):
    """Raise unless X is a frame or a dense 2-D array, in memory."""
    check_in_memory(X, name)
    if hasattr(X, "tocsr") or not _is_table(X):
        raise ValueError(
            f"{name} must be a frame or a 2-D array, got {type(X).__name__} of shape "
            f"{getattr(X, 'shape', None)}. Pass {name}.toarray() of a sparse matrix. For images or "
            "texts, pass a frame of columns that describe the rows: "
            "error_slices(estimator, X, y, table=frame)."
        )


def _is_table(X):
    if is_frame(X):
        return True
    if not isinstance(X, (list, tuple)):
        return len(getattr(X, "shape", ())) == 2  # NumPy would read the rows of a Dataset
    try:
        return np.ndim(X) == 2
    except ValueError:  # rows of different length
        return False


def _out_of_fold_errors(estimator, X):
    """Return the rows that have an out-of-fold prediction, and whether it is wrong."""
    is_error = getattr(estimator, "oof_error_", None)
    if is_error is None:
        raise ValueError(
            f"{type(estimator).__name__} has no out-of-fold errors. Pass rows that are new to it "
            "with their labels y, or a fitted MetaErrorClassifier with a meta_learner."
        )
    if num_samples(X) != len(is_error):
        raise ValueError(
            f"X has {num_samples(X)} rows, but the estimator was fitted on {len(is_error)}. With "
            "y=None X must have the training rows in their order; for new rows pass y."
        )
    tested = np.flatnonzero(~np.isnan(estimator.oof_error_proba_))
    return take_rows(X, tested), is_error[tested]


class _Table:
    """Read a table column by column: numbers and dates as float64, all other columns as str."""

    def __init__(self, X):
        self._columns = Columns(X)
        self.left_out = dict(self._columns.left_out)
        for name, kind in self._columns.parts:
            if kind == "vector":
                self.left_out[name] = (
                    f"its values are vectors of more than {limits.MAX_COLUMNS} numbers"
                )
        parts = [part for part in self._columns.parts if part[1] != "vector"]
        self.names, self.kinds = zip(*parts) if parts else ((), ())

    def read(self, X):
        _check_table(X)
        return [values for values in self._columns.read(X, "missing") if values.ndim == 1]

    def show(self, value, j):
        """Return a bound of a numeric column as text."""
        if self.kinds[j] in ("date", "span"):
            micro = round(value * 1e6)
            if self.kinds[j] == "span":
                time = str(timedelta(microseconds=micro))
            else:
                time = str(np.datetime64(micro, "us")).removesuffix("T00:00:00.000000")
            return time.rstrip("0").rstrip(".") if "." in time else time
        return np.format_float_positional(value, trim="-")


class _Interval(NamedTuple):
    """Numbers above `low` (None: no bound) and at most `high`; if `missing`, missing values too."""

    low: float = None
    high: float = np.inf
    missing: bool = True

    def contains(self, values):
        inside = values <= self.high
        if self.low is not None:
            inside &= values > self.low
        return inside | (np.isnan(values) & self.missing)

    def text(self, name, show):
        if self.low == np.inf:
            return f"{name} is missing"
        if self.low is None and self.high == np.inf:
            return f"{name} is known"
        text = name
        if self.low is not None:
            text = f"{name} > {show(self.low)}"
        if self.high < np.inf:
            text = f"{name} <= {show(self.high)}"
            text = f"{show(self.low)} < {text}" if self.low is not None else text
        return f"({text} or missing)" if self.missing else text


class _Categories(NamedTuple):
    """The category `only`, or, if it is None, all categories except `excluded`."""

    only: str = None
    excluded: tuple = ()

    def contains(self, values):
        if self.only is not None:
            return values == self.only
        return ~np.isin(values, self.excluded)

    def text(self, name, show):
        if self.only is not None:
            return f"{name} = {self.only}"
        if len(self.excluded) == 1:
            return f"{name} != {self.excluded[0]}"
        return f"{name} not in {{{', '.join(self.excluded)}}}"


class _Region:
    """The rows for which all conditions hold: one condition for each column."""

    def __init__(self, conditions=None):
        self.conditions = conditions or {}

    def narrowed(self, j, condition):
        return _Region({**self.conditions, j: condition})

    def contains(self, columns):
        inside = np.ones(len(columns[0]), dtype=bool)
        for j, condition in self.conditions.items():
            inside &= condition.contains(columns[j])
        return inside

    def text(self, table):
        return " and ".join(
            condition.text(table.names[j], lambda value, j=j: table.show(value, j))
            for j, condition in self.conditions.items()
        )


class _RankedNumbers:
    """Ranks of a numeric column, as the feature of a tree: no rank is too large for float32."""

    def __init__(self, j, values, is_date):
        self.j, self.values, self.is_date = j, values, is_date
        known = ~np.isnan(values)
        self.distinct, ranks = np.unique(values[known], return_inverse=True)
        self.feature = np.full(len(values), np.nan, dtype=np.float32)
        self.feature[known] = ranks

    def split(self, region, rows, threshold, missing_left):
        before = region.conditions.get(self.j, _Interval())
        cut = np.inf
        if threshold < len(self.distinct) - 1:
            below, above = self.distinct[int(threshold) : int(threshold) + 2]
            cut = below if self.is_date else _shortest_number(below, above)
        # A condition mentions missing values only if the node has some.
        any_missing = bool(np.isnan(self.values[rows]).any())
        left = _Interval(before.low, cut, any_missing and missing_left)
        right = _Interval(cut, before.high, any_missing and not missing_left)
        return region.narrowed(self.j, left), region.narrowed(self.j, right)


class _OneCategory:
    """Indicator of one value of a column, as the feature of a tree."""

    def __init__(self, j, values, category, other):
        self.j, self.category, self.other = j, category, other
        self.feature = (values == category).astype(np.float32)

    def split(self, region, rows, threshold, missing_left):
        before = region.conditions.get(self.j, _Categories())
        if self.other is not None:
            without = _Categories(self.other)
        else:
            without = _Categories(excluded=(*before.excluded, self.category))
        return region.narrowed(self.j, without), region.narrowed(self.j, _Categories(self.category))


def _shortest_number(low, high):
    """Return the number with the fewest digits in [low, high)."""
    low, high = float(low), float(high)
    for digits in range(1, 17):
        for value in ((low + high) / 2, low):
            short = float(f"{value:.{digits}g}")
            if low <= short < high:
                return short
    return low


def _choose_regions(table, columns, is_error, *, tree, n_slices):
    """Return disjoint nodes of a tree of the errors, the highest lower bound first."""
    features = []
    for j, values in enumerate(columns):
        if table.kinds[j] != "category":
            features.append(_RankedNumbers(j, values, table.kinds[j] == "date"))
            continue
        categories, counts = np.unique(values, return_counts=True)
        if len(categories) == 2:
            features.append(_OneCategory(j, values, categories[1], other=categories[0]))
            continue
        frequent = categories[counts >= tree.min_samples_leaf]
        features += [_OneCategory(j, values, category, other=None) for category in frequent]
    if not features or not is_error.any() or is_error.all():
        return []
    nodes = tree.fit(np.column_stack([f.feature for f in features]), is_error).tree_
    visited = {}

    def visit(node, region, ancestors):
        rows = region.contains(columns)
        low, _ = clopper_pearson(is_error[rows].sum(), rows.sum(), _SIGNIFICANCE_LEVEL)
        stands_out = _p_value(rows, is_error) < _SIGNIFICANCE_LEVEL
        visited[node] = _Node(is_error[rows].mean(), low, stands_out, ancestors, region)
        if nodes.children_left[node] < 0:
            return
        left, right = features[nodes.feature[node]].split(
            region,
            rows,
            nodes.threshold[node],
            bool(nodes.missing_go_to_left[node]),
        )
        visit(nodes.children_left[node], left, (node, *ancestors))
        visit(nodes.children_right[node], right, (node, *ancestors))

    visit(0, _Region(), ())
    chosen = []
    for node in sorted(visited, key=lambda node: -visited[node].low):
        if not visited[node].stands_out:
            continue
        above_chosen = {above for other in chosen for above in visited[other].ancestors}
        for parent in visited[node].ancestors:
            # A condition that does not raise the error rate is left out: the text is shorter.
            needed = visited[parent].error_rate < visited[node].low
            if needed or not visited[parent].stands_out or parent in above_chosen:
                break
            node = parent
        if not {node, *visited[node].ancestors} & {*chosen} and node not in above_chosen:
            chosen.append(node)
    return [visited[node].region for node in chosen[:n_slices]]


def _p_value(inside, is_error):
    """Return the p-value of a higher error rate inside than elsewhere."""
    counts = [[is_error[part].sum(), (~is_error[part]).sum()] for part in (inside, ~inside)]
    return fisher_exact(counts, "greater").pvalue


def _holm(p_values):
    """Return which hypotheses are rejected at `_FAMILY_LEVEL` for all of them together."""
    p_values = np.array(p_values)
    order = np.argsort(p_values)
    is_small = p_values[order] <= _FAMILY_LEVEL / np.arange(len(order), 0, -1)
    is_rejected = np.zeros(len(order), dtype=bool)
    is_rejected[order] = np.logical_and.accumulate(is_small)
    return is_rejected


class _Node(NamedTuple):
    """A node of the tree; `low` bounds its error rate, and the nearest ancestor is the first."""

    error_rate: float
    low: float
    stands_out: bool
    ancestors: tuple
    region: _Region


def _evaluate(region, table, columns, is_error, confidence_level):
    """Return the region as a slice, with the errors of held-out rows."""
    inside = region.contains(columns)
    error_rate = is_error[inside].mean() if inside.any() else np.nan
    rate_elsewhere = is_error[~inside].mean() if not inside.all() else np.nan
    n_samples, n_errors = int(inside.sum()), int(is_error[inside].sum())
    low, high = clopper_pearson(n_errors, n_samples, (1 - confidence_level) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = np.divide(error_rate, rate_elsewhere)
    return ErrorSlice(
        region.text(table),
        float(error_rate),
        low,
        high,
        float(lift),
        n_samples,
        n_errors,
    )
