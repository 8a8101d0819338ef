"""Each block describes a prediction, and a training row never by its own label."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import KDTree
from scipy.special import logit
from scipy.stats import entropy
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neighbors import NearestNeighbors

from metaerr_sklearn._base_estimator.observations import Observations
from metaerr_sklearn._utils.forest import SparseForest
from metaerr_sklearn._utils.lightgbm import BoostedTrees, SplitBooster
from metaerr_sklearn._utils.probabilities import soft_clipped_logit, split_predicted
from metaerr_sklearn.error_model._folds import make_folds
from metaerr_sklearn.meta_features._base import TrainingRows
from metaerr_sklearn.meta_features._blocks import (
    ConfidenceBlock,
    CustomBlock,
    InputBlock,
    PredictedClassBlock,
)
from metaerr_sklearn.meta_features._choice import BLOCKS, check_meta_features
from metaerr_sklearn.meta_features._neighbors import NeighborIndex, NeighborsBlock, _effective_rank
from metaerr_sklearn.meta_features._second_opinion import SecondOpinionBlock
from metaerr_sklearn.model_selection._splitting import make_splits
from metaerr_sklearn.representation import NumericRepresentation
from metaerr_sklearn.representation._choice import is_of_images


@pytest.fixture
def rows():
    """Noise: neither features nor neighbours know anything about the labels."""
    rng = np.random.default_rng(0)
    n_samples, n_classes = 300, 3
    y = rng.integers(n_classes, size=n_samples)
    proba = rng.dirichlet(np.ones(n_classes), size=n_samples)
    pred_encoded = proba.argmax(axis=1)
    X = rng.normal(size=(n_samples, 4)).astype(np.float32)
    return Observations(X, proba, pred_encoded, y, pred_encoded != y, representation=X)


def new(rows, part):
    """Return some rows as if nothing but the predictions were known."""
    rows = rows.take(part)
    return Observations(rows.X, rows.proba, rows.pred_encoded, representation=rows.representation)


def three_folds(n_rows):
    return make_splits(3, None, np.zeros(n_rows), seed=0, warn=False) if n_rows > 1 else None


def fit_transform(block, rows, seed=0, *, folds=None, reference=None, is_image=False):
    """Fit a block on training rows as the error model does; given `folds` hold related rows."""
    reference = np.arange(len(rows)) if reference is None else reference
    is_related, folds = folds is not None, folds or three_folds(len(rows))
    part = TrainingRows(rows, reference, folds).fold_of_rows()
    training = TrainingRows(rows, reference, folds, part, is_related, seed, is_image=is_image)
    return block.fit_transform(training)


def test_compressed_logit_is_the_logit_inside_and_keeps_the_order_outside():
    p = np.array([0.001, 0.2, 0.9])
    assert_allclose(soft_clipped_logit(p, 1 - p), logit(p))
    extreme = np.array([1e-300, 1e-20, 1e-12, 1e-8, 1e-5])
    values = soft_clipped_logit(extreme, 1 - extreme)
    assert (np.diff(values) >= 0).all()
    assert (np.diff(values[1:]) > 0).all()
    assert values.min() > 1.2 * logit(1e-4)


def test_saturated_probabilities_are_told_apart_by_the_sum_of_the_others():
    proba = np.array([[1.0, 1e-20, 1e-21], [1.0, 1e-18, 1e-19]])
    own, rest, others = split_predicted(proba, np.array([0, 0]))
    assert_array_equal(own, 1)
    assert_allclose(rest, [1.1e-20, 1.1e-18])
    assert_array_equal(others[:, 0], 0)


def test_class_without_a_column_has_probability_zero():
    own, rest, _ = split_predicted(np.array([[0.3, 0.7]]), np.array([-1]))
    assert_allclose([own[0], rest[0]], [0, 1])


def test_confidence_block_against_its_definition(rows):
    block = ConfidenceBlock()
    features = fit_transform(block, rows, 0)
    p1, p2, p3 = -np.sort(-rows.proba, axis=1).T
    columns = dict(zip(block.names_, features.T))
    assert_allclose(columns["p1"], p1)
    assert_allclose(columns["margin"], p1 - p2)
    assert_allclose(columns["logit_p1"], logit(p1))
    assert_allclose(columns["logit_p3"], np.maximum(logit(p3), logit(p3)), rtol=0.2)
    assert_allclose(columns["log_p1_p2"], np.log(p1 / p2))
    assert_allclose(columns["entropy"], -(rows.proba * np.log(rows.proba)).sum(axis=1))


def test_two_classes_have_no_third_probability():
    proba = np.array([[0.3, 0.7]])
    block = ConfidenceBlock()
    assert fit_transform(block, Observations(None, proba, np.array([1])), 0).shape == (1, 5)


def test_predicted_class_is_left_out_beyond_thirty_classes(rows):
    assert_array_equal(fit_transform(PredictedClassBlock(), rows, 0), np.eye(3)[rows.pred_encoded])
    many = replace(rows, proba=np.full((300, 31), 1 / 31))
    assert fit_transform(PredictedClassBlock(), many, 0).shape == (300, 0)


@pytest.fixture
def exact_search(monkeypatch):
    """Without slack the neighbours are the nearest."""
    monkeypatch.setattr(NeighborIndex, "slack", 0)
    monkeypatch.setattr(NeighborIndex, "slack_at_low_rank", 0)


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "slack", "farther"),
    [(2000, 8, 1, 1.01), (2000, 16, 4, 1.1), (5001, 8, 10, 1.2)],
)
def test_search_with_slack_finds_rows_that_are_near(n_rows, n_columns, slack, farther):
    rng = np.random.default_rng(0)
    index, queries = rng.normal(size=(n_rows, n_columns)), rng.normal(size=(200, n_columns))
    nearest = NearestNeighbors(n_neighbors=25).fit(index).kneighbors(queries)[0]
    distance, position = NeighborIndex(index).query(queries, 25)
    assert_allclose(np.linalg.norm(queries[:, None] - index[position], axis=2), distance)
    assert (np.diff(distance, axis=1) >= 0).all()
    centred = index - index.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1]
    tree = KDTree(index @ axes, leafsize=32)
    assert_array_equal(position, tree.query(queries @ axes, range(1, 26), eps=slack)[1])
    assert (distance <= (1 + slack) * nearest + 1e-12).all()
    assert distance.mean() < farther * nearest.mean()
    assert [len(set(p)) for p in position] == [25] * 200


@pytest.mark.parametrize(("n_columns", "n_independent"), [(3, 3), (60, 60), (60, 4)])
def test_tree_and_full_search_find_the_nearest(exact_search, n_columns, n_independent):
    """All rows are looked at where columns are many and independent, else a tree is walked."""
    rng = np.random.default_rng(0)
    mixed = np.eye(n_independent, n_columns) + (n_independent < n_columns)
    matrix, queries = (rng.normal(size=(n, n_independent)) @ mixed for n in (500, 50))
    index = NeighborIndex(matrix)
    assert (index._axes is None) == (n_independent == 60)
    expected = NearestNeighbors(n_neighbors=7).fit(matrix).kneighbors(queries)
    for _ in range(2):
        distance, position = index.query(queries, 7)
        assert_allclose(distance, expected[0])
        assert_array_equal(position, expected[1])
        index = pickle.loads(pickle.dumps(index))
    for one in range(3):
        assert_array_equal(index.query(queries[[one]], 7)[1], expected[1][[one]])


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.5], [0.7, 0.1, 0.2]])
def test_effective_rank_against_scipy(shares):
    expected = np.exp(entropy(shares))
    assert _effective_rank(3 * np.array([*shares, 0.0, -1e-18])) == pytest.approx(expected)
    assert _effective_rank(np.zeros(3)) == 1


def test_a_row_finds_itself_first_whatever_the_slack():
    matrix = np.random.default_rng(0).integers(3, size=(400, 4)).astype(float)
    assert (NeighborIndex(matrix).query(matrix, 3)[0][:, 0] == 0).all()


def test_neighbors_against_a_slow_definition(rows, exact_search):
    block = NeighborsBlock()
    fit_transform(block, rows, 0)
    queries = replace(new(rows, slice(0, 20)), representation=rows.X[:20] + 0.1)
    got = dict(zip(block.names_, block.transform(queries).T))
    distance, index = NearestNeighbors(n_neighbors=25).fit(rows.X).kneighbors(rows.X[:20] + 0.1)
    for row in range(20):
        agrees = rows.y_encoded[index[row]] == rows.pred_encoded[row]
        assert_allclose(got["agreement_5"][row], agrees[:5].mean())
        assert_allclose(got["agreement_25"][row], agrees.mean())
        errors = rows.is_error[index[row]].sum()
        expected = (errors + 5 * rows.is_error.mean()) / 30
        assert_allclose(got["local_error_25"][row], expected, rtol=1e-6)
        trust = np.log(distance[row][~agrees].min() / distance[row][agrees].min())
        assert_allclose(got["log_trust_score"][row], trust, rtol=1e-4)


def test_training_row_is_not_its_own_neighbor(rows):
    """Red if the row itself is listed: its own error would decide its local error rate."""
    block = NeighborsBlock()
    training = fit_transform(block, rows, 0)
    as_if_new = block.transform(new(rows, slice(None)))
    block._ignore_coinciding = False
    leaking = block.transform(new(rows, slice(None)))
    leak = block.names_.index("local_error_weighted")
    for features, leaks in ((training, False), (as_if_new, False), (leaking, True)):
        correlation = abs(np.corrcoef(features[:, leak], rows.is_error)[0, 1])
        assert (correlation > 0.5) == leaks


def test_row_that_coincides_with_a_training_row_is_described_by_the_others(rows, exact_search):
    """The deployed base knows such a row: its out-of-fold error is no news about it."""
    block = NeighborsBlock()
    fit_transform(block, rows, 0)
    for row in range(10):
        without = NeighborsBlock()
        fit_transform(without, rows.take(np.delete(np.arange(len(rows)), row)), 0)
        without._error_rate = block._error_rate
        one = new(rows, slice(row, row + 1))
        assert_allclose(block.transform(one), without.transform(one), rtol=1e-5)


def test_training_row_is_described_by_other_folds(rows):
    """Red under leave-one-out: a mean without the row, beside the mean of its place, tells it."""
    block = NeighborsBlock()
    before = fit_transform(block, rows, 0)
    (train, test), *_ = three_folds(300)
    flipped = replace(rows, y_encoded=rows.y_encoded.copy(), is_error=rows.is_error.copy())
    flipped.y_encoded[test[1:]] = (flipped.y_encoded[test[1:]] + 1) % 3
    flipped.is_error[test[1:]] ^= True
    block._error_rate = float(np.mean(rows.is_error))
    after = fit_transform(block, flipped, 0)
    by_labels = [block.names_.index(name) for name in ("log_trust_score", "agreement_weighted")]
    assert_array_equal(after[test[0], by_labels], before[test[0], by_labels])
    assert (after[train][:, by_labels] != before[train][:, by_labels]).any()


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_few_rows_have_few_neighbors(rows, n_rows):
    few = rows.take(slice(0, n_rows))
    block = NeighborsBlock()
    assert np.isfinite(fit_transform(block, few, 0)).all()
    assert np.isfinite(block.transform(new(rows, slice(0, 9)))).all()
    apart, folds = replace(few, fold=np.arange(n_rows)), [(np.arange(0), np.arange(n_rows))]
    assert np.isfinite(fit_transform(block, apart, folds=folds)).all()


def test_errors_of_neighbors_come_from_the_clone_that_predicted_the_row(rows, exact_search):
    """The slow definition; another clone has trained on the row, and errs where its label is."""
    base_fold = np.arange(300) % 2
    block = NeighborsBlock()
    features = fit_transform(block, replace(rows, fold=base_fold), 0)
    position = block.names_.index("local_error_25")
    for train, test in three_folds(300):
        for row in test[:10]:
            same = train[base_fold[train] == base_fold[row]]
            distance = np.linalg.norm(rows.X[same] - rows.X[row], axis=1)
            errors = rows.is_error[same[np.argsort(distance)[:25]]]
            expected = (errors.sum() + 5 * rows.is_error.mean()) / 30
            assert_allclose(features[row, position], expected, rtol=1e-6)
    block.drop_training_state()
    assert not hasattr(block, "_training")


def test_rows_that_coincide_by_chance_are_neighbors(rows):
    cells = replace(rows, representation=np.round(rows.representation[:, :1]))
    block = NeighborsBlock()
    fit_transform(block, cells, 0)
    assert not block._ignore_coinciding
    features = block.transform(new(cells, slice(None)))
    assert features[:, block.names_.index("log_distance")].min() < -5


def test_training_row_is_dropped_among_many_coinciding_rows(rows):
    same = replace(rows, representation=np.zeros_like(rows.representation))
    assert np.isfinite(fit_transform(NeighborsBlock(), same, 0)).all()


@pytest.mark.parametrize("limits", [{}, {"few_rows": 1000}, {"many_rows": 100}])
def test_second_opinion_of_a_training_row_does_not_know_its_label(monkeypatch, rows, limits):
    """Red if a model is asked about rows it has learned: it would agree with every label."""
    for name, value in limits.items():
        monkeypatch.setattr(SecondOpinionBlock, name, value)
    block = SecondOpinionBlock()
    training = fit_transform(block, rows, 0)
    as_if_new = block.transform(new(rows, slice(None)))
    column = block.names_.index("second_proba")
    assert abs(np.corrcoef(training[:, column], rows.is_error)[0, 1]) < 0.15
    assert np.corrcoef(as_if_new[:, column], rows.is_error)[0, 1] < -0.8


def second_proba(block, rows):
    features = block.transform(new(rows, slice(None)))
    return features[:, block.names_.index("second_proba")]


def test_second_opinion_equals_the_forest_where_rows_are_few(monkeypatch, rows):
    monkeypatch.setattr(SecondOpinionBlock, "few_rows", 301)
    block = SecondOpinionBlock()
    fit_transform(block, rows, 5)
    forest = ExtraTreesClassifier(200, min_samples_leaf=2, bootstrap=True, random_state=5)
    forest.fit(rows.X, rows.y_encoded)
    own = forest.predict_proba(rows.X)[np.arange(300), rows.pred_encoded]
    assert_allclose(second_proba(block, rows), own)
    assert not hasattr(block._models[0], "oob_proba")


def test_second_opinion_equals_the_boosted_trees_where_rows_are_many(monkeypatch, rows):
    monkeypatch.setattr(SecondOpinionBlock, "many_rows", 299)
    block = SecondOpinionBlock()
    fit_transform(block, rows, 5)
    trees = BoostedTrees(rows.X, rows.y_encoded, seed=5)
    own = trees.predict_proba(rows.X)[np.arange(300), rows.pred_encoded]
    assert_allclose(second_proba(block, rows), own)


def test_second_opinion_takes_the_models_with_the_lower_loss_on_unseen_rows():
    """A chessboard is for trees that look where they split, a blurred border for many trees."""
    rng = np.random.default_rng(0)

    def models(X, y):
        X, proba = X.astype(np.float32), np.full((len(X), 2), 0.5)
        block = SecondOpinionBlock()
        fit_transform(
            block, Observations(X, proba, np.zeros(len(X), int), y, y > 0, representation=X), 0
        )
        return [type(model).__name__ for model in block._models]

    X = rng.uniform(size=(1000, 12))
    assert models(X, 1 * ((X[:, 0] > 0.5) ^ (X[:, 1] > 0.7))) == ["BoostedTrees"]
    y = rng.integers(2, size=400)
    X = rng.normal(size=(400, 10)) + 0.3 * y[:, None]
    assert models(X, y) == ["SparseForest", "BoostedTrees"]


def test_on_components_of_images_the_forest_is_alone_up_to_many_rows(monkeypatch, rows):
    images = np.random.default_rng(0).normal(size=(300, 1, 15, 15)).astype(np.float32)
    assert is_of_images(NumericRepresentation(4).fit(images))
    wide = images.reshape(300, -1)
    for others in (rows.X, wide):
        assert not is_of_images(NumericRepresentation(4).fit(others))

    def models():
        block = SecondOpinionBlock()
        fit_transform(block, rows, is_image=True)
        return block._models

    (forest,) = models()
    assert isinstance(forest, SparseForest)
    assert len(forest._trees) == SecondOpinionBlock.n_estimators // 2
    monkeypatch.setattr(SecondOpinionBlock, "many_rows", 299)
    assert [type(model) for model in models()] == [BoostedTrees]


def test_neighbours_of_a_row_do_not_depend_on_the_rows_beside():
    matrix = np.random.default_rng(0).normal(size=(4000, 6)).astype(np.float32)
    index = NeighborIndex(matrix[:3000])
    together = index.query(matrix[3000:], 10)
    for row in (0, 499, 999):
        alone = index.query(matrix[3000 + row : 3001 + row], 10)
        for whole, part in zip(together, alone):
            assert_array_equal(whole[row], part[0])


def test_boosted_trees_of_one_class_know_nothing_else():
    trees = BoostedTrees(np.zeros((30, 2)), np.full(30, 4))
    assert_array_equal(trees.classes_, [4])
    assert_array_equal(trees.predict_proba(np.zeros((2, 2))), np.ones((2, 1)))


def test_boosted_trees_for_one_prediction_predict_the_same():
    Z = np.random.default_rng(0).normal(size=(900, 3))
    y = np.digitize(Z[:, 0], [-0.5, 0.5])
    expected = BoostedTrees(Z, y).predict_proba(Z)
    assert_allclose(BoostedTrees(Z, y, predicts_once=True).predict_proba(Z), expected, rtol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_trees_in_parts_give_what_the_whole_booster_gives(n_classes):
    import lightgbm

    rng = np.random.default_rng(0)
    Z = rng.normal(size=(400, 3))
    data = lightgbm.Dataset(Z, np.digitize(Z[:, 0], [0, 1][: n_classes - 1]))
    params = {"objective": "binary"} if n_classes == 2 else {"objective": "multiclass"}
    params |= {"num_class": 1 if n_classes == 2 else 3, "num_leaves": 31, "verbosity": -1}
    whole = lightgbm.train(params, data, 40)
    parts = SplitBooster(whole)
    score = parts.raw_score(Z)
    assert len(parts._parts) > 1
    assert_allclose(score, whole.predict(Z, raw_score=True), rtol=1e-12)
    assert_array_equal(parts.raw_score(Z[7:8]), score[7:8])
    loaded = pickle.loads(pickle.dumps(parts))
    assert list(vars(loaded)) == ["_texts"]  # the texts are read only for a prediction
    assert_array_equal(loaded.raw_score(Z), score)
    assert pickle.dumps(loaded) == pickle.dumps(parts)


@pytest.mark.parametrize("block_class", [NeighborsBlock, SecondOpinionBlock])
def test_rows_that_belong_together_do_not_tell_about_each_other(rows, block_class):
    """Each row has a copy with the same label: without folds the copy gives it away."""
    twice = rows.take(np.repeat(np.arange(len(rows)), 2))
    order = np.arange(600).reshape(-1, 2)
    folds = [
        (np.delete(order, np.arange(k, 300, 5), axis=0).ravel(), order[k::5].ravel())
        for k in range(5)
    ]
    column = {"NeighborsBlock": "agreement_weighted", "SecondOpinionBlock": "second_proba"}
    block = block_class()
    leaking = fit_transform(block, twice, 0)
    honest = fit_transform(block, twice, folds=folds)
    position = block.names_.index(column[block_class.__name__])
    assert np.corrcoef(leaking[:, position], twice.is_error)[0, 1] < -0.5
    assert abs(np.corrcoef(honest[:, position], twice.is_error)[0, 1]) < 0.15


def test_models_are_made_of_the_reference_rows_and_other_rows_are_new(rows, exact_search):
    some = np.arange(0, 300, 3)
    for block in (NeighborsBlock(), SecondOpinionBlock()):
        features = fit_transform(block, rows, reference=some)
        others = np.setdiff1d(np.arange(300), some)
        described = block.transform(new(rows, others))
        few = block.__class__()
        fit_transform(few, rows.take(some), 0)
        assert_allclose(described, few.transform(new(rows, others)), rtol=1e-6)
        if isinstance(block, SecondOpinionBlock):
            assert_allclose(features[others], described, rtol=1e-6)
            continue
        flipped = replace(rows, is_error=rows.is_error.copy())
        flipped.is_error[others] ^= True
        assert_array_equal(fit_transform(block, flipped, reference=some), features)


def test_rows_do_not_depend_on_their_company(rows):
    for block in (ConfidenceBlock(), NeighborsBlock(), SecondOpinionBlock(), InputBlock()):
        fit_transform(block, rows, 0)
        together = block.transform(new(rows, slice(None)))
        alone = block.transform(new(rows, slice(7, 8)))
        assert_allclose(together[7], alone[0], rtol=1e-6, atol=1e-9)


class FittedScale:
    def fit(self, X, proba):
        self.mean_ = X.mean()
        return self

    def transform(self, X, proba):
        return X - self.mean_


def test_callable_and_transformer_give_columns(rows):
    mine = CustomBlock(lambda X, proba: proba[:, 0], 1)
    assert fit_transform(mine, rows, 0).shape == (300, 1)
    assert mine.names_ == ["custom1_0"]
    given = FittedScale()
    assert fit_transform(CustomBlock(given, 0), rows, 0).shape == (300, 4)
    assert not hasattr(given, "mean_")
    with pytest.raises(ValueError, match="one row of numbers per sample"):
        fit_transform(CustomBlock(lambda X, proba: np.ones(3), 0), rows, 0)


def test_block_names_are_checked():
    assert check_meta_features("input") == ["input"]
    assert check_meta_features("auto") == check_meta_features("one_pass") == list(BLOCKS)
    for wrong in ("confidenc", ["neighbors", "x"], [], 3, None):
        with pytest.raises(ValueError, match='expected "auto", "one_pass", "images" or a list of'):
            check_meta_features(wrong)


def test_labels_of_test_rows_describe_no_row_that_trains_the_meta_learner(rows):
    """Red if the columns of a fold are those of all rows: two neighbours describe each other."""
    rows = replace(rows, fold=np.arange(300) % 2)
    train, test = three_folds(300)[1]
    flipped = replace(rows, y_encoded=rows.y_encoded.copy(), is_error=rows.is_error.copy())
    flipped.y_encoded[test] = (flipped.y_encoded[test] + 1) % 3
    flipped.is_error[test] ^= True
    columns = []
    for observations in (rows, flipped):
        block = NeighborsBlock()
        features = fit_transform(block, observations)
        block._error_rate = 0.5
        columns.append((features, block.transform_fold(features, 1)))
    (before, of_fold), (after, of_fold_after) = columns
    assert_array_equal(of_fold, of_fold_after)
    by_labels = slice(0, -1)
    assert (before[train, by_labels] != after[train, by_labels]).any(axis=0).all()


def test_columns_of_a_fold_are_those_of_its_training_rows_alone(rows, exact_search):
    """The slow definition: a block that was fitted without the test rows of the fold."""
    rows = replace(rows, fold=np.arange(300) % 2)
    block = NeighborsBlock()
    features = fit_transform(block, rows)
    part = np.empty(300, dtype=int)
    for number, (_, test) in enumerate(three_folds(300)):
        part[test] = number
    for number, (train, _) in enumerate(three_folds(300)):
        alone = NeighborsBlock()
        training = TrainingRows(rows.take(train), np.arange(len(train)), part=part[train])
        expected = alone.fit_transform(training)
        block._error_rate = alone._error_rate
        got = block.transform_fold(features, number)[train]
        assert_allclose(got[:, :-1], expected[:, :-1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("cv", "n_folds", "n_parts"), [(2, 2, 6), (3, 3, 6), (None, 5, 5)])
def test_a_fold_tests_whole_parts_and_leaves_others(rows, cv, n_folds, n_parts):
    folds, part = make_folds(replace(rows, groups=np.arange(300) // 5), cv, 0)
    assert len(folds) == n_folds
    assert len(np.unique(part)) == n_parts
    assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(300))
    for train, test in folds:
        assert not set(part[train]) & set(part[test])
        assert len(set(part[train])) > 1
    assert all(len(set(part[i : i + 5])) == 1 for i in range(0, 300, 5))


@pytest.mark.parametrize(
    ("n_rows", "n_levels", "few_rows"), [(60, 1, 200), (120, 2, 200), (120, 2, 50)]
)
def test_equal_rows_do_not_reveal_the_label(monkeypatch, n_rows, n_levels, few_rows):
    """Among equal rows, the shares of the classes without a row reveal the label of this row."""
    monkeypatch.setattr(SecondOpinionBlock, "few_rows", few_rows)
    monkeypatch.setattr(SecondOpinionBlock, "many_classes", 1)  # the forest alone
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(n_rows) % 2)
    X = rng.integers(n_levels, size=(n_rows, 1)).astype(np.float32)
    zeros = np.zeros(n_rows, dtype=int)
    proba = np.tile([0.6, 0.4], (n_rows, 1))
    rows = Observations(X, proba, zeros, y, y > 0, representation=X)
    block = SecondOpinionBlock()
    features = fit_transform(block, rows)
    logit_pred = features[:, block.names_.index("second_logit")]
    for level in range(n_levels):
        inside = X[:, 0] == level
        # Out-of-bag, this is 0.7 to 0.9.
        assert abs(np.corrcoef(logit_pred[inside], y[inside])[0, 1]) < 0.4
