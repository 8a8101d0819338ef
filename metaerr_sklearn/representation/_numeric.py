"""Represent any X as one numeric matrix, with one class for each kind of X."""

from collections.abc import Mapping

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._compat import num_samples
from .._utils import limits
from .._utils.columns import Columns, category_names, column_names, is_frame
from .._utils.in_memory import check_in_memory
from .._utils.labels import is_missing
from .._utils.messages import warn_caller
from .._utils.rows import (
    as_array,
    evenly_spaced,
    is_lazy,
    row_chunks,
    rows_at_once,
    take_rows,
)
from .._utils.threads import one_thread_of_blas

# So many rows of a Dataset show whether its rows have different shapes.
_N_COMPARED_ROWS = 20


class UnsupportedInputError(ValueError):
    """X is of a kind that has no numeric representation."""


class NumericRepresentation(TransformerMixin, BaseEstimator):
    """Represent any X as a dense float32 matrix, without labels.

    The kind of X decides which of scikit-learn's transformers are used:

    - "frame": numbers, dates and times are imputed by the median and standardised; categories,
      strings and booleans are one-hot encoded, and a missing category is a category of its own. A
      column of vectors of one length is as many columns of numbers, and is projected on principal
      components if it has more than 200;
    - "array": numbers of a table are imputed by the median and standardised;
    - "wide": images and tables of more than 200 columns are flattened, imputed by the median and
      projected on principal components;
    - "sparse": a sparse matrix is projected on singular vectors;
    - "text": texts are weighted by TF-IDF and projected on singular vectors. A missing text is an
      empty text.

    The values of a column decide what it holds, not its dtype: dates, for example, may be objects.
    Infinite values count as missing. In a numeric column of a frame, so does a cell that is no
    number.

    Parameters
    ----------
    n_components : int, default=40
        Number of components, for the kinds that are projected.

    random_state : int, RandomState instance or None, default=None
        Seed of the projections and of the sample of rows on which they are fitted (at most
        20,000).

    Attributes
    ----------
    kind_ : {"frame", "array", "wide", "sparse", "text"}
        Kind of X in `fit`.

    is_of_images_ : bool
        Whether the columns are principal components of images.

    left_out_ : dict of str to str
        Why a column of a frame is left out, by its name. There is a warning if it is not empty.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn.representation import NumericRepresentation
    >>> images = np.zeros((5, 1, 8, 8)); images[:2] = 1
    >>> NumericRepresentation(n_components=2, random_state=0).fit_transform(images).shape
    (5, 2)
    """

    def __init__(self, n_components=40, random_state=None):
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X, y=None):
        """Fit the representation on the rows of X; `y` is ignored.

        Parameters
        ----------
        X : frame, array, sparse matrix or list of str, of length n_samples
            Rows of any kind.
        y : None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        UnsupportedInputError
            If X is of another kind.
        """
        self.fit_without_warning(X)
        self.warn_of_left_out()
        return self

    def fit_without_warning(self, X):
        """Fit as `fit` does, without its warning.

        Parameters
        ----------
        X : any, of length n_samples
            Rows.

        Returns
        -------
        self : object
        """
        kind = _find_kind(X)()
        n_samples = num_samples(X)
        n_rows = min(
            limits.MAX_FIT_ROWS, max(10 * self.n_components, rows_at_once(X, bytes_per_cell=16))
        )
        if n_samples > n_rows:
            random_state = check_random_state(self.random_state)
            X = take_rows(X, random_state.choice(n_samples, n_rows, replace=False))
        X = _as_equal_rows(X)
        # If all rows are equal, the share of variance of a component is 0 / 0.
        with np.errstate(divide="ignore", invalid="ignore"):
            kind.fit(X, self.n_components, self.random_state)
        self._kind, self.kind_, self.is_of_images_ = kind, kind.name, kind.is_of_images
        self.left_out_ = kind.left_out or {}
        self._n_features_out = self._transform_chunk(take_rows(X, slice(0, 1))).shape[1]
        return self

    def warn_of_left_out(self):
        """Warn if columns of X are left out."""
        if self.left_out_:
            reasons = "; ".join(f"{name!r}: {why}" for name, why in self.left_out_.items())
            warn_caller(
                f"Columns of X that are left out of its representation: {reasons}. To use them, "
                "turn them into numbers or texts, or pass a representation= of your own."
            )

    def transform(self, X):
        """Represent the rows of X.

        Parameters
        ----------
        X : as in fit
            Rows of the same kind. A frame of numbers may replace an array and the other way round.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_features_out), float32

        Raises
        ------
        ValueError
            If X is of another kind than in `fit`.
        """
        check_is_fitted(self)
        check_in_memory(X)
        if num_samples(X) == 0:  # without a row, the kind of X is unknown
            return np.empty((0, self._n_features_out), dtype=np.float32)
        X = self._as_in_fit(X)
        chunks = [self._transform_chunk(as_array(part)) for _, part in row_chunks(X)]
        return np.concatenate(chunks)

    def projection_distances(self, X):
        """Measure how far rows are from the training rows within and outside the projection.

        Parameters
        ----------
        X : as in fit
            Rows of the same kind. The kind must be a projected one: "wide", "sparse" or "text".

        Returns
        -------
        distances : ndarray of shape (n_samples, 2)
            The distance of the projected row from the centre, in units of the deviations of the
            components, and the distance between the row and its projection.
        """
        check_is_fitted(self)
        chunks = [self._measure_chunk(as_array(part)) for _, part in row_chunks(self._as_in_fit(X))]
        return np.concatenate(chunks) if chunks else np.empty((0, 2))

    def source_names(self, X):
        """Name the column of X behind each column of the representation.

        Parameters
        ----------
        X : as in fit
            Rows. The names of the columns of an array are those of `X`.

        Returns
        -------
        names : list of str, of length n_features_out
            One-hot columns of one category share a name. Projected columns are components.
        """
        check_is_fitted(self)
        return self._kind.source_names(X, self._n_features_out)

    def _as_in_fit(self, X):
        kind = _find_kind(X).name
        if kind == self.kind_:
            return X
        converted = self._kind.from_other_kind(X, kind)
        if converted is None:
            raise ValueError(
                f"X is of kind {kind!r}, but the representation was fitted on kind "
                f"{self.kind_!r}. Pass X as in fit."
            )
        return converted

    def _transform_chunk(self, X):
        Z = self._kind.transform(X)
        # One extreme value must not decide all distances of its row.
        limit = self._kind.largest_value(Z.shape[1])
        return np.clip(Z, -limit, limit).astype(np.float32)

    def _measure_chunk(self, X):
        Z = np.asarray(self._kind.transform(X), dtype=np.float64)
        deviation = self._kind.pipeline[-1].singular_values_
        deviation = np.maximum(deviation, max(1e-3 * deviation.max(), 1e-12))
        squared_length = self._kind.squared_length(X)
        # A smaller difference is rounding noise.
        outside = np.maximum(squared_length - (Z**2).sum(axis=1), 1e-5 * squared_length)
        return np.sqrt(np.column_stack([((Z / deviation) ** 2).sum(axis=1), outside]))


