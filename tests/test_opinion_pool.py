import pickle
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.datasets import load_digits, make_blobs, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from metaerr_sklearn import SelfTrainingWithMetaErr
from metaerr_sklearn._base_estimator.cross_fitting import cross_fit
from metaerr_sklearn.model_selection._splitting import make_splits
from metaerr_sklearn.self_training._class_prior import (
    adjust_to_class_prior,
    class_prior_reliability,
    estimate_class_prior,
)
from metaerr_sklearn.self_training._cross_fitted import CrossFitted
from metaerr_sklearn.self_training._label_propagation import NeighborGraph
from metaerr_sklearn.self_training._opinion_pool import OpinionPool

pytestmark = pytest.mark.usefixtures("small_second_opinion")
IDENTITY = FunctionTransformer()


def pooled(
    X, y_encoded, base, *, splits=None, representation=IDENTITY, embeddings=None, weight=None
):
    """Fit a pool as self-training does; also return the base's probabilities of unlabeled rows."""
    labeled, unlabeled = np.flatnonzero(y_encoded >= 0), np.flatnonzero(y_encoded < 0)
    classes = np.unique(y_encoded[labeled])
    if splits is None:
        splits = make_splits(5, X[labeled], y_encoded[labeled], seed=0)
    oof, *_ = cross_fit(base, X[labeled], y_encoded[labeled], classes=classes, splits=splits)
    proba = base.fit(X[labeled], y_encoded[labeled]).predict_proba(X[unlabeled])
    cross_fitted = CrossFitted(classes, replace(oof, sample_weight=weight), splits, [], {})
    pool = OpinionPool(random_state=0)
    pool.fit(X, y_encoded, cross_fitted, representation, embeddings)
    return pool, proba


@pytest.fixture(scope="module")
def digits_with_few_labels():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:900]
    X, y = X[order] / 16, y[order]
    y_encoded = y.copy()
    y_encoded[100:] = -1
    return X, y_encoded, y


def test_a_row_is_described_by_its_nearest_other_rows():
    Z = np.random.default_rng(0).normal(size=(40, 3))
    members = np.arange(30)
    graph = NeighborGraph(Z, members, n_neighbors=4)
    distance = np.linalg.norm(Z[:, None] - Z[None, :30], axis=2)
    distance[members, members] = np.inf
    assert_array_equal(graph.neighbors, np.argsort(distance, axis=1)[:, :4])
    assert_array_equal(graph.find(Z[30:]), graph.neighbors[30:])


def test_neighbours_of_a_row_do_not_depend_on_the_other_rows():
    rng = np.random.default_rng(0)
    Z = rng.integers(0, 3, size=(600, 30)) / 3  # many equal distances
    graph = NeighborGraph(Z, np.arange(500))
    together = graph.find(Z[500:])
    assert_array_equal(np.concatenate([graph.find(row[None]) for row in Z[500:]]), together)
    assert_array_equal(graph.find(Z[550:]), together[50:])


def test_label_propagation_converges_to_the_closed_form():
    Z = np.random.default_rng(1).normal(size=(25, 2))
    graph = NeighborGraph(Z, np.arange(25), n_neighbors=3)
    labeled_nodes, labels = np.array([0, 4, 7]), np.array([0, 1, 1])
    adjacency = np.zeros((25, 25))
    for row, neighbors in enumerate(graph.neighbors):
        adjacency[row, neighbors] = adjacency[neighbors, row] = 1
    walk = adjacency / adjacency.sum(axis=1, keepdims=True)
    start = np.zeros((25, 2))
    start[0, 0], start[[4, 7], 1] = 1, 0.5
    expected = 0.1 * np.linalg.solve(np.eye(25) - 0.9 * walk, start)
    assert_allclose(
        graph.propagate(labeled_nodes, labels, 2, alpha=0.9, n_steps=400), expected, atol=1e-12
    )


