"""Outputs that an engine computes part by part: the accuracy of all rows, and the recipes."""

import re
import shutil
from pathlib import Path

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn.accuracy_estimation import accuracy_interval

GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "clusters.md"


@pytest.mark.parametrize("case", ["plain", "weights", "sample", "hold-out", "prefit", "no learner"])
def test_outputs_of_parts_give_the_accuracy_of_all_rows(case, noisy_data, monkeypatch):
    X, y = noisy_data
    options, fit_params = {"random_state": 0}, {}
    if case == "weights":
        fit_params = {"sample_weight": np.random.default_rng(0).lognormal(0, 1.5, len(y))}
    elif case == "sample":
        monkeypatch.setattr("metaerr_sklearn._utils.limits.MAX_FIT_ROWS", 100)
    elif case == "hold-out":
        options["cv"] = 0.5
    elif case == "prefit":
        options["cv"] = "prefit"
    base = GaussianNB().fit(X[:50], y[:50]) if case == "prefit" else GaussianNB()
    learner = None if case == "no learner" else "logistic"
    clf = MetaErrorClassifier(base, learner, **options).fit(
        X[50:300], y[50:300], **{name: value[50:300] for name, value in fit_params.items()}
    )
    parts = [X[300:310], X[310:311], X[311:]]
    error_proba = np.concatenate([clf.predict_error_proba(part) for part in parts])
    novelty = None
    if case != "no learner":
        novelty = np.concatenate([clf.predict_novelty(part) for part in parts])
    expected = clf.estimate_accuracy(X[300:], confidence_level=0.9)
    estimate = clf.accuracy_interval(error_proba, novelty, confidence_level=0.9)
    assert_allclose(estimate, expected, rtol=1e-12)
    if case == "no learner":
        return
    model = clf.error_model_
    assert_array_equal(
        estimate, model.accuracy_interval(error_proba, novelty, confidence_level=0.9)
    )
    unweighted = accuracy_interval(error_proba, clf.oof_error_proba_, confidence_level=0.9)
    assert (estimate[1:3] != unweighted[1:3]) == (case in ("weights", "sample"))


def test_novel_rows_of_all_parts_together_give_the_warning(noisy_data):
    X, y = noisy_data
    clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0).fit(X[:300], y[:300])
    far = X[300:] * 5
    error_proba, novelty = clf.predict_error_proba(far), clf.predict_novelty(far)
    with pytest.warns(UserWarning, match=r"of the 100 rows are unlike the training rows"):
        estimate = clf.accuracy_interval(error_proba, novelty)
    assert_allclose(estimate.novelty, (novelty > 0.99).mean())
    assert np.isnan(clf.accuracy_interval(error_proba).novelty)


@pytest.mark.parametrize(
    ("error_proba", "novelty", "message"),
    [
        ([0.1, 1.5], None, "error_proba must be between 0 and 1 in each row, got 1.5 in row 1"),
        ([0.1, np.nan], None, "error_proba must be between 0 and 1 in each row, got nan in row 1"),
        ([0.1, 0.2], [0.1, -3.0], "novelty must be between 0 and 1.*predict_novelty"),
        ([0.1, 0.2], [0.1], "inconsistent numbers of samples"),
        ([], None, "accuracy on 0 rows is not defined"),
    ],
)
def test_outputs_that_are_no_shares_are_refused(error_proba, novelty, message, noisy_data):
    clf = MetaErrorClassifier(GaussianNB(), "logistic", cv=2, random_state=0).fit(*noisy_data)
    with pytest.raises(ValueError, match=message):
        clf.accuracy_interval(error_proba, novelty)


def recipe(heading):
    """Return the code below a heading of the guide."""
    section = GUIDE.read_text().split(f"# {heading}\n")[1].split("\n#")[0]
    return "\n".join(re.findall(r"^```py(?:thon)?\n(.*?)^```", section, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def recipes():
    """The names that the recipes share, and the outputs for all rows."""
    pytest.importorskip("pandas")
    names = {}
    exec(recipe("Predict on an engine"), names)
    names["expected"] = names["predict_part"](names["X"][900:], names["clf"])
    return names


def check_result(names):
    result, expected = names["result"], names["expected"]
    assert list(result) == list(expected)
    # A worker may predict the parts in another order.
    for name in expected:
        values = np.sort(result[name].to_numpy(dtype=float))
        assert_allclose(values, np.sort(expected[name]), rtol=1e-6, atol=1e-12)
    exec(recipe("Accuracy of all rows"), names)


def test_recipe_for_frames_of_dask(recipes):
    pytest.importorskip("dask.dataframe")
    names = {**recipes}
    exec(recipe("Frames of dask"), names)
    assert names["result"].equals(names["expected"].loc[names["result"].index])
    check_result(names)
    rows, clf = names["rows"], names["clf"]
    none = rows[rows["pixel_0_0"] > 99]
    none = none.map_partitions(names["predict_part"], clf, meta=names["columns"]).compute()
    assert none.dtypes.equals(names["expected"].dtypes)
    assert len(none) == 0


def test_recipe_for_frames_of_dask_on_a_cluster(recipes):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        names = {**recipes, "clf": client.scatter(recipes["clf"], broadcast=True)}
        exec(recipe("Frames of dask"), names)
    check_result({**names, "clf": recipes["clf"]})


def test_recipe_for_arrays_of_dask(recipes):
    pytest.importorskip("dask.array")
    names = {**recipes}
    exec(recipe("Arrays of dask"), names)
    assert_allclose(names["error_proba"], names["expected"]["error_proba"], rtol=1e-6)


def test_recipe_for_files(recipes, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    names = {**recipes}
    exec(recipe("Files that are larger than the memory"), names)
    check_result(names)


@pytest.mark.filterwarnings("default")
def test_recipe_for_ray(recipes):
    ray = pytest.importorskip("ray")
    from ray.util.joblib import register_ray

    register_ray()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        names = {**recipes}
        exec(recipe("Ray"), names)
        check_result(names)
        with pytest.raises(TypeError, match=r"^X is of type ray .* X\.iter_batches"):
            names["clf"].predict(names["rows"])
        with joblib.parallel_config("ray", n_jobs=2):
            check_fit()
    finally:
        ray.shutdown()


@pytest.mark.filterwarnings("default")
def test_recipe_for_spark(recipes):
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    names = {**recipes}
    exec(recipe("Spark"), names)
    check_result(names)
    for rows in (names["rows"], names["rows"].rdd):
        with pytest.raises(TypeError, match=r"^X is of type pyspark .*pass X\.(toPandas|collect)"):
            names["clf"].predict(rows)
    pytest.importorskip("joblibspark").register_spark()
    with joblib.parallel_config("spark", n_jobs=2):
        check_fit()


def check_fit():
    """Check that the result is that of a fit on one machine."""
    X, y = load_digits(return_X_y=True)
    clf = MetaErrorClassifier(GaussianNB(), "logistic", cv=3, random_state=0)
    there = clf.fit(X[:300], y[:300]).oof_error_proba_
    with joblib.parallel_config("sequential"):
        assert_array_equal(clf.fit(X[:300], y[:300]).oof_error_proba_, there)