class _Kind:
    """A kind of X, and the pipeline of scikit-learn's transformers that represents it.

    A new kind is a subclass with `name`, `accepts` and `fit`, and its entry in `_KINDS`.
    """

    name = None
    is_of_images = False
    #: Whether the pipeline ends in a projection, and `squared_length` exists.
    is_projected = False
    left_out = None

    @staticmethod
    def accepts(X):
        """Return whether X, prepared by `_find_kind`, is of this kind."""
        raise NotImplementedError

    def read(self, X):
        """Return the rows in the form that the pipeline expects."""
        return X

    def fit(self, X, n_components, random_state):
        """Fit `pipeline` on rows."""
        raise NotImplementedError

    def transform(self, X):
        """Return the rows as a matrix."""
        return self.pipeline.transform(self.read(X))

    def largest_value(self, n_columns):
        """Return the absolute value at which the cells of the matrix are clipped."""
        return 10.0  # standard deviations of a column

    def source_names(self, X, n_columns):
        """Name the column of X behind each column of the matrix."""
        return [f"component {j}" for j in range(n_columns)]

    def from_other_kind(self, X, kind):
        """Return rows of another kind as rows of this one, or None if there is no safe way."""
        return None


class _Sparse(_Kind):
    name = "sparse"
    is_projected = True

    @staticmethod
    def accepts(X):
        return hasattr(X, "tocsr")

    def read(self, X):
        return _without_missing(X)

    def fit(self, X, n_components, random_state):
        X = self.read(X)
        projection = TruncatedSVD(_n_components(X, n_components), random_state=random_state)
        self.pipeline = make_pipeline(projection).fit(X)

    def largest_value(self, n_columns):
        return 10 * _largest_deviation(self.pipeline[-1])

    def squared_length(self, X):
        """Return the squared length of each row before the projection, as float64."""
        X = self.read(X).astype(np.float64)
        return np.asarray(X.multiply(X).sum(axis=1)).ravel()


