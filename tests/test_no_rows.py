"""A batch without rows: an empty result if the base gives one, else an error that names it."""

import numpy as np
import pytest
import scipy.sparse as sp
from _bases import partly_labeled
from sklearn.datasets import make_classification
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from metaerr_sklearn import (
    ErrorModel,
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
)

pytestmark = pytest.mark.usefixtures("small_second_opinion")

X, Y = make_classification(200, n_features=6, flip_y=0.3, random_state=0)
NO_ROW = r"0 sample\(s\).* while a minimum of 1 is required"


class Lenient(GaussianNB):
    """Predict nothing for no rows; take tables and images."""

    def fit(self, X, y):
        return super().fit(self._table(X), y)

    def predict(self, X):
        return super().predict(self._table(X)) if len(X) else self.classes_[:0]

    def predict_proba(self, X):
        return super().predict_proba(self._table(X)) if len(X) else np.empty((0, 2))

    def _table(self, X):
        return np.asarray(X).reshape(len(X), -1)


class LenientOfSparse(LogisticRegression):
    """Take sparse matrices, also without rows."""

    def predict_proba(self, X):
        return super().predict_proba(X) if X.shape[0] else np.empty((0, 2))

    def predict(self, X):
        return super().predict(X) if X.shape[0] else self.classes_[:0]


def frame(X):
    return pytest.importorskip("pandas").DataFrame(X, columns=list("abcdef"))


def polars_frame(X):
    return pytest.importorskip("polars").DataFrame(X, schema=list("abcdef"))


LENIENT = {
    "array": (Lenient(), lambda X: X),
    "pandas": (Lenient(), frame),
    "polars": (Lenient(), polars_frame),
    "images": (Lenient(), lambda X: X.reshape(-1, 1, 2, 3)),
    "sparse": (LenientOfSparse(), sp.csr_array),
}


def make_net():
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)]
    return skorch.NeuralNetClassifier(
        torch.nn.Sequential(*layers),
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=1,
        train_split=None,
        verbose=0,
    )


def texts(X):
    return [" ".join(f"word{value:.0f}" for value in row) for row in X]


def dataset(X):
    pytest.importorskip("torch")
    from skorch.dataset import Dataset

    return Dataset(X.astype(np.float32), np.zeros(len(X), dtype=np.int64))


STRICT = {
    "scikit-learn": (lambda: LogisticRegression(), lambda X: X),
    "text": (lambda: make_pipeline(TfidfVectorizer(), LogisticRegression()), texts),
    "net": (make_net, lambda X: X.astype(np.float32)),
    "dataset": (make_net, dataset),
}


def wrappers(base, meta_learner):
    """Return the three estimators around a base, unfitted, and the labels they are fitted on."""
    clf = MetaErrorClassifier(base, meta_learner, cv=2, random_state=0)
    self_training = SelfTrainingWithMetaErr(base, meta_learner, cv=2, random_state=0)
    return [
        (clf, Y),
        (SelectiveClassifier(clf, target_coverage=0.8, random_state=0), Y),
        (SelectiveClassifier(base, target_coverage=0.8, random_state=0), Y),
        (self_training, partly_labeled(Y, 80)),
    ]


@pytest.mark.parametrize(
    ("kind", "meta_learner"),
    [*((kind, "auto") for kind in LENIENT)]
    + [
        pytest.param("array", "mlp", marks=pytest.mark.torch),
        ("array", GaussianNB()),
        ("array", None),
        ("images", None),
    ],
)
def test_no_row_gives_an_empty_result(kind, meta_learner):
    base, convert = LENIENT[kind]
    for estimator, y in wrappers(base, meta_learner):
        estimator.fit(convert(X), y)
        none = convert(X[:0])
        assert estimator.predict(none).shape == (0,)
        assert estimator.predict_proba(none).shape == (0, 2)
        assert estimator.predict_error_proba(none).shape == (0,)
        if isinstance(estimator, SelectiveClassifier):
            assert estimator.accepts(none).dtype == bool
        if isinstance(estimator, MetaErrorClassifier):
            assert estimator.predict_error(none).dtype == bool
            assert [len(output) for output in estimator.predict_with_error(none)] == [0, 0]
            view = estimator.as_error_classifier()
            assert view.predict_proba(none).shape == (0, 2)
            assert view.predict(none).shape == (0,)
            with pytest.raises(ValueError, match="accuracy on 0 rows is not defined: X must have"):
                estimator.estimate_accuracy(none)
            if meta_learner == "auto":
                contributions, names, _ = estimator.explain_error(none)
                assert contributions.shape == (0, len(names))
                assert list(names) == list(estimator.explain_error(convert(X[:1])).names)


@pytest.mark.parametrize("kind", STRICT)
def test_an_error_names_the_missing_rows(kind):
    make_base, convert = STRICT[kind]
    for estimator, y in wrappers(make_base(), "auto"):
        estimator.fit(convert(X), y)
        none = convert(X[:0])
        methods = ["predict", "predict_proba", "predict_error_proba"]
        if isinstance(estimator, SelectiveClassifier):
            methods += ["accepts"]
        if isinstance(estimator, MetaErrorClassifier):
            methods += ["predict_error", "predict_with_error", "estimate_accuracy", "explain_error"]
            for method in ("predict", "predict_proba"):
                with pytest.raises(ValueError, match=NO_ROW):
                    getattr(estimator.as_error_classifier(), method)(none)
        for method in methods:
            with pytest.raises(ValueError, match=NO_ROW):
                getattr(estimator, method)(none)


@pytest.mark.parametrize(
    "learner", ["auto", pytest.param("mlp", marks=pytest.mark.torch), "confidence", GaussianNB()]
)
@pytest.mark.parametrize("with_x", [True, False])
def test_an_error_model_of_no_prediction(learner, with_x):
    proba = GaussianNB().fit(X[:50], Y[:50]).predict_proba(X)
    rows, none = (X, X[:0]) if with_x else (None, None)
    model = ErrorModel(learner, cv=2, random_state=0).fit(rows, Y, proba)
    assert model.predict_error_proba(none, proba[:0]).shape == (0,)
    if learner in ("auto", "confidence"):
        expected = model.explain_error(rows, proba)
        contributions, names, base_value = model.explain_error(none, proba[:0])
        assert contributions.shape == (0, len(names))
        assert list(names) == list(expected.names)
        assert base_value == expected.base_value


def test_scores_of_nets_name_the_missing_rows():
    pytest.importorskip("torch")
    from metaerr_sklearn.neural import (
        TorchEmbedding,
        energy_confidence,
        max_logit_confidence,
        mc_dropout_proba,
    )

    X32 = X.astype(np.float32)
    net = make_net().fit(X32, Y)
    embedding = TorchEmbedding(net).fit(X32)
    scores = [mc_dropout_proba, energy_confidence, max_logit_confidence]
    for function in [embedding.transform, *(lambda X, s=score: s(net, X) for score in scores)]:
        with pytest.raises(ValueError, match=NO_ROW):
            function(X32[:0])
