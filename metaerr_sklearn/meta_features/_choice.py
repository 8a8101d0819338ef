"""Choose the blocks of meta-features that a parameter names."""

from .._base_estimator.adapter import adapt
from .._utils.images import holds_images
from .._utils.lightgbm import check_lightgbm
from .._utils.packages import check_importable
from .._utils.parameter_checks import check_arguments, is_word
from ._blocks import ConfidenceBlock, CustomBlock, InputBlock, PredictedClassBlock, shown_name
from ._neighbors import NeighborsBlock
from ._observers import ObserverBlock, is_observer
from ._second_opinion import SecondOpinionBlock

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
    if not is_word(meta_features, "auto"):
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
        blocks += _blocks_of_images(sources) if is_word(source, "images") else [source]
    for block in blocks:
        if isinstance(block, type):  # which is callable, but returns no meta-features
            raise TypeError(
                f"meta_features holds the class {block.__name__}: pass an instance, "
                f"{block.__name__}()."
            )
        if means_one_pass(block):
            raise ValueError(
                f"meta_features={block!r} is no part of a list. Name the blocks that it stands "
                'for: ["confidence", "neighbors", "second_opinion", ...], or for images "images".'
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
        check_arguments(call, f"{shown_name(block)} in meta_features", form, advice, None, None)


def _is_custom(block):
    return hasattr(block, "transform") or is_observer(block)


def _expected_blocks():
    return (
        'expected "auto", "one_pass", "images" or a list of '
        f"{', '.join(map(repr, BLOCKS))}, callables f(X, proba), "
        "objects with transform(X, proba), and objects with observe(estimator, X), such as "
        "OtherFits()."
    )