class _Text(_Sparse):
    name = "text"

    @staticmethod
    def accepts(X):
        if isinstance(X, np.ndarray) and (X.ndim != 1 or X.dtype.kind not in "OUT"):
            return False
        return isinstance(X, (list, tuple, np.ndarray)) and _are_texts(X)

    def read(self, X):
        X = X.to_pylist() if hasattr(X, "to_pylist") else X  # pyarrow's own texts are no str
        return ["" if is_missing(text) else text for text in X]

    def fit(self, X, n_components, random_state):
        vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=50_000)
        try:
            weights = vectorizer.fit_transform(self.read(X))
        except ValueError as error:  # no word of two letters
            raise UnsupportedInputError(f"X is text without words: {error}") from error
        # The number of words limits the number of components, so that the steps are fitted in turn.
        projection = TruncatedSVD(_n_components(weights, n_components), random_state=random_state)
        self.pipeline = make_pipeline(vectorizer, projection.fit(weights))

    def squared_length(self, X):
        """Return 1, the length of TF-IDF weights, also for texts without a known word."""
        return np.ones(len(X))


class _Frame(_Kind):
    """Columns of numbers and of categories, each with its own transformers.

    scikit-learn's `ColumnTransformer` is not used: it requires a frame whose columns it selects by
    name or one matrix of one dtype, whereas columns are read here from any library, from an array
    of objects, and by position if names repeat.
    """

    name = "frame"

    @staticmethod
    def accepts(X):
        is_table_of_objects = isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind == "O"
        return is_frame(X) or is_table_of_objects

    def fit(self, X, n_components, random_state):
        self.columns = Columns(X)
        self.left_out = self.columns.left_out
        if not self.columns.parts:
            raise UnsupportedInputError(f"no column of X can be used: {self.left_out}")
        self.projections = {}
        for j, (_, kind, values) in enumerate(self._parts(X)):
            if kind == "vector":
                self.projections[j] = _Wide()
                self.projections[j].fit(values, n_components, random_state)
        self.scaler = make_pipeline(_Imputer(), StandardScaler())
        # Two rows of another category are then sqrt(2) apart: as far as two numbers that differ by
        # 1.4 standard deviations. Rare categories get no larger weight.
        self.encoder = OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            max_categories=20,
            sparse_output=False,
            dtype=np.float32,
        )
        numbers, categories, _ = self._read(X)
        if numbers:
            self.scaler.fit(np.column_stack(numbers))
        if categories:
            self.encoder.fit(np.column_stack(categories))

    def transform(self, X):
        numbers, categories, parts = self._read(X)
        if categories:
            parts.insert(0, self.encoder.transform(np.column_stack(categories)))
        if numbers:
            parts.insert(0, self.scaler.transform(np.column_stack(numbers)))
        return np.hstack(parts)

    def source_names(self, X, n_columns):
        numbers, categories, vectors = [], [], []
        for j, (name, kind) in enumerate(self.columns.parts):
            if kind == "vector":
                n_components = self.projections[j].pipeline[-1].n_components_
                vectors += [f"{name}: component {k}" for k in range(n_components)]
            else:
                (categories if kind == "category" else numbers).append(name)
        if categories:
            positions = [str(j) for j in range(len(categories))]
            encoded = self.encoder.get_feature_names_out(positions)  # "position_category"
            categories = [categories[int(name.partition("_")[0])] for name in encoded]
        return numbers + categories + vectors

    def from_other_kind(self, X, kind):
        """Return an array as it is if every column of the frame holds single numbers."""
        is_table = kind in (_Array.name, _Wide.name) and np.ndim(X) == 2
        return X if is_table and self.columns.are_numbers() else None

    def _parts(self, X):
        return [(*part, values) for part, values in zip(self.columns.parts, self.columns.read(X))]

    def _read(self, X):
        """Return the columns of numbers, those of categories, and the projected vectors."""
        numbers, categories, vectors = [], [], []
        for j, (_, kind, values) in enumerate(self._parts(X)):
            if kind == "category":
                categories.append(category_names(values))
            elif kind == "vector":
                # The first component varies as much as a column of numbers.
                projection = self.projections[j]
                scale = _largest_deviation(projection.pipeline[-1])
                vectors.append(projection.transform(values) / scale)
            else:
                numbers.append(values)
        return numbers, categories, vectors