def test_a_row_gets_the_mean_of_its_neighbours():
    propagated = np.array([[1.0, 0], [0, 3], [0, 0], [0, 0]])
    proba = NeighborGraph.neighbor_mean(np.array([[0, 1], [0, 2], [2, 3]]), propagated)
    assert_allclose(proba, [[0.25, 0.75], [1, 0], [0.5, 0.5]])


def test_opinions_on_a_labeled_row_do_not_depend_on_its_own_label(
    digits_with_few_labels, monkeypatch
):
    """A leak here makes every opinion look too good: error AUROC .90 instead of .77."""
    X, y_encoded, _ = digits_with_few_labels
    seen = []
    learn = OpinionPool._learn

    def spy(self, log_opinions, *args):
        seen.append(log_opinions)
        return learn(self, log_opinions, *args)

    monkeypatch.setattr(OpinionPool, "_learn", spy)
    base = LogisticRegression(max_iter=500)
    splits = make_splits(5, X[:100], y_encoded[:100], seed=0)
    pooled(X, y_encoded, base, splits=splits)
    other = y_encoded.copy()
    other[0] = (y_encoded[0] + 1) % 10
    pooled(X, other, base, splits=splits)
    assert_allclose(seen[0][0], seen[1][0], rtol=1e-10)
    assert not np.allclose(seen[0], seen[1])


@pytest.mark.draws
def test_accuracy_on_random_labels_is_guessing():
    accuracies = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(300, 5))
        y_encoded = np.where(np.arange(300) < 60, rng.integers(2, size=300), -1)
        pool, _ = pooled(X, y_encoded, LogisticRegression())
        accuracies.append(pool.adjusted_accuracy_)
    assert -0.15 < np.mean(accuracies) < 0.1


def test_weights_have_the_largest_posterior():
    """Compare with a slow definition of the log-posterior, nudged in every direction."""
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), size=(60, 4)).transpose(0, 2, 1)
    log_opinions = np.log(proba)
    y, weight = rng.integers(3, size=60), rng.uniform(0.5, 2, size=60)
    prior = np.array(OpinionPool._prior_weights)

    def log_posterior(w):
        chosen = softmax(log_opinions @ w, axis=1)[np.arange(60), y]
        return weight @ np.log(chosen) - 15 * np.sum((w - prior) ** 2)

    best = OpinionPool()._maximise(log_opinions, y, weight, prior, prior > 0)
    for step in np.vstack([np.eye(4), -np.eye(4)]) * 0.02:
        assert log_posterior(best) > log_posterior(best + step)


def test_pool_beats_the_base_alone(digits_with_few_labels):
    X, y_encoded, y = digits_with_few_labels
    pool, proba = pooled(X, y_encoded, LogisticRegression(max_iter=500))
    together, y = pool.pool_unlabeled(proba), y[100:]
    assert pool.opinions_ == ["base", "forest", "logistic", "spread"]
    assert_allclose(together.sum(axis=1), 1)
    assert log_loss(y, together) < log_loss(y, proba) - 0.05
    assert accuracy_score(y, together.argmax(axis=1)) > accuracy_score(y, proba.argmax(axis=1))
    is_error = proba.argmax(axis=1) != y
    error_proba = pool.predict_error_proba(X[100:], proba)
    gain = roc_auc_score(is_error, error_proba) - roc_auc_score(is_error, 1 - proba.max(axis=1))
    assert gain > 0.03
    assert abs(error_proba.mean() - is_error.mean()) < 0.1


def test_opinions_that_guess_get_no_weight():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(200, 8))
    y_encoded = np.where(np.arange(200) < 40, rng.integers(2, size=200), -1)
    pool, proba = pooled(X, y_encoded, LogisticRegression())
    assert pool.adjusted_accuracy_ < 0.25
    assert_array_equal(pool.weights_[1:], 0)
    assert_array_equal(pool.pool_unlabeled(proba).argmax(axis=1), proba.argmax(axis=1))


def test_without_representation_the_base_is_calibrated(digits_with_few_labels):
    X, y_encoded, _ = digits_with_few_labels
    pool, proba = pooled(X, y_encoded, LogisticRegression(max_iter=500), representation=None)
    assert pool.opinions_ == ["base"]
    assert_array_equal(pool.pool_unlabeled(proba).argmax(axis=1), proba.argmax(axis=1))
    assert_allclose(pool.pool(X[100:], proba), pool.pool_unlabeled(proba))


