"""Turn any X into one numeric matrix in which distances mean something."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._compat import num_samples, safe_indexing
from ._utils import limits
from ._utils.columns import (
    category_names,
    column_names,
    columns_of,
    is_numeric,
    read_float,
    to_float,
)
from ._utils.rows import as_array, is_lazy, row_chunks, rows_at_once
from ._utils.threads import one_thread_of_blas
from ._utils.validation import is_missing

# Beyond this many columns nearest neighbours cost more than they tell.
_MAX_COLUMNS = 200


class UnsupportedInputError(ValueError):
    """X is of a kind that has no numeric representation."""


class NumericRepresentation(TransformerMixin, BaseEstimator):
    """Represent any X as a dense float32 matrix, without looking at labels.

    Numbers are imputed by the median and standardised; categories, strings and booleans of a frame
    are one-hot encoded; images and other wide arrays are flattened and projected on principal
    components; sparse matrices and lists of strings on singular vectors. A missing text is empty,
    a missing category one of its own, and a cell without a number where numbers were is missing.

    Parameters
    ----------
    n_components : int, default=40
        Number of components where X is projected.

    random_state : int, RandomState instance or None, default=None
        Seed of the projections and of the rows they are fitted on (at most 20,000).

    Attributes
    ----------
    kind_ : {"frame", "array", "wide", "sparse", "text"}
        What X was taken for.

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
            Any kind of input.
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
        self.kind_ = _kind(X)
        n_samples = num_samples(X)
        n_rows = min(
            limits.MAX_FIT_ROWS, max(10 * self.n_components, rows_at_once(X, bytes_per_cell=16))
        )
        if n_samples > n_rows:
            random_state = check_random_state(self.random_state)
            X = safe_indexing(X, random_state.choice(n_samples, n_rows, replace=False))
        X = as_array(X)
        self._is_image = self.kind_ == "wide" and np.ndim(X) > 2
        self._start(X)
        self._n_features_out = self._transform_chunk(safe_indexing(X, slice(0, 1))).shape[1]
        return self

    def transform(self, X):
        """Represent the rows of X.

        Parameters
        ----------
        X : as in fit
            Rows of the same kind.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_features_out), float32
        """
        check_is_fitted(self)
        if num_samples(X) == 0:  # of what kind no row tells
            return np.empty((0, self._n_features_out), dtype=np.float32)
        X = self._as_in_fit(X)
        chunks = [self._transform_chunk(as_array(part)) for _, part in row_chunks(X)]
        return np.concatenate(chunks)

    def _as_in_fit(self, X):
        """Take numbers for a frame of numbers and the other way round; refuse other kinds."""
        kind = _kind(X)
        if kind == self.kind_:
            return X
        if self.kind_ == "frame" and kind in ("array", "wide") and all(self._numeric):
            if np.ndim(X) == 2:
                return X
        elif kind == "frame" and self.kind_ in ("array", "wide") and not self._is_image:
            columns = columns_of(X)
            if len(columns) == self._n_columns and all(map(is_numeric, columns)):
                return np.column_stack([to_float(column) for column in columns])
        raise ValueError(
            f"X is of kind {kind!r}, but the representation was fitted on kind {self.kind_!r}. "
            "Pass X as in fit."
        )

    def _start(self, X):
        if self.kind_ == "frame":
            self._names = column_names(X)
            self._numeric = [is_numeric(column) for column in columns_of(X)]
            numeric, categorical = self._split_frame(X)
            self._scaler = make_pipeline(_Imputer(), StandardScaler())
            # Two rows of another category are then sqrt(2) apart: as far as two numbers that
            # differ by 1.4 standard deviations. Rare categories get no larger weight.
            self._encoder = OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                max_categories=20,
                sparse_output=False,
                dtype=np.float32,
            )
            if numeric.shape[1]:
                self._scaler.fit(numeric)
            if categorical.shape[1]:
                self._encoder.fit(categorical)
            return
        if self.kind_ == "text":
            self._vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=50_000)
            try:
                X = self._vectorizer.fit_transform(_texts(X))
            except ValueError as error:  # no word of two letters
                raise UnsupportedInputError(f"X is text without words: {error}") from error
        if self.kind_ in ("sparse", "text"):
            self._projection = self._fit_projection(TruncatedSVD, _without_missing(X))
            return
        flat = _flatten(X, self.kind_)
        self._n_columns = flat.shape[1]
        self._imputer = _Imputer().fit(flat)
        flat = self._imputer.transform(flat)
        if self.kind_ == "wide":
            # Columns keep their scale: in an image the pixels that vary are those that tell.
            self._projection = self._fit_projection(PCA, flat)
        else:
            self._scaler = StandardScaler().fit(flat)

    def _fit_projection(self, projection, X):
        n_components = min(self.n_components, *(side - 1 for side in X.shape))
        if n_components < 1:
            raise UnsupportedInputError(f"X of shape {X.shape} is too small to be projected")
        return projection(n_components, random_state=self.random_state).fit(X)

    def _transform_chunk(self, X):
        if self.kind_ == "frame":
            numeric, categorical = self._split_frame(X)
            parts = []
            if numeric.shape[1]:
                parts.append(self._scaler.transform(numeric))
            if categorical.shape[1]:
                parts.append(self._encoder.transform(categorical))
            Z = np.hstack(parts)
        elif self.kind_ == "text":
            Z = self._projection.transform(self._vectorizer.transform(_texts(X)))
        elif self.kind_ == "sparse":
            Z = self._projection.transform(_without_missing(X))
        else:
            flat = self._imputer.transform(_flatten(X, self.kind_))
            if self.kind_ == "wide":
                # How many threads there are decides how sums are rounded. And where rows are judged
                # in threads, these have the cores.
                with one_thread_of_blas():
                    Z = self._projection.transform(flat)
            else:
                Z = self._scaler.transform(flat)
        # One wild value must not decide all distances of its row.
        limit = 10 * (np.sqrt(Z.shape[1]) if self.kind_ == "wide" else 1)
        return np.clip(Z, -limit * self._scale(), limit * self._scale()).astype(np.float32)

    def _scale(self):
        if self.kind_ in ("frame", "array"):
            return 1.0
        return max(float(np.sqrt(np.max(self._projection.explained_variance_))), 1e-12)

    def _split_frame(self, X):
        columns, n_samples = columns_of(X, self._names), num_samples(X)
        numeric = [read_float(c) for c, is_num in zip(columns, self._numeric) if is_num]
        categorical = [category_names(c) for c, is_num in zip(columns, self._numeric) if not is_num]
        return (
            np.column_stack(numeric) if numeric else np.empty((n_samples, 0)),
            np.column_stack(categorical) if categorical else np.empty((n_samples, 0)),
        )

    def _source_names(self, X, n_columns):
        if self.kind_ == "array":
            return column_names(X)
        if self.kind_ != "frame":
            return [f"component {j}" for j in range(n_columns)]
        numeric = [name for name, is_num in zip(self._names, self._numeric) if is_num]
        categorical = [name for name, is_num in zip(self._names, self._numeric) if not is_num]
        if categorical:
            positions = [str(j) for j in range(len(categorical))]
            encoded = self._encoder.get_feature_names_out(positions)  # "position_category"
            categorical = [categorical[int(name.partition("_")[0])] for name in encoded]
        return numeric + categorical