class _Numbers(_Kind):
    """Arrays of numbers: a subclass has their `dtype` and `_make_pipeline`."""

    def read(self, X):
        X = np.asarray(X)
        return np.asarray(X.reshape(len(X), -1), dtype=self.dtype)

    def fit(self, X, n_components, random_state):
        self.is_of_images = np.ndim(X) > 2
        X = self.read(X)
        self.n_columns = X.shape[1]
        self.pipeline = self._make_pipeline(X, n_components, random_state).fit(X)

    def from_other_kind(self, X, kind):
        """Return a frame of numbers as an array; its columns are read by position."""
        if kind == _Frame.name and not self.is_of_images:
            columns = Columns(X)
            if len(columns.names) == self.n_columns and columns.are_numbers():
                return np.column_stack(columns.read(X))
        return None


class _Array(_Numbers):
    name = "array"
    # In single precision, columns far from zero would lose their differences before centring.
    dtype = np.float64

    @staticmethod
    def accepts(X):
        return _Wide.accepts(X) and X.ndim == 2 and X.shape[1] <= limits.MAX_COLUMNS

    def _make_pipeline(self, X, n_components, random_state):
        return make_pipeline(_Imputer(), StandardScaler())

    def source_names(self, X, n_columns):
        return column_names(X)


class _Wide(_Numbers):
    name = "wide"
    is_projected = True
    dtype = np.float32

    @staticmethod
    def accepts(X):
        return isinstance(X, np.ndarray) and X.ndim >= 2 and X.dtype.kind in "fiub"

    def _make_pipeline(self, X, n_components, random_state):
        # Columns keep their scale: the pixels of an image that vary most carry most information.
        projection = PCA(_n_components(X, n_components), random_state=random_state)
        return make_pipeline(_Imputer(), projection)

    def transform(self, X):
        # The number of threads decides how sums are rounded. If rows are predicted in threads,
        # these already use the cores.
        with one_thread_of_blas():
            return super().transform(X)

    def largest_value(self, n_columns):
        return 10 * np.sqrt(n_columns) * _largest_deviation(self.pipeline[-1])

    def squared_length(self, X):
        """Return the squared distance of each row from the centre, as float64."""
        centred = self.pipeline[:-1].transform(self.read(X)) - self.pipeline[-1].mean_
        return np.einsum("ij,ij->i", centred, centred, dtype=np.float64)


# The first kind that accepts X represents it.
_KINDS = (_Sparse, _Frame, _Text, _Array, _Wide)


def _find_kind(X):
    """Return the class of the first kind that accepts X; raise if there is none."""
    check_in_memory(X)
    given = as_array(X[:1] if is_lazy(X) else X)
    is_list = isinstance(given, (list, tuple))
    is_container = hasattr(given, "tocsr") or is_frame(given)
    # A list of texts stays as it is: as an array each text would have the size of the longest.
    is_texts = is_list and _are_texts(given)
    if not is_container and not is_texts and (is_list or hasattr(given, "__array__")):
        try:
            given = np.asarray(given)
        except ValueError as error:  # rows of different length
            raise UnsupportedInputError(f"X has no numeric representation: {error}") from error
    for kind in _KINDS:
        if kind.accepts(given):
            return kind
    reason = f"X of type {type(X).__name__} has no numeric representation"
    raise UnsupportedInputError(reason + _how_to_convert(given))


