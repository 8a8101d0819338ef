"""Choose, fit and apply the representation of X."""

from contextlib import suppress
from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from .._base_estimator.caching import Kept
from .._base_estimator.inspection import final_estimator
from .._utils import limits
from .._utils.messages import name_of, warn_caller
from .._utils.parameter_checks import is_word
from .._utils.rows import own_copy, row_chunks, take_rows
from ._numeric import NumericRepresentation, UnsupportedInputError, is_wide


def source_names(representation, X, n_columns):
    """Name the column of X behind each column of a representation.

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
        One-hot columns of one category share a name. A transformer that names no columns gives
        "component 0", "component 1", ...
    """
    if hasattr(representation, "source_names"):
        return representation.source_names(X)
    if isinstance(representation, Pipeline) and hasattr(representation[0], "is_computed_by"):
        return [f"hidden layer component {j}" for j in range(n_columns)]
    try:
        names = [str(name) for name in representation.get_feature_names_out()]
    except (AttributeError, ValueError):
        names = []
    return names if len(names) == n_columns else [f"component {j}" for j in range(n_columns)]


def is_of_images(representation):
    """Return whether the columns of a representation are principal components of images.

    Parameters
    ----------
    representation : fitted transformer or None
        From `fit_representation`.

    Returns
    -------
    is_of_images : bool
    """
    return getattr(representation, "is_of_images_", False)


def check_representation(representation):
    """Raise unless a representation is "auto", an unfitted or fitted transformer, or None."""
    if representation is None or is_word(representation, "auto"):
        return
    names = ("fit", "transform", "get_params")
    missing = [name for name in names if not hasattr(representation, name)]
    advice = ""
    if isinstance(representation, type):
        advice = f" Pass an instance: {representation.__name__}()."
    elif callable(representation) and missing:
        advice = " Wrap a function: sklearn.preprocessing.FunctionTransformer(f)."
    elif missing and not isinstance(representation, str):
        advice = f" It has no {' and no '.join(missing)}."
    if missing or isinstance(representation, type):
        raise ValueError(
            f'representation must be "auto", a transformer or None, got {representation!r}.{advice}'
        )


def fit_representation(representation, X, *, seed=0, hidden=None, kept=None):
    """Fit a representation on X.

    Parameters
    ----------
    representation : {"auto"}, transformer or None
        A transformer is cloned and fitted without labels.
    X : any
        Rows.
    seed : int, default=0
        Random state of the "auto" representation.
    hidden : ndarray of shape (n_samples, n_units), default=None
        Values of the net's hidden layer for X, if they are already computed. The representation
        then begins with the `TorchEmbedding` of this layer, and only the steps after it are fitted.
    kept : Kept, default=None
        Keeps the fitted representation, unless it starts from a hidden layer. None keeps nothing.

    Returns
    -------
    representation : fitted transformer or None
    reason : str or None
        Why there is no representation, if there is none. If this kind of X has none, there is a
        warning.

    Raises
    ------
    ValueError
        If a transformer given by the user does not return one numeric row per row of X.
    """
    if representation is None:
        return None, "representation=None"
    if X is None:
        return None, "no X was given"
    check_representation(representation)
    if isinstance(representation, str):
        fit = partial(_fit_numeric, X, seed)
    else:
        fit = partial(_fit_of_user, representation, X, hidden)
    kept = Kept() if kept is None or hidden is not None else kept
    fitted, reason = kept(fit, "representation")
    # Warnings are given here, because what is kept is not fitted again.
    if fitted is None:
        warn_caller(
            f"{reason.rstrip('.')}. Errors are predicted without neighbours and second opinion. To "
            "use them with X as it is, pass representation= with a transformer that turns X into "
            "numbers, for example TorchEmbedding(net) of a fitted skorch net. To go without them, "
            "pass representation=None."
        )
    elif isinstance(representation, str):
        fitted.warn_of_left_out()
    return fitted, reason


def _fit_numeric(X, seed):
    try:
        return NumericRepresentation(random_state=seed).fit_without_warning(X), None
    except UnsupportedInputError as error:
        return None, str(error)


def _fit_of_user(representation, X, hidden):
    representation = clone(representation)
    if hidden is None:
        is_of_net = hasattr(_split_first_step(representation)[0], "is_computed_by")
        representation.fit(X if is_of_net else own_copy(X))
    else:
        embedding, rest = _split_first_step(representation)
        embedding.fit(X)
        rest.fit(hidden)
    represent(representation, take_rows(X, slice(0, 1)))
    return representation, None


