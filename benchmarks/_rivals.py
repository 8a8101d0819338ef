"""Rival ways to use unlabeled rows, each as a function that returns a model and its pseudo-labels.

``rival(fit, X, y, rng)``: `fit(rows, labels, weight=None)` returns the base trained from scratch on
these rows. `y` is -1 for unlabeled rows. A rival returns the final model and, for each row, the
label that the model was trained on (-1: not used).
"""

import numpy as np
from sklearn.semi_supervised import LabelSpreading


def take(X, rows):
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def aligned_proba(model, X, n_classes):
    proba = np.zeros((len(X), n_classes))
    proba[:, model.classes_] = model.predict_proba(X)
    return proba


def supervised(fit, X, y, rng):
    return fit(np.flatnonzero(y >= 0), y), y


def self_training(fit, X, y, rng, *, threshold=None, share=None, max_iter=10):
    """Do what scikit-learn's SelfTrainingClassifier does, for any X: labels are never revised."""
    labels, n_unlabeled = y.copy(), np.count_nonzero(y < 0)
    model = fit(np.flatnonzero(labels >= 0), labels)
    for _ in range(max_iter):
        rest = np.flatnonzero(labels < 0)
        if not len(rest):
            break
        proba = aligned_proba(model, take(X, rest), y.max() + 1)
        confidence = proba.max(axis=1)
        if threshold is not None:
            chosen = np.flatnonzero(confidence > threshold)
        else:
            chosen = np.argsort(-confidence, kind="stable")[: round(share * n_unlabeled)]
        if not len(chosen):
            break
        labels[rest[chosen]] = proba[chosen].argmax(axis=1)
        model = fit(np.flatnonzero(labels >= 0), labels)
    return model, labels


def confidence_rounds(fit, X, y, rng, *, threshold, n_rounds=2):
    """Label all rows again in each round, and train on those above a threshold."""
    return _relabel(fit, X, y, n_rounds, lambda proba, number: proba.max(axis=1) >= threshold)


def class_thresholds(fit, X, y, rng, *, threshold, n_rounds):
    """Lower the threshold of classes that are learned less well (FlexMatch, Zhang et al. 2021)."""

    def choose(proba, number):
        predicted, confidence = proba.argmax(axis=1), proba.max(axis=1)
        learned = np.bincount(predicted[confidence >= threshold], minlength=proba.shape[1])
        status = learned / max(learned.max(), 1)
        return confidence >= threshold * (status / (2 - status))[predicted]

    return _relabel(fit, X, y, n_rounds, choose)


def curriculum_labeling(fit, X, y, rng, *, score, shares=(0.2, 0.4, 0.6, 0.8, 1.0)):
    """Train on the most confident 20, 40, ... 100 % (Cascante-Bonilla et al. 2021)."""

    def choose(proba, number):
        order = np.argsort(-score(proba), kind="stable")
        chosen = np.zeros(len(proba), dtype=bool)
        chosen[order[: round(shares[number] * len(proba))]] = True
        return chosen

    return _relabel(fit, X, y, len(shares), choose)


def _relabel(fit, X, y, n_rounds, choose):
    labeled, unlabeled = np.flatnonzero(y >= 0), np.flatnonzero(y < 0)
    model, labels = fit(labeled, y), y
    for number in range(n_rounds):
        proba = aligned_proba(model, take(X, unlabeled), y.max() + 1)
        chosen = choose(proba, number)
        labels = y.copy()
        labels[unlabeled[chosen]] = proba[chosen].argmax(axis=1)
        model = fit(np.flatnonzero(labels >= 0), labels)
    return model, labels


def ups(fit, X, y, rng, *, passes=None, n_models=4, confidence=0.7, max_std=0.05, n_rounds=3):
    """Use rows that are confident and certain, by dropout or a bootstrap (Rizve et al. 2021)."""
    labeled, unlabeled = np.flatnonzero(y >= 0), np.flatnonzero(y < 0)
    n_classes, labels = y.max() + 1, y
    model = fit(labeled, y)
    for _ in range(n_rounds):
        X_unlabeled, rows = take(X, unlabeled), np.flatnonzero(labels >= 0)
        if passes is not None:
            probas = passes(model, X_unlabeled)
        else:
            drawn = [_bootstrap(rows, labels, rng) for _ in range(n_models)]
            probas = np.stack(
                [aligned_proba(fit(d, labels), X_unlabeled, n_classes) for d in drawn]
            )
        mean = probas.mean(axis=0)
        predicted = mean.argmax(axis=1)
        std = np.take_along_axis(probas.std(axis=0), predicted[:, None], axis=1)[:, 0]
        chosen = (mean.max(axis=1) >= confidence) & (std <= max_std)
        labels = y.copy()
        labels[unlabeled[chosen]] = predicted[chosen]
        model = fit(np.flatnonzero(labels >= 0), labels)
    return model, labels


def _bootstrap(rows, labels, rng):
    """Draw rows with replacement within each class, so that every class is drawn."""
    groups = [rows[labels[rows] == label] for label in np.unique(labels[rows])]
    return np.concatenate([rng.choice(group, len(group)) for group in groups])


def fold_ensemble(fit, X, y, rng, *, splits):
    """Label all rows by the mean of the fold models and the supervised model."""
    labeled, unlabeled = np.flatnonzero(y >= 0), np.flatnonzero(y < 0)
    models = [fit(labeled[train], y) for train in splits] + [fit(labeled, y)]
    X_unlabeled = take(X, unlabeled)
    mean = np.mean([aligned_proba(m, X_unlabeled, y.max() + 1) for m in models], axis=0)
    labels = y.copy()
    labels[unlabeled] = mean.argmax(axis=1)
    return fit(np.arange(len(y)), labels), labels


class SpreadLabels:
    """Run LabelSpreading on a numeric representation of X."""

    def __init__(self, view, X, y):
        self.view = view.fit(X)
        self.model = LabelSpreading(kernel="knn", n_neighbors=7).fit(self.view.transform(X), y)

    def predict(self, X):
        return self.model.predict(self.view.transform(X))


def label_spreading(fit, X, y, rng, *, view):
    model = SpreadLabels(view, X, y)
    return model, np.where(y < 0, model.model.transduction_, y)


def oracle(fit, X, y, rng, *, y_true):
    return fit(np.arange(len(y)), y_true), y_true
