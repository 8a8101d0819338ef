"""What the outputs of a net stand for: names, order, missing classes, more outputs than classes."""

import warnings

import numpy as np
import pytest
import torch
from _nets import TinyMLP, make_net
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, StandardScaler
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn

from metaerr_sklearn import (
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
    failure_report,
)

pytestmark = pytest.mark.usefixtures("small_second_opinion")
NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


@pytest.fixture(scope="module")
def rows():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return X[:500], X[500:1000], X[1000:1300], y[:500], y[500:1000], y[1000:1300]


@pytest.fixture(scope="module")
def module(rows):
    """A torch module trained elsewhere: output j stands for digit j."""
    return make_net(TinyMLP, max_epochs=10).fit(rows[0], rows[3]).module_


def initialized(module, **kwargs):
    return NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, **kwargs).initialize()


def fit(net, X, y, **kwargs):
    kwargs = {"meta_learner": "confidence", "cv": 3, "random_state": 0, **kwargs}
    return MetaErrorClassifier(net, **kwargs).fit(X, y)


WRAPPERS = {
    "frozen": FrozenEstimator,
    "frozen pipeline": lambda net: FrozenEstimator(
        make_pipeline(FunctionTransformer(lambda X: X), net)
    ),
}


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize(
    ("names", "learner"),
    [
        (NAMES, "confidence"),
        (list(NAMES), "confidence"),
        (NAMES.astype(object), "confidence"),
        (10 * np.arange(10, 0, -1), "confidence"),
        (NAMES, None),
    ],
)
def test_the_names_of_a_prefit_net_decide_what_its_outputs_mean(names, wrap, learner, rows, module):
    _, X, X_new, _, y, y_new = rows
    net, label = initialized(module, classes=names), np.asarray(names)
    clf = fit(WRAPPERS[wrap](net), X, label[y], meta_learner=learner)
    position = net.predict(X_new)
    labels, error_proba = clf.predict_with_error(X_new)
    assert_array_equal(clf.classes_, label)
    assert_array_equal(clf.predict_proba(X_new), net.predict_proba(X_new))
    assert_array_equal(labels, label[position])
    assert_array_equal(clf.predict(X_new), labels)
    assert clf.score(X_new, label[y_new]) == (position == y_new).mean() > 0.8
    if learner is not None:
        assert clf.oof_error_rate_ == pytest.approx((net.predict(X) != y).mean())
        report = failure_report(clf, X_new, label[y_new])
        assert "error probability" in report
    plain = fit(WRAPPERS[wrap](initialized(module)), X, y, meta_learner=learner)
    # Rows that are summed in another order differ in the last bits.
    assert_allclose(error_proba, plain.predict_error_proba(X_new), rtol=1e-4)


def test_the_names_decide_in_every_wrapper(rows, module):
    _, X, X_new, _, y, _ = rows
    net = initialized(module, classes=list(NAMES))
    predicted = NAMES[net.predict(X_new)]
    clf = fit(net, X, NAMES[y], cv="prefit")
    for base in (net, clf):
        selective = SelectiveClassifier(FrozenEstimator(base), target_coverage=0.9)
        selective.fit(X, NAMES[y])
        answers, accepted = selective.predict(X_new), selective.accepts(X_new)
        assert_array_equal(answers[accepted], predicted[accepted])


@pytest.mark.parametrize("labels", [NAMES, NAMES.astype(object)])
@pytest.mark.parametrize("make", ["initialized", "encoded", "binary"])
def test_text_for_a_net_that_names_no_outputs_is_refused_before_any_cost(
    labels, make, rows, module, monkeypatch
):
    X_train, X, _, y_train, y, _ = rows
    if make == "initialized":
        net = initialized(module)
    elif make == "encoded":
        encoder = LabelEncoder().fit(NAMES)
        net = make_net(TinyMLP, max_epochs=10).fit(X_train, encoder.transform(NAMES[y_train]))
    else:
        net = make_net(
            TinyMLP,
            net_class=NeuralNetBinaryClassifier,
            module__n_outputs=1,
            criterion=nn.BCEWithLogitsLoss,
        ).initialize()
        y = y % 2
    calls = []
    monkeypatch.setattr(
        "metaerr_sklearn.classifier._meta_error_classifier.find_duplicates", calls.append
    )
    advice = "Pass y as 0 and 1" if make == "binary" else r"set_params\(classes="
    with pytest.raises(ValueError, match=f"does not name its outputs.*{advice}"):
        fit(FrozenEstimator(net), X, labels[y])
    with pytest.raises(ValueError, match="does not name its outputs"):
        SelectiveClassifier(FrozenEstimator(net), target_coverage=0.9).fit(X, labels[y])
    assert not calls
    if make == "encoded":
        monkeypatch.undo()
        net.set_params(classes=encoder.classes_)
        clf = fit(FrozenEstimator(net), X, labels[y])
        assert clf.oof_error_rate_ == (encoder.classes_[net.predict(X)] != labels[y]).mean() < 0.2


