"""The forest with sparse leaves gives what scikit-learn's gives, at a size bounded by rows."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import ExtraTreesClassifier

from metaerr_sklearn import ErrorModel
from metaerr_sklearn._utils import forest as forest_module
from metaerr_sklearn._utils.forest import SparseForest


def draw(n_rows, n_classes, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n_rows)
    Z = rng.normal(size=(n_classes, 6))[y] + rng.normal(size=(n_rows, 6))
    return Z.astype(np.float32), y


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize(("n_classes", "n_at_once"), [(2, 40), (30, 40), (30, 7)])
def test_probabilities_are_those_of_scikit_learn(monkeypatch, is_weighted, n_classes, n_at_once):
    Z, y = draw(300, n_classes)
    monkeypatch.setattr(forest_module, "_NODE_VALUES", n_at_once * 300 * n_classes)
    weight = np.random.default_rng(1).uniform(0.5, 2, 300) if is_weighted else None
    ours = SparseForest(Z, y, n_classes, 40, sample_weight=weight, out_of_bag=True, seed=3)
    theirs = ExtraTreesClassifier(
        40, min_samples_leaf=2, bootstrap=True, oob_score=True, random_state=3
    ).fit(Z, y, sample_weight=weight)
    new, _ = draw(50, n_classes, 1)
    assert_allclose(ours.predict_proba(new).toarray(), theirs.predict_proba(new), rtol=1e-12)
    assert_allclose(ours.oob_proba.toarray(), theirs.oob_decision_function_, rtol=1e-12)


def test_a_row_gets_the_same_to_the_last_bit_whatever_lies_beside():
    Z, y = draw(300, 20)
    forest = pickle.loads(pickle.dumps(SparseForest(Z, y, 20, 30)))
    together = forest.predict_proba(Z).toarray()
    for row in range(0, 300, 50):
        assert_array_equal(forest.predict_proba(Z[[row]]).toarray()[0], together[row])
    assert forest.predict_proba(Z[:0]).shape == (0, 20)


def test_classes_without_a_column_and_columns_without_a_class():
    Z, y = draw(200, 3)
    y = np.array([-1, 2, 4])[y]
    proba = SparseForest(Z, y, 6, 30).predict_proba(Z).toarray()
    assert_array_equal(np.flatnonzero(proba.any(axis=0)), [2, 4])
    expected = ExtraTreesClassifier(30, min_samples_leaf=2, bootstrap=True, random_state=0)
    assert_allclose(proba[:, [2, 4]], expected.fit(Z, y).predict_proba(Z)[:, 1:], rtol=1e-12)


def test_a_row_that_every_tree_has_seen_gets_the_shares_of_the_classes():
    Z, y = draw(60, 3)
    forest = SparseForest(Z, y, 3, 1, out_of_bag=True)
    shares = np.bincount(y) / 60
    is_seen = (forest.oob_proba.toarray() == shares).all(axis=1)
    assert 0.4 < is_seen.mean() < 0.9
    assert_allclose(forest.oob_proba.toarray().sum(axis=1), 1)


def test_size_is_bounded_by_rows_whatever_the_number_of_classes():
    sizes = []
    for n_classes in (20, 200):
        Z, y = draw(600, n_classes)
        proba = np.random.default_rng(0).dirichlet(np.ones(n_classes), size=600)
        shown = np.where(np.arange(600) % 4 == 0, (y + 1) % n_classes, y)
        proba[np.arange(600), shown] += 1
        model = ErrorModel("logistic", random_state=0).fit(
            Z, y, proba / 2, classes=np.arange(n_classes)
        )
        sizes.append(len(pickle.dumps(model)))
    assert max(sizes) < 8e6  # 35 MB if each node held a number for each of 200 classes
    assert sizes[1] < 2 * sizes[0]