class _Imputer(SimpleImputer):
    """Impute by the median, columns without any value included; infinities count as missing."""

    def __init__(self):
        super().__init__(strategy="median", keep_empty_features=True)

    def fit(self, X, y=None):
        return super().fit(self._finite(X))

    def transform(self, X):
        # Images have nothing to impute, and to look for it column by column is slow.
        return X if _all_finite(X) else super().transform(self._finite(X))

    @staticmethod
    def _finite(X):
        return X if _all_finite(X) else np.where(np.isinf(X), np.nan, X)


def _all_finite(X):
    # A sum tells mostly, in half of the time. scikit-learn's check may be switched off by the user.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(X.sum()) or np.isfinite(X).all())


def _without_missing(X):
    """Return a sparse matrix in which what is not finite is 0, its most frequent value."""
    X = X.tocsr()
    if np.isfinite(X.data).all():
        return X
    X = X.copy()
    X.data = np.nan_to_num(X.data, nan=0.0, posinf=0.0, neginf=0.0)
    return X


def _kind(X):
    if hasattr(X, "tocsr"):
        return "sparse"
    if hasattr(X, "columns"):
        return "frame"
    if is_lazy(X):
        return _kind(as_array(X[:1]))
    if isinstance(X, (list, tuple)) and _are_texts(X):
        return "text"
    if isinstance(X, (list, tuple)) or hasattr(X, "__array__"):
        try:
            array = np.asarray(X)
        except ValueError as error:  # rows of different length
            raise UnsupportedInputError(f"X has no numeric representation: {error}") from error
        if array.ndim == 1 and array.dtype.kind in "OUT" and _are_texts(array):
            return "text"
        if array.ndim == 2 and array.dtype.kind == "O":
            return "frame"
        if array.ndim >= 2 and array.dtype.kind in "fiub":
            return "array" if array.ndim == 2 and array.shape[1] <= _MAX_COLUMNS else "wide"
    raise UnsupportedInputError(f"X of type {type(X).__name__} has no numeric representation")


def _are_texts(values):
    """Tell whether the first value that is not missing is a text, or all are missing."""
    known = (v for v in values if hasattr(v, "__len__") or not is_missing(v))
    return len(values) > 0 and isinstance(next(known, ""), str)


def _texts(X):
    return [text if isinstance(text, str) or not is_missing(text) else "" for text in X]


def _flatten(X, kind):
    """Return rows of numbers; those of a table in double precision until they are centred."""
    X = np.asarray(X)
    dtype = np.float64 if kind == "array" else np.float32
    return np.asarray(X.reshape(len(X), -1), dtype=dtype)


