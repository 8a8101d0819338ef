"""Check that a skorch net can be trained on the rows of folds, and was trained."""

from numbers import Integral

import numpy as np
from sklearn.base import clone

from .._utils.messages import name_of


def check_iterator(net):
    """Raise if the net drops rows in predictions."""
    if getattr(net, "iterator_valid__drop_last", False):
        raise ValueError(
            f"{name_of(net)} has iterator_valid__drop_last=True, so that the last "
            "rows get no prediction: net.set_params(iterator_valid__drop_last=False)."
        )


def check_monitors(net):
    """Raise if a callback waits for a score of validation rows that the net does not have."""
    callbacks = getattr(net, "callbacks", None)
    if net.train_split is not None or not isinstance(callbacks, (list, tuple)):
        return
    callbacks = [entry[-1] if isinstance(entry, tuple) else entry for entry in callbacks]
    for callback in callbacks:
        if hasattr(callback, "scoring") or not type(callback).__module__.startswith("skorch."):
            return  # it may record the score
    for callback in callbacks:
        monitor, policy = getattr(callback, "monitor", None), getattr(callback, "policy", None)
        score = monitor.removesuffix("_best") if isinstance(monitor, str) else ""
        is_used = policy is None or "Plateau" in str(policy)
        if is_used and score in ("valid_loss", "valid_acc"):
            kind = type(callback).__name__
            instead = f", or monitor={monitor.replace('valid', 'train')!r} in {kind}"
            raise ValueError(
                f"{kind} among the callbacks of {name_of(net)} needs {monitor!r}, but with "
                "train_split=None the net has no validation rows. Set "
                "train_split=skorch.dataset.ValidSplit(5, stratified=True)"
                f"{instead if score == 'valid_loss' else ''}."
            )


def check_sampler(net):
    """Raise if the net draws its training rows by their numbers in one set of rows."""
    sampler = net.get_params_for("iterator_train").get("sampler")
    if sampler is not None:
        kind = type(sampler).__name__
        raise ValueError(
            f"iterator_train__sampler of {name_of(net)} is a {kind}, which draws rows by their "
            "numbers in one set of rows, but each fit has other rows. Let the net make a "
            "sampler for each set: pass iterator_train=loader, with a function loader(dataset, "
            f'**options) that returns DataLoader(dataset, **{{"sampler": {kind}(...), '
            "**options}). To weight the classes only, pass criterion__weight=."
        )


def check_validation_rows(net, y, parts):
    """Raise if the net cannot hold out rows of its own in a training part."""
    split = getattr(net, "train_split", None)
    n_splits = getattr(split, "cv", None)
    if not getattr(split, "stratified", False) or not isinstance(n_splits, Integral):
        return
    for part in parts:
        n_largest = np.unique(y[part], return_counts=True)[1].max(initial=0)
        if n_largest < n_splits:
            raise ValueError(
                f"{name_of(net)} holds out rows of its own for validation: its "
                f"train_split needs {n_splits} rows of a class, but {n_largest} are left for "
                "training. Set train_split=None in the net, or give more labels per class."
            )


def check_was_trained(net):
    """Raise if no epoch of a fit had a batch: the net then has its random first weights."""
    history = getattr(net, "history_", None) or [{}]
    if any(epoch.get("train_batch_count", 1) for epoch in history):
        return
    why = "Its iterator_train gave no batch."
    if net.get_params_for("iterator_train").get("drop_last"):
        why = (
            "iterator_train__drop_last=True drops the last batch if it is not full, and with "
            f"batch_size={net.batch_size} no batch is full. Lower batch_size, or set "
            "iterator_train__drop_last=False."
        )
    raise ValueError(f"{name_of(net)} was not trained on any row: {why}")


def check_takes_table(net):
    """Raise if the net takes images. Meta-features are a table."""
    from torch import nn

    from ..neural import preserved_rng

    try:
        net = clone(net).set_params(callbacks="disable")
        with preserved_rng(0):
            net.initialize()
    except Exception:
        return  # the module may get its size only in fit
    if not any(isinstance(m, (nn.Conv2d, nn.Conv3d)) for m in net.module_.modules()):
        return
    try:
        net.predict_proba(np.zeros((2, 20), dtype=np.float32))
    except Exception as error:
        raise ValueError(
            f"{name_of(net)} as meta_learner takes images, but it would get a "
            'table of meta-features. Pass meta_features="input" to train it on X itself.'
        ) from error
