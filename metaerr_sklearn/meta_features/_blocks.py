"""Choose the blocks of meta-features, and define the simple ones."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from .._base_estimator.adapter import adapt
from .._base_estimator.caching import Kept
from .._utils.failures import noted
from .._utils.images import holds_images
from .._utils.lightgbm import check_lightgbm
from .._utils.output_checks import as_columns
from .._utils.packages import check_importable
from .._utils.parameter_checks import check_arguments
from .._utils.probabilities import in_batches, soft_clipped_logit, split_predicted
from .._utils.rows import own_copy
from ..representation._choice import source_names
from ._base import Block
from ._neighbors import NeighborsBlock
from ._observers import ObserverBlock, is_observer, own_names
from ._second_opinion import SecondOpinionBlock


class ConfidenceBlock(Block):
    """Describe a prediction by its class probabilities."""

    name = "confidence"

    def fit_transform(self, training):
        """Choose the columns for this number of classes and describe the training rows."""
        self.n_classes_ = training.observations.proba.shape[1]
        self.names_ = ["logit_p1", "p1", "margin", "entropy", "logit_p2"]
        if self.n_classes_ > 2:
            self.names_ += ["logit_p3", "log_p1_p2"]
        return self.transform(training.observations)

    def transform(self, observations):
        """Describe new rows."""
        return in_batches(self._describe, observations.proba, observations.pred_encoded)

    def _describe(self, proba, pred_encoded):
        tiny = 1e-12
        proba_pred, proba_wrong, proba_other = split_predicted(proba, pred_encoded)
        n_top = min(2, self.n_classes_)
        top = -np.sort(-np.partition(proba_other, -n_top, axis=1)[:, -n_top:], axis=1)
        second = top[:, 0]
        p = np.maximum(proba, tiny)
        columns = [
            -soft_clipped_logit(proba_wrong, proba_pred),
            proba_pred,
            proba_pred - second,
            -(p * np.log(p)).sum(axis=1),
            -soft_clipped_logit(np.maximum(1 - second, 0), second),
        ]
        if self.n_classes_ > 2:
            third = top[:, 1]
            columns += [
                -soft_clipped_logit(np.maximum(1 - third, 0), third),
                -soft_clipped_logit(second, proba_pred),
            ]
        return np.column_stack(columns)


class PredictedClassBlock(Block):
    """Describe a prediction by its class, one-hot encoded for up to 30 classes."""

    name = "predicted_class"
    # Each clone of a net has class biases of its own.
    is_specific_to_net = True

    def fit_transform(self, training):
        """Choose the classes that get a column and describe the training rows."""
        n_classes = training.observations.proba.shape[1]
        self.classes_ = np.arange(n_classes) if n_classes <= 30 else np.arange(0)
        self.names_ = [f"predicted_{c}" for c in self.classes_]
        return self.transform(training.observations)

    def transform(self, observations):
        """Describe new rows."""
        return (observations.pred_encoded[:, None] == self.classes_).astype(float)

    def readable_names(self, X, representation):
        """Return one name for all columns."""
        return ["predicted_class"] * len(self.names_)


class InputBlock(Block):
    """Return the representation of X itself, for tree learners."""

    name = "input"
    needs_representation = True
    is_for_trees = True

    def fit_transform(self, training):
        """Name the columns and return them."""
        matrix = training.observations.representation
        self.names_ = [f"input_{j}" for j in range(matrix.shape[1])]
        return matrix

    def transform(self, observations):
        """Return the representation of new rows."""
        return observations.representation

    def readable_names(self, X, representation):
        """Return for each column the name of the column of X that it comes from."""
        sources = source_names(representation, X, len(self.names_))
        return [f"input: {source}" for source in sources]


class CustomBlock(Block):
    """Call a user's ``f(X, proba)``, or an object with ``transform(X, proba)``.

    Parameters
    ----------
    source : callable or object
        A copy is used: a clone of an estimator, a deep copy of any other object.
    number : int
        Position among the blocks, for the names of the columns.
    """

    needs_inputs = True

    def __init__(self, source, number):
        self.source = clone(source, safe=False)
        self.number = number

    def fit_transform(self, training):
        """Fit the user's object if it has ``fit``, without labels, and describe the rows."""
        observations = training.observations
        if hasattr(self.source, "fit"):
            with noted(f"fitting {_shown(self.source)} of meta_features on X and proba"):
                self.source.fit(own_copy(observations.X), own_copy(observations.proba))
        features = self.transform(observations)
        self.names_ = [f"custom{self.number}_{j}" for j in range(features.shape[1])]
        return features

    def transform(self, observations):
        """Describe new rows."""
        call = getattr(self.source, "transform", self.source)
        with noted(f"computing {_shown(self.source)} of meta_features from X and proba"):
            features = call(own_copy(observations.X), own_copy(observations.proba))
        return as_columns(features, len(observations), f"{_shown(self.source)} in meta_features")

    def readable_names(self, X, representation):
        """Return the object's own names of its columns if it has any, else their numbers."""
        names = own_names(self.source, len(self.names_))
        return (
            self.names_ if names is None else [f"{type(self.source).__name__}: {n}" for n in names]
        )