def test_new_rows_and_unlabeled_rows_follow_one_rule(digits_with_few_labels):
    X, y_encoded, _ = digits_with_few_labels
    pool, proba = pooled(X, y_encoded, LogisticRegression(max_iter=500))
    inside, outside = pool.pool_unlabeled(proba), pool.pool(X[100:], proba)
    assert np.mean(inside.argmax(axis=1) == outside.argmax(axis=1)) > 0.98
    assert_allclose(pool.pool(X[100:110], proba[:10]), outside[:10], atol=1e-6)
    some = np.array([3, 500, 70])
    assert_allclose(pool.pool_unlabeled(proba[some], some), inside[some])


def test_labels_without_errors_leave_the_opinions_in_place():
    X, y = make_blobs(300, centers=3, cluster_std=0.5, random_state=0)
    y_encoded = np.where(np.arange(300) < 30, y, -1)
    pool, proba = pooled(X, y_encoded, LogisticRegression())
    assert pool.error_rate_ == 0
    assert (pool.weights_ > 0).all()
    assert_array_equal(pool.pool_unlabeled(proba).argmax(axis=1), y[30:])


def test_labels_of_weight_0_do_not_change_the_weights():
    X, y = make_classification(200, random_state=0)
    y_encoded = np.where(np.arange(200) < 60, y, -1)
    wrong = y_encoded.copy()
    wrong[50:60] = 1 - y_encoded[50:60]
    weight = np.where(np.arange(60) < 50, 1.0, 0.0)
    splits = make_splits(5, X[:60], y_encoded[:60], seed=0)
    proba = LogisticRegression().fit(X[:50], y[:50]).predict_proba(X)
    classes = np.array([0, 1])
    oof, *_ = cross_fit(
        LogisticRegression(), X[:60], y_encoded[:60], classes=classes, splits=splits
    )
    pools = [
        OpinionPool(random_state=0).fit(
            X,
            labels,
            CrossFitted(classes, replace(oof, sample_weight=weight), splits, [], {}),
            IDENTITY,
        )
        for labels in (y_encoded, wrong)
    ]
    assert_allclose(pools[0].class_prior_, pools[1].class_prior_)
    # Only the graph shows all labels alike.
    assert_allclose(pools[0].weights_, pools[1].weights_, atol=0.05)
    assert pools[0].pool(X, proba).shape == (200, 2)


def test_graph_is_bounded(digits_with_few_labels, monkeypatch):
    monkeypatch.setattr("metaerr_sklearn._utils.limits.MAX_FIT_ROWS", 300)
    X, y_encoded, y = digits_with_few_labels
    pool, proba = pooled(X, y_encoded, LogisticRegression(max_iter=500))
    assert len(pool._auxiliary.graph.members) == 300
    assert accuracy_score(y[100:], pool.pool_unlabeled(proba).argmax(axis=1)) > 0.85


def test_predict_checks_its_input(digits_with_few_labels):
    X, y_encoded, _ = digits_with_few_labels
    pool, proba = pooled(X, y_encoded, LogisticRegression(max_iter=500))
    with pytest.raises(ValueError, match="one column per class"):
        pool.predict_error_proba(X[100:], proba[:, :9])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        pool.predict_error_proba(X, proba)
    by_label = pool.predict_error_proba(X[100:], proba, y_pred=proba.argmax(axis=1))
    assert_allclose(by_label, pool.predict_error_proba(X[100:], proba))


