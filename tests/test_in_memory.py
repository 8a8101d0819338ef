"""Rows that are not in memory are refused at every door, with what to type."""

import re
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.naive_bayes import GaussianNB

import metaerr_sklearn
from metaerr_sklearn import (
    ErrorModel,
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
    confidence,
    metrics,
    plotting,
)
from metaerr_sklearn._utils.in_memory import check_in_memory
from metaerr_sklearn.model_selection import SemiSupervisedKFold
from metaerr_sklearn.representation import NumericRepresentation
from metaerr_sklearn.slices import error_slices

NAMES = list("abcdef")


def dask_array(X):
    return pytest.importorskip("dask.array").from_array(X, chunks=len(X) // 2)


def dask_frame(X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=NAMES[: X.shape[1]]) if X.ndim > 1 else pd.Series(X)
    return pytest.importorskip("dask.dataframe").from_pandas(frame, npartitions=2)


def dask_delayed(X):
    return pytest.importorskip("dask").delayed(X)


def lazy_frame(X):
    pl = pytest.importorskip("polars")
    return pl.LazyFrame({str(j): column for j, column in enumerate(np.atleast_2d(X.T))})


def arrow_file(X, folder):
    pa, ds = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.dataset")
    columns = {str(j): column for j, column in enumerate(np.atleast_2d(X.T))}
    ds.write_dataset(pa.table(columns), folder, format="parquet")
    return ds.dataset(folder)


def arrow_reader(X, folder):
    return arrow_file(X, folder).scanner().to_reader()


def generator(X):
    return (row for row in X)


class FromElsewhere:
    """What the packages of engines that are not installed here have in common."""

    def __init__(self, X):
        self.X = X

    def __len__(self):
        return len(self.X)

    @property
    def shape(self):
        return self.X.shape

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("all rows were loaded")

    def to_pandas(self):
        return self.X


def hugging_face(X):
    return type("Dataset", (FromElsewhere,), {"__module__": "datasets.arrow_dataset"})(X)


SparkFrame = type("SparkFrame", (FromElsewhere,), {"__module__": "pyspark.pandas.frame"})
KINDS = {
    "dask array": (dask_array, "compute"),
    "dask frame": (dask_frame, "compute"),
    "dask delayed": (dask_delayed, "compute"),
    "polars": (lazy_frame, "collect"),
    "generator": (generator, "list"),
    "iterator": (iter, "list"),
    "map": (partial(map, np.asarray), "list"),
    "hugging face": (hugging_face, "to_pandas"),
    "spark": (SparkFrame, "to_pandas"),
}


@pytest.fixture(scope="module")
def fitted(noisy_data):
    """The estimators, fitted on arrays, and the data."""
    X, y = noisy_data
    clf = MetaErrorClassifier(GaussianNB(), "logistic", cv=2, random_state=0).fit(X, y)
    proba = clf.predict_proba(X)
    return SimpleNamespace(
        X=X,
        y=y,
        proba=proba,
        is_error=clf.predict(X) != y,
        clf=clf,
        model=ErrorModel("logistic", cv=2, random_state=0).fit(X, y, proba),
        selective=SelectiveClassifier(clf, target_coverage=0.8, random_state=0).fit(X, y),
        self_training=SelfTrainingWithMetaErr(GaussianNB(), None).fit(
            X, np.where(X[:, 0] > 0, y, -1)
        ),
        trust=confidence.TrustScore().fit(X, y),
        agreement=confidence.NeighborAgreement().fit(X, y),
        representation=NumericRepresentation().fit(X),
        slices=error_slices(clf, X, random_state=0),
    )


#: Every public door for rows: f(fitted, rows).
ROWS = {
    "fit": lambda f, X: MetaErrorClassifier(GaussianNB()).fit(X, f.y),
    "fit without meta-learner": lambda f, X: MetaErrorClassifier(GaussianNB(), None).fit(X, f.y),
    "predict": lambda f, X: f.clf.predict(X),
    "predict_proba": lambda f, X: f.clf.predict_proba(X),
    "predict_log_proba": lambda f, X: f.clf.predict_log_proba(X),
    "predict_error_proba": lambda f, X: f.clf.predict_error_proba(X),
    "predict_error": lambda f, X: f.clf.predict_error(X),
    "predict_with_error": lambda f, X: f.clf.predict_with_error(X),
    "predict_novelty": lambda f, X: f.clf.predict_novelty(X),
    "estimate_accuracy": lambda f, X: f.clf.estimate_accuracy(X),
    "explain_error": lambda f, X: f.clf.explain_error(X),
    "score": lambda f, X: f.clf.score(X, f.y),
    "as_error_classifier": lambda f, X: f.clf.as_error_classifier().predict_proba(X),
    "ErrorModel.fit": lambda f, X: ErrorModel().fit(X, f.y, f.proba),
    "ErrorModel.predict": lambda f, X: f.model.predict_error_proba(X, f.proba),
    "ErrorModel.predict_novelty": lambda f, X: f.model.predict_novelty(X),
    "ErrorModel.explain_error": lambda f, X: f.model.explain_error(X, f.proba),
    "Selective.fit": lambda f, X: SelectiveClassifier(f.clf, target_risk=0.5).fit(X, f.y),
    "Selective.predict": lambda f, X: f.selective.predict(X),
    "Selective.predict_proba": lambda f, X: f.selective.predict_proba(X),
    "Selective.accepts": lambda f, X: f.selective.accepts(X),
    "Selective.score": lambda f, X: f.selective.score(X, f.y),
    "SelfTraining.fit": lambda f, X: SelfTrainingWithMetaErr(GaussianNB()).fit(X, f.y),
    "SelfTraining.predict": lambda f, X: f.self_training.predict(X),
    "SelfTraining.predict_error_proba": lambda f, X: f.self_training.predict_error_proba(X),
    "SelfTraining.score": lambda f, X: f.self_training.score(X, f.y),
    "SemiSupervisedKFold": lambda f, X: next(SemiSupervisedKFold(2).split(X, f.y)),
    "failure_report": lambda f, X: metaerr_sklearn.failure_report(f.clf, X, f.y),
    "a scorer": lambda f, X: metrics.ERROR_SCORERS["neg_aurc"](f.clf, X, f.y),
    "error_slices": lambda f, X: error_slices(f.clf, X, f.y),
    "error_slices without y": lambda f, X: error_slices(f.clf, X),
    "slices.apply": lambda f, X: f.slices.apply(X),
    "RiskCoverageDisplay": lambda f, X: plotting.RiskCoverageDisplay.from_estimator(f.clf, X, f.y),
    "ErrorDistributionDisplay": lambda f, X: plotting.ErrorDistributionDisplay.from_estimator(
        f.clf, X, f.y
    ),
    "ErrorGalleryDisplay": lambda f, X: plotting.ErrorGalleryDisplay.from_estimator(
        f.clf, X, image_shape=(2, 3)
    ),
    "TrustScore.fit": lambda f, X: confidence.TrustScore().fit(X, f.y),
    "TrustScore": lambda f, X: f.trust.score_samples(X),
    "NeighborAgreement.fit": lambda f, X: confidence.NeighborAgreement().fit(X, f.y),
    "NeighborAgreement": lambda f, X: f.agreement.score_samples(X),
    "NumericRepresentation.fit": lambda f, X: NumericRepresentation().fit(X),
    "NumericRepresentation": lambda f, X: f.representation.transform(X),
}
#: Every public door for one value of each row: f(fitted, values), and how the message names them.
COLUMNS = {
    "fit": ("y", lambda f, v: MetaErrorClassifier(GaussianNB()).fit(f.X, v)),
    "fit weights": (
        "sample_weight",
        lambda f, v: MetaErrorClassifier(GaussianNB()).fit(f.X, f.y, sample_weight=v),
    ),
    "ErrorModel.fit": ("y", lambda f, v: ErrorModel().fit(f.X, v, f.proba)),
    "ErrorModel.fit y_pred": (
        "y_pred",
        lambda f, v: ErrorModel().fit(f.X, f.y, f.proba, y_pred=v),
    ),
    "ErrorModel.accuracy_interval": (
        "error_proba",
        lambda f, v: f.model.accuracy_interval(v),
    ),
    "accuracy_interval": ("error_proba", lambda f, v: f.clf.accuracy_interval(v)),
    "novelty of accuracy_interval": (
        "novelty",
        lambda f, v: f.clf.accuracy_interval(np.full(len(f.y), 0.1), v),
    ),
    "Selective.fit": (
        "y",
        lambda f, v: SelectiveClassifier(f.clf, target_risk=0.5).fit(f.X, v),
    ),
    "Selective.score": ("y", lambda f, v: f.selective.score(f.X, v)),
    "SelfTraining.fit": ("y", lambda f, v: SelfTrainingWithMetaErr(GaussianNB()).fit(f.X, v)),
    "failure_report": ("y", lambda f, v: metaerr_sklearn.failure_report(f.clf, f.X, v)),
    "error_slices": ("y", lambda f, v: error_slices(f.clf, f.X, v)),
    "aurc": ("is_error", lambda f, v: metrics.aurc(v, f.proba[:, 0])),
    "aurc error_proba": ("error_proba", lambda f, v: metrics.aurc(f.is_error, v)),
    "certify_threshold": (
        "error_proba",
        lambda f, v: metaerr_sklearn.certify_threshold(f.is_error, v, target_risk=0.5),
    ),
    "gallery": (
        "y_pred",
        lambda f, v: plotting.ErrorGalleryDisplay.from_predictions(
            f.X, v, f.proba[:, 0], image_shape=(2, 3)
        ),
    ),
    "curves": (
        "is_error",
        lambda f, v: plotting.RiskCoverageDisplay.from_predictions(v, f.proba[:, 0]),
    ),
    "accepted of curves": (
        "accepted",
        lambda f, v: plotting.RiskCoverageDisplay.from_predictions(
            f.is_error, f.proba[:, 0], accepted=v
        ),
    ),
    "distribution": (
        "is_error",
        lambda f, v: plotting.ErrorDistributionDisplay.from_predictions(v, f.proba[:, 0]),
    ),
    "TrustScore": ("y_pred", lambda f, v: f.trust.score_samples(f.X, v)),
    "RelativeUncertainty": (
        "is_error",
        lambda f, v: confidence.RelativeUncertainty().fit(f.proba, v),
    ),
}


@pytest.mark.parametrize("door", ROWS)
def test_rows_that_are_not_in_memory_are_refused(door, fitted):
    for kind, (convert, method) in KINDS.items():
        rows = convert(fitted.X)
        with pytest.raises(TypeError, match=rf"^X is of type .*not in memory.*{method}\b") as error:
            ROWS[door](fitted, rows)
        assert "Many cores, clusters, large data" in str(error.value), kind
        if kind in ("generator", "iterator", "map"):  # nothing was taken from it
            assert len(list(rows)) == len(fitted.X)


@pytest.mark.parametrize("door", COLUMNS)
def test_labels_and_scores_that_are_not_in_memory_are_refused(door, fitted):
    name, call = COLUMNS[door]
    for convert, _ in KINDS.values():
        with pytest.raises(TypeError, match=f"^{name} is of type .*: its rows are not in memory"):
            call(fitted, convert(fitted.y))


def test_probabilities_that_are_not_in_memory_are_refused(fitted):
    for convert in (dask_array, lazy_frame, generator):
        with pytest.raises(TypeError, match=r"^proba is of type .* not in memory"):
            fitted.model.predict_error_proba(fitted.X, convert(fitted.proba))
        with pytest.raises(TypeError, match=r"^proba is of type .* not in memory"):
            confidence.margin(convert(fitted.proba))


def test_a_sequence_of_labels_in_a_file_is_read(noisy_data):
    """The columns of Hugging Face's datasets are sequences."""

    class Column(list):
        __module__ = "datasets.arrow_dataset"

    X, y = noisy_data
    assert MetaErrorClassifier(GaussianNB(), None).fit(X, Column(y.tolist())).score(X, y) > 0.5
    check_in_memory(type("Column", (FromElsewhere,), {"__module__": "datasets.arrow_dataset"})(y))


def test_inputs_of_nets_that_are_not_in_memory_are_refused(fitted):
    pytest.importorskip("torch")
    from metaerr_sklearn.neural import as_net_input

    for convert, _ in KINDS.values():
        with pytest.raises(TypeError, match=r"^X is of type .* not in memory"):
            as_net_input(convert(fitted.X))


def test_a_message_has_the_code_for_this_collection(fitted, tmp_path):
    images = dask_array(np.zeros((4, 1, 8, 8)))
    rows = {
        r"X\.map_blocks\(clf\.predict_error_proba, dtype=float, drop_axis=1\)": dask_array(
            fitted.X
        ),
        r"drop_axis=\[1, 2, 3\]": images,
        r"X\.map_partitions\(clf\.predict_error_proba\)": dask_frame(fitted.X),
        r"pass X\.to_table\(\).* for part in X\.to_batches\(\)": arrow_file(
            fitted.X, tmp_path / "a"
        ),
        r"pass X\.read_all\(\).* for part in X\]": arrow_reader(fitted.X, tmp_path / "b"),
    }
    for pattern, X in rows.items():
        with pytest.raises(TypeError, match=pattern):
            fitted.clf.predict_error_proba(X)


@pytest.mark.torch
def test_a_message_names_the_input_of_a_net_that_is_a_collection():
    inputs = {"image": dask_array(np.zeros((4, 1, 8, 8))), "age": np.zeros(4)}
    with pytest.raises(TypeError, match=r"pass X\['image'\]\.compute\(\)"):
        MetaErrorClassifier(GaussianNB()).fit(inputs, [0, 1, 0, 1])


# Some versions of scikit-learn read the names of the columns of a pyarrow table.
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_the_code_in_the_messages_runs(fitted, tmp_path):
    clf, expected = fitted.clf, fitted.clf.predict_error_proba(fitted.X)
    for X in (dask_array(fitted.X), arrow_file(fitted.X, tmp_path / "a")):
        with pytest.raises(TypeError) as error:
            clf.predict_error_proba(X)
        code = re.search("part by part: (.*?)\\. The guide", str(error.value)).group(1)
        result = eval(code, {"X": X, "clf": clf})
        result = np.concatenate(result) if isinstance(result, list) else result.compute()
        assert_allclose(result, expected, rtol=1e-9)


def test_dask_is_recognised_by_its_protocol_and_is_not_imported():
    code = """
import sys
from metaerr_sklearn._utils.in_memory import check_in_memory

class Collection(list.__base__):
    shape = (3, 2)
    def __dask_graph__(self):
        return self.graph

Collection.graph = None  # as an array of xarray without dask
check_in_memory(Collection())
Collection.graph = {}
try:
    check_in_memory(Collection())
except TypeError:
    print("dask" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