@pytest.mark.parametrize("n_names", [8, 12])
def test_as_many_names_as_outputs(n_names, rows, module):
    _, X, _, _, y, _ = rows
    names = [*NAMES, "ten", "eleven"][:n_names]
    net = initialized(module, classes=names)
    with pytest.raises(ValueError, match=rf"has 10 outputs, but .* has {n_names} labels"):
        fit(FrozenEstimator(net), X[y < 8], NAMES[y[y < 8]])


def test_names_are_no_hindrance_to_labels_that_are_output_numbers(rows, module):
    _, X, X_new, _, y, _ = rows
    net = initialized(module, classes=NAMES)
    clf = fit(FrozenEstimator(net), X[y != 4], y[y != 4])
    assert_array_equal(clf.predict(X_new), net.predict(X_new))


@pytest.mark.parametrize("learner", ["confidence", None])
@pytest.mark.parametrize("missing", [[9], [0, 3], [1, 2, 3, 4, 5, 6, 7, 8]])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float64])
def test_output_j_is_label_j_where_labels_are_missing(learner, missing, dtype, rows, module):
    _, X, X_new, _, y, _ = rows
    kept, net = ~np.isin(y, missing), initialized(module)
    clf = fit(FrozenEstimator(net), X[kept], y[kept].astype(dtype), meta_learner=learner)
    labels, error_proba = clf.predict_with_error(X_new)
    assert_array_equal(clf.classes_, np.arange(10))
    assert_array_equal(labels, net.predict(X_new))
    assert_array_equal(clf.predict(X_new), labels)
    assert np.isfinite(error_proba).all()
    if learner is not None:
        assert clf.oof_error_rate_ == pytest.approx((net.predict(X) != y)[kept].mean())


def test_a_thousand_outputs_and_ten_classes(rows):
    X_train, X, X_new, y_train, y, _ = rows
    net = make_net(TinyMLP, module__n_outputs=1000, max_epochs=10).fit(X_train, y_train)
    clf = fit(FrozenEstimator(net), X, y.astype(np.uint8), meta_learner="auto")
    assert len(clf.classes_) == clf.predict_proba(X_new).shape[1] == 1000
    assert clf.classes_[-1] == 999
    assert_array_equal(clf.predict_with_error(X_new)[0], net.predict(X_new))


def test_labels_without_an_output_count_as_errors_and_are_reported(rows, module):
    _, X, _, _, y, _ = rows
    net, odd = initialized(module), np.where((y == 3) & (X[:, 20] > 0.5), 77, y)
    with pytest.warns(UserWarning, match=r"has no output for \[77\].* counts as an error"):
        clf = fit(FrozenEstimator(net), X, odd)
    assert clf.oof_error_[odd == 77].all()
    assert not clf.oof_error_[odd != 77].all()
    with pytest.raises(ValueError, match=r"No label of y, \[100, 101.*set_params\(classes="):
        fit(FrozenEstimator(net), X[y < 5], y[y < 5] + 100)


@pytest.mark.parametrize("label", [lambda y: y + 1, lambda y: np.where(y == 3, 77, y)])
def test_as_many_numbers_as_outputs_that_are_not_their_numbers_are_refused(label, rows, module):
    _, X, X_new, _, y, _ = rows
    net = initialized(module)
    with pytest.raises(ValueError, match="does not name its outputs"):
        fit(FrozenEstimator(net), X, label(y))
    net.set_params(classes=label(np.arange(10)))
    clf = fit(FrozenEstimator(net), X, label(y))
    assert_array_equal(clf.predict(X_new), label(net.predict(X_new)))


@pytest.mark.parametrize("labels", [[0, 1], [-1, 1], [1, 2], [False, True]])
def test_the_larger_of_two_labels_is_the_output_of_a_binary_net(labels, rows):
    X_train, X, X_new, y_train, y, _ = rows
    net = make_net(
        TinyMLP,
        net_class=NeuralNetBinaryClassifier,
        module__n_outputs=1,
        criterion=nn.BCEWithLogitsLoss,
    )
    net.fit(X_train, (y_train % 2).astype(np.float32))
    labels = np.array(labels)
    clf = fit(FrozenEstimator(net), X, labels[y % 2])
    assert_array_equal(clf.predict(X_new), labels[net.predict(X_new).astype(int)])


BASES = {
    "net": lambda net: net,
    "pipeline": lambda net: make_pipeline(StandardScaler(), net),
    "search": lambda net: GridSearchCV(net, {"lr": [0.01]}, cv=2),
}


@pytest.mark.parametrize(
    ("base", "missing"),
    [("net", [9]), ("net", [3]), ("net", [0, 9]), ("pipeline", [0, 9]), ("search", [3])],
)
def test_cross_fitted_nets_with_more_outputs_than_classes(base, missing, rows):
    """GTSRB: 43 outputs, and 42 signs in the sample."""
    X_train, _, X_new, y_train, _, y_new = rows
    kept = ~np.isin(y_train, missing)
    clf = fit(BASES[base](make_net(TinyMLP, max_epochs=10)), X_train[kept], y_train[kept])
    known = ~np.isin(y_new, missing)
    assert clf.oof_error_rate_ < 0.25
    assert_array_equal(clf.classes_, np.arange(10))
    assert clf.predict_proba(X_new).shape == (300, 10)
    labels, error_proba = clf.predict_with_error(X_new)
    assert_array_equal(labels, clf.estimator_.predict(X_new))
    assert_array_equal(labels, clf.predict(X_new))
    assert (labels == y_new)[known].mean() > 0.75
    assert np.isfinite(error_proba).all()