def net_representation(representation, estimator, X):
    """Choose the representation for a base that is deployed as it was evaluated.

    The hidden layer of a net predicts its errors on images better than the pixels do, and it exists
    for any X, such as a dict of inputs. For columns of a table and for texts, "auto" is the better
    choice.

    Parameters
    ----------
    representation : "auto", transformer or None
        Choice of the user; only "auto" is replaced.
    estimator : fitted classifier
        The base, which must not have been trained on X.
    X : any
        Rows.

    Returns
    -------
    representation : "auto", transformer or None
        For "auto", a net with a linear layer, and any X but columns of a table and texts: the net's
        last hidden layer, projected if it has more than 200 units. Else the choice of the user.
    """
    if not is_word(representation, "auto"):
        return representation
    net = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
    if not hasattr(net, "module_"):
        return "auto"
    with suppress(UnsupportedInputError):
        if not is_wide(X):
            return "auto"
    from ..neural import TorchEmbedding

    try:
        embedding = TorchEmbedding(net).fit(X)
    except Exception as error:  # a module may do anything
        warn_caller(
            f"The hidden layer of {name_of(net)} cannot be read, and X itself is "
            f"represented instead: {error} Pass representation=TorchEmbedding(net, "
            'layer="name of a submodule") to choose one, or representation=None for none.'
        )
        return "auto"
    if len(embedding.get_feature_names_out()) > limits.MAX_COLUMNS:
        return make_pipeline(embedding, NumericRepresentation(random_state=0))
    return embedding


def shared_with(representation, estimator):
    """Return the part of a representation that a net computes when it predicts.

    Parameters
    ----------
    representation : transformer or None
        Fitted or not.
    estimator : fitted classifier
        The base.

    Returns
    -------
    embedding : TorchEmbedding or None
        None if the net does not compute it when it predicts.
    rest : transformer or None
        Turns the embedding into the representation.
    """
    embedding, rest = _split_first_step(representation)
    if hasattr(embedding, "is_computed_by") and embedding.is_computed_by(estimator):
        return embedding, rest
    return None, None


def is_hidden_layer_of(representation, estimator):
    """Return whether a representation is made of a hidden layer of the net that predicts.

    Parameters
    ----------
    representation : transformer or None
        Fitted or not.
    estimator : fitted classifier or None
        The base: a net, or a wrapper or Pipeline that ends in one.

    Returns
    -------
    is_hidden_layer : bool
        Also True where `shared_with` returns None, because the layer takes a further pass.
    """
    net, steps = final_estimator(estimator), [representation]
    if isinstance(representation, Pipeline):
        steps = [step for _, step in representation.steps]
    return any(
        hasattr(step, "is_computed_by") and final_estimator(step.net) is net for step in steps
    )


def _split_first_step(representation):
    """Return the first step of a representation, and the steps after it as a transformer."""
    if isinstance(representation, Pipeline):
        return representation[0], representation[1:]
    return representation, FunctionTransformer()


def represent(representation, X, rows=None):
    """Compute the representation of X in chunks.

    Parameters
    ----------
    representation : fitted transformer
        From `fit_representation`.
    X : any
        Rows.
    rows : ndarray of int, default=None
        Positions of the rows to represent; None takes all.

    Returns
    -------
    Z : ndarray of shape (n_samples, n_columns), float32

    Raises
    ------
    ValueError
        If the representation does not return one numeric row per row of X.
    """
    chunks = []
    is_own = isinstance(representation, NumericRepresentation)
    for batch, part in row_chunks(X, rows=rows):
        Z = representation.transform(part if is_own else own_copy(part))
        Z = Z.toarray() if hasattr(Z, "toarray") else np.asarray(Z)
        if Z.ndim != 2 or len(Z) != batch.stop - batch.start or Z.dtype.kind not in "fiub":
            raise ValueError(
                "representation must turn n rows into a numeric matrix with n rows, got "
                f"shape {Z.shape} and dtype {Z.dtype} for {batch.stop - batch.start} rows. "
                "Flatten images, encode categories."
            )
        # Infinite values count as missing. The largest float would have no finite distance.
        with np.errstate(over="ignore"):
            Z = Z.astype(np.float32, copy=False)
        chunks.append(np.nan_to_num(Z, posinf=0.0, neginf=0.0))
    if not chunks:
        return representation.transform(X if rows is None else take_rows(X, rows))
    return np.concatenate(chunks) if len(chunks) > 1 else chunks[0]