#: The blocks that users choose by name, in the order of their columns.
BLOCKS = {
    block.name: block
    for block in (
        ConfidenceBlock,
        PredictedClassBlock,
        NeighborsBlock,
        SecondOpinionBlock,
        InputBlock,
    )
}


def resolve_auto(meta_features, estimator, X):
    """Return the word that "auto" stands for, and any other value as it is.

    Parameters
    ----------
    meta_features : "auto", another word, block name, callable, or list of names and callables
        Parameter of the user.
    estimator : classifier
        The base, fitted or not.
    X : any
        Training rows.

    Returns
    -------
    meta_features : same type
        For "auto": "images" if the base is a net and X surely holds images, else "one_pass".
    """
    if not (isinstance(meta_features, str) and meta_features == "auto"):
        return meta_features
    return "images" if adapt(estimator).is_net and holds_images(X) else "one_pass"


def means_one_pass(meta_features):
    """Return whether `meta_features` is the word for all blocks without a further pass of the base.

    Without a base, this is what "auto" means.
    """
    return isinstance(meta_features, str) and meta_features in ("auto", "one_pass")


def choose_blocks(meta_features, *, for_trees, for_other_net):
    """Return the blocks in `meta_features`; "one_pass" leaves out those that would not be used.

    Parameters
    ----------
    meta_features : "one_pass", "images", block name, callable, or list of names and callables
        Parameter of the user.
    for_trees : bool
        Whether the meta-learner uses columns that are for trees only.
    for_other_net : bool
        Whether another net than the deployed one made the predictions.

    Returns
    -------
    sources : list
    """
    sources = check_meta_features(meta_features)
    if not means_one_pass(meta_features):
        return sources
    return [
        name
        for name in sources
        if not (BLOCKS[name].is_for_trees and not for_trees)
        and not (BLOCKS[name].is_specific_to_net and for_other_net)
    ]


def needs_representation(source):
    """Return whether a block in `meta_features` uses the representation of X."""
    return isinstance(source, str) and BLOCKS[source].needs_representation


def make_blocks(sources, estimator=None):
    """Make a block for each name and each object of the user.

    Parameters
    ----------
    sources : list
        From `check_meta_features`.
    estimator : fitted classifier, default=None
        The deployed base, from which observers compute meta-features of new rows.

    Returns
    -------
    blocks : list of Block
    """
    kinds, blocks = [type(source) for source in sources if is_observer(source)], []
    for number, source in enumerate(sources):
        if isinstance(source, str):
            blocks.append(BLOCKS[source]())
        elif is_observer(source):
            number = sum(map(is_observer, sources[:number]))
            blocks.append(ObserverBlock(source, number, estimator, kinds.count(type(source)) > 1))
        else:
            blocks.append(CustomBlock(source, number))
    return blocks


class FittedBlock(NamedTuple):
    """A fitted block and its columns for the training rows.

    ``of_folds`` holds the columns for each fold, made without the labels of the rows that the fold
    tests; None if they are the same as ``columns``.
    """

    block: Block
    columns: np.ndarray
    of_folds: list


def kept_for(training, memory):
    """Return a `Kept` for what depends on the training rows, but not on X itself.

    Parameters
    ----------
    training : TrainingRows
    memory : joblib.Memory or None
        The cache.

    Returns
    -------
    kept : Kept
    """
    rows = replace(training.observations.without_inputs(), observed=None)
    return Kept(memory, replace(training, observations=rows, n_jobs=None))


def fit_blocks(blocks, training, kept):
    """Fit blocks on training rows.

    Parameters
    ----------
    blocks : list of Block
        Unfitted.
    training : TrainingRows
    kept : Kept
        Keeps the costly blocks; see `kept_for`.

    Returns
    -------
    fitted : list of FittedBlock
        The blocks among them may be copies.
    """
    return [
        kept(partial(_fit_block, block, training), block)
        if block.is_costly
        else _fit_block(block, training)
        for block in blocks
    ]