def test_updating_the_graph_is_fitting_with_it(digits_with_few_labels):
    X, y_encoded, _ = digits_with_few_labels
    base = LogisticRegression(max_iter=500)
    pool, proba = pooled(X, y_encoded, base)
    embedding = FunctionTransformer(np.sqrt)
    before = pool.pool_unlabeled(proba)
    pool.update_graph(X, embedding)
    after = pool.pool_unlabeled(proba)
    assert not np.allclose(before, after)
    fitted, _ = pooled(X, y_encoded, base, embeddings=[IDENTITY] * 5 + [embedding])
    fitted.weights_ = pool.weights_
    assert_allclose(after, fitted.pool_unlabeled(proba))
    assert_allclose(pool.pool(X[100:], proba), fitted.pool(X[100:], proba))


def overlapping(rare_share, n_samples=20_000, distance=2.0):
    """Return probabilities of two normal classes for equal priors, and a mask of the rare class."""
    rng = np.random.default_rng(0)
    is_rare = rng.random(n_samples) < rare_share
    x = rng.normal(size=n_samples) + distance * is_rare
    log_odds = distance * x - distance**2 / 2
    return softmax(np.column_stack([np.zeros(n_samples), log_odds]), axis=1), is_rare


HALF = np.array([0.5, 0.5])


def test_estimated_class_prior_is_the_most_likely():
    """Many steps solve the equation of the maximum: the mean of the adapted probabilities."""
    proba = np.random.default_rng(0).dirichlet([2, 1, 1], size=500)
    shares = np.array([0.2, 0.5, 0.3])
    found = estimate_class_prior(proba, shares, n_steps=5000)
    assert_allclose(adjust_to_class_prior(proba, shares, found).mean(axis=0), found, atol=1e-6)
    assert_array_equal(estimate_class_prior(proba, shares, n_steps=0), shares)

    def log_likelihood(candidate):
        return np.log((proba * candidate / shares).sum(axis=1)).sum()

    others = np.random.default_rng(1).dirichlet([1, 1, 1], size=200)
    assert log_likelihood(found) >= max(map(log_likelihood, others))


@pytest.mark.parametrize("rare_share", [0.05, 0.3, 0.5])
def test_estimated_class_prior_is_right_for_separated_classes(rare_share):
    proba, is_rare = overlapping(rare_share, distance=4.0)
    assert_allclose(estimate_class_prior(proba, HALF)[1], is_rare.mean(), atol=0.01)


@pytest.mark.draws
def test_estimated_class_prior_hardly_changes_for_overlapping_classes():
    """After a few steps; the maximum likelihood would be sensitive to errors of proba."""
    proba, _ = overlapping(0.05, distance=0.3)
    early, late = (estimate_class_prior(proba, HALF, n_steps=n)[1] for n in (5, 1000))
    assert 0.4 < early < 0.5
    assert_allclose(late, 0.05, atol=0.05)


def test_reliability_falls_with_the_variance_over_folds():
    """The variance over folds is multiplied by the usual correction of the jackknife."""
    proba, _ = overlapping(0.2, n_samples=2000)
    rng = np.random.default_rng(0)

    def tilted(scale):
        tilt = np.exp([[0.0, scale * rng.normal()]])
        return proba * tilt / (proba * tilt).sum(axis=1, keepdims=True)

    sizes = [(16, 4)] * 5
    assert class_prior_reliability(proba, [proba] * 5, sizes, HALF) == 1
    values = [
        np.mean(
            [
                class_prior_reliability(proba, [tilted(s) for _ in sizes], sizes, HALF)
                for _ in range(20)
            ]
        )
        for s in (0.02, 0.1, 0.3, 3.0)
    ]
    assert values[0] > 0.99
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.1
    folds = [tilted(0.2) for _ in sizes]
    estimated = estimate_class_prior(proba, HALF)
    apart = [((estimate_class_prior(fold, HALF) - estimated) ** 2).sum() for fold in folds]
    expected = 1 - 4 * np.mean(apart) / ((estimated - HALF) ** 2).sum()
    assert_allclose(class_prior_reliability(proba, folds, sizes, HALF), expected)


def test_adjusting_to_the_class_prior_lowers_errors():
    proba, is_rare = overlapping(0.05)
    estimated = estimate_class_prior(proba, HALF)
    errors = [
        np.mean((adjust_to_class_prior(proba, HALF, shares)[:, 1] > 0.5) != is_rare)
        for shares in (HALF, (HALF + estimated) / 2, estimated)
    ]
    assert errors[2] < errors[1] < errors[0]