def source_names(representation, X, n_columns):
    """Name the column of X behind each column of a representation, else the component it is.

    Parameters
    ----------
    representation : fitted transformer
        From `fit_representation`.
    X : any
        Rows as in fit.
    n_columns : int
        Number of columns of the representation.

    Returns
    -------
    names : list of str, of length n_columns
        One-hot columns of one category share a name.
    """
    if isinstance(representation, NumericRepresentation):
        return representation._source_names(X, n_columns)
    try:
        names = [str(name) for name in representation.get_feature_names_out()]
    except (AttributeError, ValueError):
        names = []
    return names if len(names) == n_columns else [f"component {j}" for j in range(n_columns)]


def is_of_images(representation):
    """Tell whether the columns are principal components of images.

    Parameters
    ----------
    representation : fitted transformer or None
        From `fit_representation`.

    Returns
    -------
    is_of_images : bool
    """
    return isinstance(representation, NumericRepresentation) and representation._is_image


def fit_representation(representation, X, *, seed=0, hidden=None):
    """Fit a representation on X.

    Parameters
    ----------
    representation : {"auto"}, transformer or None
        A transformer is cloned and fitted without labels.
    X : any
        Rows.
    seed : int, default=0
        Random state of the "auto" representation.
    heard : ndarray of shape (n_samples, n_units), default=None
        What the embedding that the representation begins with makes of X, where that is known.

    Returns
    -------
    representation : fitted transformer or None
    reason : str or None
        Why there is none.

    Raises
    ------
    ValueError
        If a transformer given by the user does not return one numeric row per row of X.
    """
    if representation is None:
        return None, "representation=None"
    if X is None:
        return None, "no X was given"
    if isinstance(representation, str):
        if representation != "auto":
            raise ValueError(
                f'representation must be "auto", a transformer or None, got {representation!r}.'
            )
        try:
            return NumericRepresentation(random_state=seed).fit(X), None
        except UnsupportedInputError as error:
            return None, str(error)
    representation = clone(representation)
    if hidden is None:
        representation.fit(X)
    else:
        embedding, rest = _parted(representation)
        embedding.fit(X)
        rest.fit(hidden)
    represent(representation, safe_indexing(X, slice(0, 1)))
    return representation, None


def net_representation(estimator, X):
    """Choose how a deployed net looks at rows that it has not seen.

    What a net makes of an image tells more about its errors than pixels do. Columns of a table
    and text are left to "auto".

    Parameters
    ----------
    estimator : fitted classifier
        The base, which must not have trained on X.
    X : any
        Rows.

    Returns
    -------
    representation : transformer or "auto"
        The net's last hidden layer, projected where it is wide; "auto" where there is none.
    """
    net = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
    if not hasattr(net, "module_"):
        return "auto"
    try:
        if _kind(X) != "wide":
            return "auto"
        from .neural import TorchEmbedding

        embedding = TorchEmbedding(net).fit(X)
    except ValueError:  # no kind, or no linear layer
        return "auto"
    if len(embedding.get_feature_names_out()) > _MAX_COLUMNS:
        return make_pipeline(embedding, NumericRepresentation(random_state=0))
    return embedding


def shared_with(representation, estimator):
    """Return the part of a representation that a deployed net computes while it is asked.

    Parameters
    ----------
    representation : transformer or None
        Fitted or not.
    estimator : fitted classifier
        The base.

    Returns
    -------
    embedding : TorchEmbedding or None
        None where rows need a pass of their own.
    rest : transformer or None
        What makes the representation of the embedding.
    """
    embedding, rest = _parted(representation)
    if hasattr(embedding, "is_computed_by") and embedding.is_computed_by(estimator):
        return embedding, rest
    return None, None


def _parted(representation):
    """Return the first step of a representation, and what follows it."""
    if isinstance(representation, Pipeline):
        return representation[0], representation[1:]
    return representation, FunctionTransformer()


def represent(representation, X, rows=None):
    """Return (some) rows of X as a dense float32 matrix, in chunks."""
    chunks = []
    for batch, part in row_chunks(X, rows=rows):
        Z = representation.transform(part)
        Z = Z.toarray() if hasattr(Z, "toarray") else np.asarray(Z)
        if Z.ndim != 2 or len(Z) != batch.stop - batch.start or Z.dtype.kind not in "fiub":
            raise ValueError(
                "representation must turn n rows into a numeric matrix with n rows, got "
                f"shape {Z.shape} and dtype {Z.dtype} for {batch.stop - batch.start} rows. "
                "Flatten images, encode categories."
            )
        chunks.append(np.nan_to_num(Z.astype(np.float32, copy=False)))
    if not chunks:
        return representation.transform(X if rows is None else safe_indexing(X, rows))
    return np.concatenate(chunks) if len(chunks) > 1 else chunks[0]