class Pretrained(TinyMLP):
    """A module that starts from given weights."""

    def __init__(self, weights):
        super().__init__()
        self.load_state_dict(weights)


def test_a_predicted_label_that_y_does_not_have_is_always_an_error(rows, module):
    """The weights know ten digits, and y has two: the net predicts each of its 10 outputs."""
    _, X, X_new, _, y, _ = rows
    some = np.isin(y, [2, 7])
    X, y = X[some], y[some]
    # Every fourth label is wrong, so that a net of any quality makes enough errors to learn from.
    y = np.where(np.arange(len(y)) % 4 == 0, 9 - y, y)
    net = make_net(Pretrained, module__weights=module.state_dict(), max_epochs=1, lr=1e-5)
    clf = fit(net, X, y, meta_learner="auto")
    labels, error_proba = clf.predict_with_error(X_new)
    assert_array_equal(labels, clf.predict(X_new))
    never_seen = ~np.isin(labels, [2, 7])
    assert never_seen.any()
    assert (error_proba[never_seen] > 0.5).all()


def test_numbers_that_are_no_output_numbers(rows):
    X, X_new, _, y, y_new, _ = rows
    clf = fit(make_net(TinyMLP, max_epochs=10), X, 10 * y + 10)
    assert clf.score(X_new, 10 * y_new + 10) > 0.8
    # The fitted net notes the labels, so that it can be used as a prefit base.
    again = fit(FrozenEstimator(clf.estimator_), X_new, 10 * y_new + 10)
    assert_array_equal(again.predict(X_new), clf.predict(X_new))
    with pytest.raises(
        ValueError, match=r"12 outputs for each row, but y has 10 classes.*classes="
    ):
        fit(make_net(TinyMLP, module__n_outputs=12, max_epochs=1), X, 10 * y + 10)


def test_a_net_fitted_here_on_text_can_be_used_as_a_prefit_base(rows):
    X, X_new, _, y, y_new, _ = rows
    net = fit(make_net(TinyMLP, max_epochs=10), X, NAMES[y]).estimator_
    clf = fit(FrozenEstimator(net), X_new, NAMES[y_new])
    assert clf.oof_error_rate_ < 0.2


@pytest.mark.parametrize("base", BASES)
def test_names_given_to_a_cross_fitted_net_decide_too(base, rows):
    X, X_new, _, y, y_new, _ = rows
    weight = torch.ones(10)
    weight[0] = 0  # of the output "zero": it is never learned
    net = make_net(TinyMLP, max_epochs=10, classes=NAMES, criterion__weight=weight)
    clf = fit(BASES[base](net), X, NAMES[y])
    assert_array_equal(clf.classes_, NAMES)
    assert not (clf.predict(X_new) == "zero").any()
    assert (clf.predict(X_new) == NAMES[y_new])[y_new > 0].mean() > 0.75
    with pytest.raises(ValueError, match=r"y holds the labels \['ten'\].*classes="):
        fit(BASES[base](net), X, np.where(y == 3, "ten", NAMES[y]))


class LateSize(nn.Module):
    """A module whose number of outputs is set when the training starts."""

    def __init__(self, n_outputs=2):
        super().__init__()
        self.layer = nn.Linear(64, n_outputs)

    def forward(self, X):
        return self.layer(X)


@pytest.mark.parametrize("labels", [np.arange(10), 10 * np.arange(1, 11), NAMES])
def test_a_callback_may_set_the_number_of_outputs(labels, rows):
    from skorch.callbacks import Callback

    class SetOutputs(Callback):
        def on_train_begin(self, net, X, y):
            net.set_params(module__n_outputs=len(np.unique(y)))

    X, X_new, _, y, y_new, _ = rows
    net = make_net(LateSize, max_epochs=10, callbacks=[SetOutputs()])
    assert fit(net, X, labels[y]).score(X_new, labels[y_new]) > 0.8


@pytest.mark.parametrize("criterion", ["certain", "weight"])
def test_self_training_of_a_net_with_more_outputs_than_classes(criterion, rows):
    X, X_new, _, y, y_new, _ = rows
    kept, known = y != 4, y_new != 4
    partly = y[kept].copy()
    partly[120:] = -1
    net = make_net(TinyMLP, max_epochs=25)
    clf = SelfTrainingWithMetaErr(net, criterion=criterion, cv=3, max_iter=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf.fit(X[kept], partly)
    assert_array_equal(clf.classes_, np.arange(10))
    assert 4 not in clf.transduction_
    assert (clf.predict(X_new) == y_new)[known].mean() > 0.6
    assert np.isfinite(clf.predict_error_proba(X_new)).all()