def _fit_block(block, training):
    columns = block.fit_transform(training)
    of_folds = [block.transform_fold(columns, k) for k, _ in enumerate(training.folds or ())]
    block.drop_training_state()
    is_same = all(of_fold is columns for of_fold in of_folds)
    return FittedBlock(block, columns, None if is_same else of_folds)


def columns_of_fold(fitted, number):
    """Return the columns of all training rows for a fold, side by side."""
    return np.column_stack(
        [columns if of_folds is None else of_folds[number] for _, columns, of_folds in fitted]
    )


def observers_in(meta_features):
    """Return the objects in `meta_features` that observe the base, in their order."""
    return [block for block in check_meta_features(meta_features) if is_observer(block)]


def check_no_observers(meta_features):
    """Raise if `meta_features` has observers; for estimators that have no base to observe."""
    observers = observers_in(meta_features)
    if observers:
        raise ValueError(
            f"{type(observers[0]).__name__} in meta_features observes the base classifier and its "
            "clones, which only MetaErrorClassifier has. Leave it out here "
            '(pass "one_pass" in place of "images"), or use MetaErrorClassifier.'
        )


def check_meta_features(meta_features):
    """Return the blocks in `meta_features` as a list, or raise.

    Parameters
    ----------
    meta_features : "auto", "one_pass", "images", block name, callable, or list of these
        "auto" is taken for "one_pass": the choice by base and rows is made by `resolve_auto`.

    Returns
    -------
    blocks : list
    """
    if means_one_pass(meta_features):
        meta_features = list(BLOCKS)
    elif isinstance(meta_features, str) or callable(meta_features) or _is_custom(meta_features):
        meta_features = [meta_features]
    try:
        sources = list(meta_features)
    except TypeError:
        sources = []
    blocks = []
    for source in sources:
        is_images = isinstance(source, str) and source == "images"
        blocks += _blocks_of_images(sources) if is_images else [source]
    for block in blocks:
        if isinstance(block, type):  # which is callable, but returns no meta-features
            raise TypeError(
                f"meta_features holds the class {block.__name__}: pass an instance, "
                f"{block.__name__}()."
            )
        known = block in BLOCKS if isinstance(block, str) else False
        if not (known or callable(block) or _is_custom(block)):
            raise ValueError(f"Unknown meta-feature block {block!r}: {_expected_blocks()}")
        if known and block == SecondOpinionBlock.name:
            check_lightgbm('The block "second_opinion" of meta_features')
        if not known:
            _check_calls(block)
    if not blocks:
        raise ValueError(f"meta_features={meta_features!r} names no block: {_expected_blocks()}")
    return blocks


def _blocks_of_images(others):
    """Return the blocks that "images" stands for, without those that have been chosen by name."""
    check_importable(
        "torch",
        "skorch",
        user='meta_features="images"',
        instead='Or pass meta_features="one_pass", which does not need it.',
    )
    from ..neural import AugmentedConfidence

    names = ("confidence", "neighbors", "second_opinion")
    return [*(name for name in names if name not in others), AugmentedConfidence()]


def _check_calls(block):
    """Raise if a callable or object of the user cannot be called with two arguments."""
    if is_observer(block):
        calls = {"observe(estimator, X)": block.observe}
    elif hasattr(block, "transform"):
        calls = {"transform(X, proba)": block.transform}
        if hasattr(block, "fit"):
            calls["fit(X, proba)"] = block.fit
    else:
        calls = {"f(X, proba)": block}
    advice = (
        "To use a function of X alone, pass lambda X, proba: f(X). A transformer of X alone is for "
        "representation=."
    )
    for form, call in calls.items():
        check_arguments(call, f"{_shown(block)} in meta_features", form, advice, None, None)


def _shown(source):
    """Return the name of a callable or object of the user, for messages."""
    return getattr(source, "__name__", type(source).__name__)


def _is_custom(block):
    return hasattr(block, "transform") or is_observer(block)


def _expected_blocks():
    return (
        'expected "auto", "one_pass", "images" or a list of '
        f"{', '.join(map(repr, BLOCKS))}, callables f(X, proba), "
        "objects with transform(X, proba), and objects with observe(estimator, X), such as "
        "OtherFits()."
    )