def _how_to_convert(X):
    """Return what to type for rows that are easily converted, as the end of a sentence, or ""."""
    has_rows = isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.ndim > 0)
    first = next(iter(X), None) if has_rows else None
    if isinstance(first, bytes):
        return ", because its texts are bytes. Pass [text.decode() for text in X]"
    if isinstance(first, (np.void, Mapping)):  # a record array, or a list of dicts
        return ". Pass a frame: pandas.DataFrame(X)"
    if isinstance(X, Mapping) and all(np.ndim(column) == 1 for column in X.values()):
        return ". If X is a table, pass a frame: pandas.DataFrame(X)"
    return ""


def is_wide(X):
    """Return whether X is an array of images, or has more columns than `limits.MAX_COLUMNS`.

    Raises
    ------
    UnsupportedInputError
        If this kind of X has no representation.
    """
    if is_lazy(X):
        _as_equal_rows(take_rows(X, evenly_spaced(np.arange(len(X)), _N_COMPARED_ROWS)))
    return _find_kind(X) is _Wide


def is_projected(X):
    """Return whether `NumericRepresentation` projects this kind of X; False for unknown kinds."""
    try:
        return _find_kind(X).is_projected
    except UnsupportedInputError:
        return False


def _as_equal_rows(X):
    """Return rows as `as_array` does; raise if a Dataset has rows of different shapes."""
    rows = as_array(X)
    if is_lazy(X) and rows.dtype == object and isinstance(rows[0], np.ndarray):
        shapes = sorted({np.shape(row) for row in rows}, key=lambda shape: (len(shape), shape))
        raise UnsupportedInputError(
            f"The rows of X have different shapes, {shapes[0]} to {shapes[-1]}, and no numeric "
            "representation"
        )
    return rows


def _n_components(X, n_components):
    """Return the number of components that X allows, at most `n_components`."""
    n_components = min(n_components, *(side - 1 for side in X.shape))
    if n_components < 1:
        raise UnsupportedInputError(f"X of shape {X.shape} is too small to be projected")
    return n_components


def _largest_deviation(projection):
    """Return the standard deviation of the component that varies most."""
    return max(float(np.sqrt(np.max(projection.explained_variance_))), 1e-12)


class _Imputer(SimpleImputer):
    """Impute by the median, columns without any value included; infinities count as missing."""

    def __init__(self):
        super().__init__(strategy="median", keep_empty_features=True)

    def fit(self, X, y=None):
        # SimpleImputer sorts all columns at once, with positions of 8 bytes: twice the size of X.
        # It reads the first row, for its checks of new rows.
        super().fit(self._finite(X[:1]))
        with np.errstate(invalid="ignore"):  # infinities of both signs
            self.statistics_ = np.median(X, axis=0)
        if not _all_finite(X):
            for j in np.flatnonzero(~np.isfinite(X).all(axis=0)):
                known = X[np.isfinite(X[:, j]), j]
                self.statistics_[j] = np.median(known) if len(known) else 0
        return self

    def transform(self, X):
        # Images have nothing to impute, and a search for missing values in each column is slow.
        return X if _all_finite(X) else super().transform(self._finite(X))

    @staticmethod
    def _finite(X):
        return X if _all_finite(X) else np.where(np.isinf(X), np.nan, X)


def _all_finite(X):
    # A finite sum is enough in most cases, in half of the time. scikit-learn's own check does
    # nothing if the user has set `assume_finite`.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(X.sum()) or np.isfinite(X).all())


def _without_missing(X):
    """Return a sparse matrix as CSR, with 0, its most frequent value, for NaN and infinities."""
    X = X.tocsr()
    if np.isfinite(X.data).all():
        return X
    X = X.copy()
    X.data = np.nan_to_num(X.data, nan=0.0, posinf=0.0, neginf=0.0)
    return X


def _are_texts(values):
    """Return whether the first value that is not missing is a text, or all are missing."""
    known = (value for value in values if not is_missing(value))
    return len(values) > 0 and isinstance(next(known, ""), str)