@pytest.mark.parametrize("weight", [None, np.random.default_rng(0).integers(0, 3, 100)])
def test_accuracy_of_the_base_is_scikit_learns_adjusted_balanced_accuracy(
    digits_with_few_labels, weight
):
    X, y_encoded, _ = digits_with_few_labels
    base, folds = LogisticRegression(max_iter=500), make_splits(5, X[:100], y_encoded[:100], seed=0)
    oof, *_ = cross_fit(base, X[:100], y_encoded[:100], classes=np.arange(10), splits=folds)
    pool, _ = pooled(X, y_encoded, base, splits=folds, weight=weight)
    expected = balanced_accuracy_score(
        y_encoded[:100], oof.pred_encoded, sample_weight=weight, adjusted=True
    )
    assert_allclose(pool.base_adjusted_balanced_accuracy_, expected)


def test_standard_error_of_the_base_is_that_of_the_bootstrap(digits_with_few_labels):
    X, y_encoded, _ = digits_with_few_labels
    base = DecisionTreeClassifier(max_depth=4, random_state=0)
    splits = make_splits(5, X[:100], y_encoded[:100], seed=0)
    oof, *_ = cross_fit(base, X[:100], y_encoded[:100], classes=np.arange(10), splits=splits)
    pool, _ = pooled(X, y_encoded, base, splits=splits)
    of_class = [np.flatnonzero(y_encoded[:100] == label) for label in range(10)]
    # The bootstrap, which needs no formula; classes keep their number of rows.
    rng, is_right = np.random.default_rng(0), oof.pred_encoded == y_encoded[:100]
    recalls = [is_right[rng.choice(own, (2000, len(own)))].mean(axis=1) for own in of_class]
    adjusted = (np.mean(recalls, axis=0) - 1 / 10) / (1 - 1 / 10)
    assert_allclose(pool.base_adjusted_balanced_accuracy_error_, np.std(adjusted), rtol=0.1)


def test_labels_of_weight_0_are_not_used(digits_with_few_labels):
    """Label propagation does not use them either, in the fit and after `update_graph`."""
    X, y_encoded, _ = digits_with_few_labels
    weight = (np.arange(100) >= 20).astype(float)
    other = y_encoded.copy()
    other[:20] = (other[:20] + 1) % 10
    splits = [(np.arange(60), np.arange(60, 100)), (np.arange(40, 100), np.arange(40))]
    pools = []
    for labels in (y_encoded, other):
        oof, *_ = cross_fit(
            GaussianNB(),
            X[:100],
            labels[:100],
            classes=np.arange(10),
            splits=splits,
            fit_params={"sample_weight": weight},
        )
        cross_fitted = CrossFitted(
            np.arange(10), replace(oof, sample_weight=weight), splits, [], {}
        )
        pool = OpinionPool(random_state=0)
        pool.fit(X, labels, cross_fitted, IDENTITY, [IDENTITY] * 3)
        pools.append(pool)
    new, proba = X[-50:] + 0.1, np.full((50, 10), 0.1)
    assert_allclose(pools[0].pool(new, proba), pools[1].pool(new, proba), atol=1e-6)
    for pool in pools:
        pool.update_graph(X, IDENTITY)
    assert_allclose(pools[0].pool(new, proba), pools[1].pool(new, proba), atol=1e-6)


def test_the_forest_of_many_classes_has_a_share_only_for_the_classes_of_a_leaf():
    """A number for each node and class would be 20 MB more."""
    n_classes, rng = 150, np.random.default_rng(0)
    y = np.arange(1200) % n_classes
    X = rng.normal(size=(n_classes, 4))[y] * 3 + rng.normal(size=(1200, 4))
    y[1000:] = -1
    model = SelfTrainingWithMetaErr(GaussianNB(), cv=2, random_state=0).fit(X, y)
    assert len(pickle.dumps(model.error_model_)) < 8e6
