"""Confidence scores: their direction, their definitions, saturated probabilities."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.stats import entropy, rankdata
from sklearn.datasets import load_wine
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import scale

from metaerr_sklearn.confidence import (
    NeighborAgreement,
    RelativeUncertainty,
    TrustScore,
    doctor,
    generalized_entropy,
    margin,
    max_probability,
    negative_entropy,
)

PROBA_SCORES = [max_probability, margin, negative_entropy, doctor, generalized_entropy]


@pytest.fixture
def proba():
    return np.random.default_rng(0).dirichlet(np.full(6, 0.3), size=300)


@pytest.mark.parametrize("score", PROBA_SCORES)
def test_higher_means_more_trusted(score):
    """From a certain to a uniform prediction, confidence falls strictly."""
    certainty = np.linspace(1, 0, 11)[:, None]
    confidence = score(certainty * np.eye(5)[2] + (1 - certainty) / 5)
    assert (np.diff(confidence) < 0).all()


@pytest.mark.parametrize("score", PROBA_SCORES)
def test_with_two_classes_all_scores_rank_equally(score):
    p = np.random.default_rng(0).uniform(size=200)
    proba = np.column_stack([p, 1 - p])
    assert_array_equal(rankdata(score(proba)), rankdata(np.abs(p - 0.5)))


@pytest.mark.parametrize("score", PROBA_SCORES)
def test_class_order_and_row_order_do_not_matter(score, proba):
    confidence = score(proba)
    assert_allclose(score(proba[:, ::-1]), confidence)
    assert_array_equal(score(proba[::-1]), confidence[::-1])


@pytest.mark.parametrize("score", PROBA_SCORES)
def test_input_is_not_modified_and_may_be_empty_or_of_one_class(score, proba):
    before = proba.copy()
    score(proba)
    assert_array_equal(proba, before)
    assert score(np.empty((0, 3))).shape == (0,)
    assert score(np.ones((4, 1))).shape == (4,)


@pytest.mark.parametrize("score", PROBA_SCORES)
def test_slightly_negative_probabilities_count_as_zero(score):
    assert_allclose(score([[1 + 1e-8, -1e-8, 0]]), score([[1.0, 0, 0]]), atol=1e-7)


@pytest.mark.parametrize("score", PROBA_SCORES)
def test_scores_that_are_no_probabilities_are_refused(score):
    with pytest.raises(ValueError, match="must be class probabilities"):
        score([[2.0, -1.0, 0.0]])
    with pytest.raises(ValueError, match=r"Divide each row by its sum.*softmax\(logits, axis=1\)"):
        score([[70, 20, 10]])
    with pytest.raises(ValueError, match=r"got \(3,\).*np.column_stack\(\[1 - p, p\]\)"):
        score([0.7, 0.2, 0.1])


def test_max_probability_and_margin_equal_their_definition(proba):
    descending = -np.sort(-proba, axis=1)
    assert_array_equal(max_probability(proba), descending[:, 0])
    assert_array_equal(margin(proba), descending[:, 0] - descending[:, 1])
    odds = descending[:, 0] / (1 - descending[:, 0])
    assert_allclose(max_probability(proba, log_odds=True), np.log(odds), rtol=1e-6)


def test_negative_entropy_equals_scipy(proba):
    assert_allclose(negative_entropy(proba), -entropy(proba, axis=1))


def test_doctor_equals_its_definition(proba):
    gini = (proba**2).sum(axis=1)
    assert_allclose(doctor(proba), -(1 - gini) / gini)


@pytest.mark.parametrize("top_m", [None, 1, 2, 5, 6, 100])
def test_generalized_entropy_equals_its_definition(proba, top_m):
    expected = []
    for row in proba:
        largest = sorted(row, reverse=True)[:top_m]
        expected.append(-sum((p * (1 - p)) ** 0.3 for p in largest))
    assert_allclose(generalized_entropy(proba, gamma=0.3, top_m=top_m), expected, rtol=1e-6)


def test_generalized_entropy_with_gamma_near_one_ranks_as_the_gini_impurity(proba):
    """At gamma = 1 the sum is 1 - g, and the score of DOCTOR is a monotone function of it."""
    confidence = generalized_entropy(proba, gamma=1 - 1e-12)
    assert_array_equal(rankdata(confidence), rankdata(doctor(proba)))


def test_ranges_are_attained():
    uniform, certain = np.full((1, 4), 0.25), np.eye(4)[:1]
    for score, lowest, highest in [
        (max_probability, 0.25, 1),
        (margin, 0, 1),
        (negative_entropy, -np.log(4), 0),
        (doctor, -3, 0),
    ]:
        assert_allclose([score(uniform)[0], score(certain)[0]], [lowest, highest], atol=1e-12)
    assert_allclose(generalized_entropy([[0.5, 0.5]], gamma=0.1), -2 / 4**0.1)
    assert_allclose(max_probability(uniform, log_odds=True), -np.log(3))


@pytest.mark.parametrize(
    "score",
    [
        lambda proba: max_probability(proba, log_odds=True),
        negative_entropy,
        doctor,
        generalized_entropy,
    ],
)
def test_saturated_probabilities_keep_their_order(score):
    """1 - 1e-17 is 1 in floating point, but the other classes still distinguish the rows."""
    rest = 10.0 ** -np.arange(17, 25)
    confidence = score(np.column_stack([np.ones(8), rest / 2, rest / 2]))
    assert np.isfinite(confidence).all()
    assert (np.diff(confidence) > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 0}, r"gamma must be a fraction in \(0, 1\), got 0"),
        ({"gamma": 1.0}, r"gamma must be a fraction in \(0, 1\), got 1.0"),
        ({"top_m": 0}, "top_m == 0, must be >= 1"),
    ],
)
def test_generalized_entropy_rejects_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        generalized_entropy([[0.5, 0.5]], **options)


DISTANCE_SCORERS = [
    TrustScore(),
    TrustScore(5, alpha=0.2),
    NeighborAgreement(5),
    NeighborAgreement(5, weights="distance"),
]


@pytest.fixture(scope="module")
def wine():
    """Standardised wines with named classes, and a prediction that is right on two thirds."""
    X, y = load_wine(return_X_y=True)
    y = np.array(["barolo", "grignolino", "barbera"])[y]
    rng = np.random.default_rng(0)
    y_pred = np.where(rng.uniform(size=len(y)) < 0.5, rng.permutation(y), y)
    return scale(X), y, y_pred


@pytest.mark.parametrize("scorer", DISTANCE_SCORERS)
def test_right_labels_are_trusted_more_than_wrong_ones(scorer, wine):
    X, y, y_pred = wine
    confidence = scorer.fit(X, y).score_samples(None, y_pred)
    assert np.median(confidence[y_pred == y]) > np.median(confidence[y_pred != y])


def test_relative_uncertainty_trusts_what_was_right():
    """Wrong rows share probability between classes 0 and 1, right rows between 0 and 2."""
    wrong, right = [0.6, 0.4, 0], [0.6, 0, 0.4]
    scorer = RelativeUncertainty().fit([wrong, right] * 5, [True, False] * 5)
    confidence = scorer.score_samples([wrong, right])
    assert confidence[0] < confidence[1]
    assert_array_equal(max_probability([wrong, right]), [0.6, 0.6])


@pytest.mark.parametrize("scorer", DISTANCE_SCORERS)
def test_without_a_prediction_the_best_class_is_scored(scorer, wine):
    X, y, _ = wine
    scorer.fit(X[::2], y[::2])
    every_class = [scorer.score_samples(X[1::2], [label] * len(X[1::2])) for label in np.unique(y)]
    assert_array_equal(scorer.score_samples(X[1::2]), np.max(every_class, axis=0))


@pytest.mark.parametrize("scorer", DISTANCE_SCORERS)
def test_rows_are_scored_one_by_one(scorer, wine):
    X, y, y_pred = wine
    confidence = scorer.fit(X[::2], y[::2]).score_samples(X[1::2], y_pred[1::2])
    one_by_one = [scorer.score_samples(X[[i]], y_pred[[i]])[0] for i in range(1, len(X), 2)]
    assert_allclose(confidence, one_by_one)


@pytest.mark.parametrize("scorer", DISTANCE_SCORERS)
def test_sparse_rows_and_other_labels_give_the_same(scorer, wine):
    X, y, y_pred = wine
    confidence = scorer.fit(X, y).score_samples(X, y_pred)
    assert_allclose(scorer.fit(csr_array(X), y).score_samples(csr_array(X), y_pred), confidence)
    number = {label: -3 * i for i, label in enumerate(["grignolino", "barolo", "barbera"])}
    y, y_pred = [[number[label] for label in labels] for labels in (y, y_pred)]
    assert_allclose(scorer.fit(X, y).score_samples(X, y_pred), confidence)


@pytest.mark.parametrize("scorer", [TrustScore(), NeighborAgreement(5)])
def test_a_training_row_is_not_its_own_neighbor(scorer, wine):
    X, y, y_pred = wine
    confidence = scorer.fit(X, y).score_samples(None, y_pred)
    for i in range(0, len(X), 10):
        others = np.arange(len(X)) != i
        expected = scorer.fit(X[others], y[others]).score_samples(X[[i]], y_pred[[i]])
        assert_allclose(confidence[i], expected[0])


@pytest.mark.parametrize("scorer", [TrustScore(), TrustScore(alpha=0.1), NeighborAgreement()])
def test_a_duplicate_of_a_training_row_is_its_neighbor(scorer, wine):
    X, y, _ = wine
    X, y = np.vstack([X, X]), np.concatenate([y, y])
    confidence = scorer.set_params(n_neighbors=1).fit(X, y).score_samples(None, y)
    assert np.median(confidence) > 1e6 or (confidence == 1).all()


@pytest.mark.parametrize("scorer", DISTANCE_SCORERS)
def test_a_label_without_training_rows_is_not_trusted(scorer, wine):
    X, y, _ = wine
    scorer.fit(X, y)
    assert_array_equal(scorer.score_samples(X[:3], ["nebbiolo", "zinfandel", "a"]), 0)


@pytest.mark.parametrize("scorer", DISTANCE_SCORERS)
def test_predicted_labels_must_match_rows_and_training_labels(scorer, wine):
    X, y, _ = wine
    scorer.fit(X, y)
    with pytest.raises(ValueError, match="got 2 labels for 3 rows"):
        scorer.score_samples(X[:3], y[:2])
    with pytest.raises(ValueError, match="y_pred holds labels like 0, but the classes are"):
        scorer.score_samples(X[:3], [0, 1, 2])
    with pytest.raises(ValueError, match="y_pred contains NaN, inf or None in 1 of 3 rows"):
        scorer.score_samples(X[:3], [y[0], y[1], None])


@pytest.mark.parametrize(("n_neighbors", "alpha"), [(10, 0.0), (3, 0.1), (10, 0.5), (100, 0.2)])
def test_trust_score_equals_the_definition_of_the_paper(wine, n_neighbors, alpha):
    """Equations 1 and 2 of Jiang et al. (2018), as loops."""
    X, y, y_pred = wine
    train, test = np.arange(len(X)) % 2 == 0, np.arange(len(X)) % 2 == 1

    def high_density_set(rows):
        k = min(n_neighbors, len(rows))
        radii = np.array([np.sort(np.linalg.norm(rows - x, axis=1))[k - 1] for x in rows])
        allowed = [r for r in radii if (radii > r).sum() <= alpha * len(rows)]
        return rows[radii <= min(allowed)]

    sets = {label: high_density_set(X[train][y[train] == label]) for label in set(y)}
    expected = []
    for x, label in zip(X[test], y_pred[test]):
        distance = {c: np.linalg.norm(rows - x, axis=1).min() for c, rows in sets.items()}
        own = distance.pop(label)
        expected.append(min(distance.values()) / own)
    trust = TrustScore(n_neighbors, alpha=alpha).fit(X[train], y[train])
    assert_allclose(trust.score_samples(X[test], y_pred[test]), expected)


def test_trust_score_is_finite_where_distances_are_zero_or_classes_empty():
    trust = TrustScore().fit([[0.0], [0.0], [5.0]], [0, 1, 1])
    confidence = trust.score_samples([[0.0], [5.0], [5.0]], [0, 0, 1])
    assert_allclose(confidence[:2], [1, 0], atol=1e-9)
    assert np.isfinite(confidence).all()
    alone = trust.score_samples(None, [0, 0, 1])
    assert alone[0] == 0
    assert np.isfinite(alone).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.0}, "alpha == 1.0, must be < 1"),
        ({"alpha": -0.1}, "alpha == -0.1, must be >= 0"),
        ({"n_neighbors": 0}, "n_neighbors == 0, must be >= 1"),
    ],
)
def test_trust_score_rejects_bad_options(wine, options, message):
    with pytest.raises(ValueError, match=message):
        TrustScore(**options).fit(*wine[:2])


def test_trust_score_needs_two_classes():
    with pytest.raises(ValueError, match=r"at least two labels, got only \[7\]"):
        TrustScore().fit([[0.0], [1.0]], [7, 7])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_neighbor_agreement_is_the_vote_of_a_nearest_neighbor_classifier(wine, weights):
    X, y, y_pred = wine
    agreement = NeighborAgreement(7, weights=weights).fit(X[::2], y[::2])
    confidence = agreement.score_samples(X[1::2], y_pred[1::2])
    voter = KNeighborsClassifier(7, weights=weights).fit(X[::2], y[::2])
    column = np.searchsorted(voter.classes_, y_pred[1::2])
    votes = voter.predict_proba(X[1::2])
    assert_allclose(confidence, votes[np.arange(len(votes)), column])


def test_neighbor_agreement_equals_its_definition(wine):
    X, y, y_pred = wine
    nearest = [np.argsort(np.linalg.norm(X[::2] - x, axis=1))[:4] for x in X[1::2]]
    expected = [(y[::2][rows] == label).mean() for rows, label in zip(nearest, y_pred[1::2])]
    agreement = NeighborAgreement(4).fit(X[::2], y[::2])
    assert_allclose(agreement.score_samples(X[1::2], y_pred[1::2]), expected)


def test_neighbor_agreement_uses_fewer_neighbors_if_there_are_few_rows():
    agreement = NeighborAgreement(10).fit([[0.0], [1.0], [2.0]], ["a", "a", "b"])
    assert_allclose(agreement.score_samples(None, ["a", "b", "b"]), [0.5, 0.5, 0])


def test_relative_uncertainty_equals_its_definition(proba):
    is_error = np.random.default_rng(1).uniform(size=len(proba)) > proba.max(axis=1)
    scorer = RelativeUncertainty(error_weight=0.7).fit(proba, is_error)
    matrix = np.zeros((6, 6))
    for i in range(6):
        for j in range(6):
            if i != j:
                wrong = np.mean([p[i] * p[j] for p in proba[is_error]])
                right = np.mean([p[i] * p[j] for p in proba[~is_error]])
                matrix[i, j] = max(0.7 * wrong - 0.3 * right, 0)
    matrix /= np.sqrt((matrix**2).sum())
    assert_allclose(scorer.matrix_, matrix)
    assert_allclose(scorer.score_samples(proba[:9]), [-p @ matrix @ p for p in proba[:9]])


def test_no_other_matrix_separates_right_from_wrong_further(proba):
    """The closed form maximises the weighted difference of mean uncertainties."""
    is_error = np.random.default_rng(1).uniform(size=len(proba)) > proba.max(axis=1)

    def separation(matrix):
        uncertainty = np.einsum("ni,ij,nj->n", proba, matrix, proba)
        return uncertainty[is_error].mean() - uncertainty[~is_error].mean()

    rng, best = np.random.default_rng(2), RelativeUncertainty().fit(proba, is_error).matrix_
    for spread in [0.01, 0.1, 1.0] * 100:
        other = np.maximum(best + spread * rng.normal(size=best.shape), 0)
        other = np.triu(other, 1) + np.triu(other, 1).T
        assert separation(other / np.linalg.norm(other)) <= separation(best)


def test_relative_uncertainty_without_errors_ranks_as_doctor(proba):
    scorer = RelativeUncertainty().fit(proba, np.zeros(len(proba), dtype=bool))
    assert_array_equal(rankdata(scorer.score_samples(proba)), rankdata(doctor(proba)))


@pytest.mark.parametrize("error_rate", [0.0, 0.3, 1.0])
def test_relative_uncertainty_of_two_classes_ranks_as_max_probability(error_rate):
    rng = np.random.default_rng(0)
    p = rng.uniform(size=100)
    proba = np.column_stack([p, 1 - p])
    scorer = RelativeUncertainty().fit(proba, rng.uniform(size=100) < error_rate)
    assert_array_equal(rankdata(scorer.score_samples(proba)), rankdata(max_probability(proba)))


def test_relative_uncertainty_takes_one_class_and_refuses_other_widths(proba):
    assert_array_equal(RelativeUncertainty().fit([[1.0]], [0]).score_samples([[1.0]]), 0)
    scorer = RelativeUncertainty().fit(proba, np.arange(len(proba)) % 2)
    with pytest.raises(ValueError, match="got 5 columns for 6 classes"):
        scorer.score_samples(np.full((1, 5), 0.2))
    with pytest.raises(ValueError, match=r"is_error must be True where .* values such as .*2"):
        scorer.fit(proba, np.arange(len(proba)))
    with pytest.raises(ValueError, match=r"error_weight must be a fraction in \(0, 1\)"):
        RelativeUncertainty(error_weight=0).fit(proba, np.arange(len(proba)) % 2)


def test_entropy_of_many_rounded_probabilities():
    # Rows may sum to 1.001, so the sum of the others can be above 1.
    assert_allclose(negative_entropy(np.full((1, 2000), 0.0005003)), -np.log(2000), rtol=1e-3)
