"""Threads restore the warning filters and the thread counts of BLAS."""

import os
import subprocess
import sys
import threading
import time
import warnings
from functools import partial
from pathlib import Path

import pytest
from sklearn import config_context, get_config

from metaerr_sklearn._utils.threads import run_in_threads


def overlapping(change):
    """Return two functions that change something, of which the first begins and ends first."""
    first_is_in, both_are_in, first_is_out = (threading.Event() for _ in range(3))

    def first():
        with change():
            first_is_in.set()
            assert both_are_in.wait(20)
        first_is_out.set()

    def second():
        assert first_is_in.wait(20)
        with change():
            both_are_in.set()
            assert first_is_out.wait(20)

    return first, second


def test_results_come_in_order_and_under_the_configuration_of_the_caller():
    def work(number):
        time.sleep(0.02 * (3 - number))
        return number, get_config()["working_memory"]

    with config_context(working_memory=7):
        for n_jobs in (None, 1, 3):
            works = (partial(work, number) for number in range(3))
            assert run_in_threads(n_jobs, works) == [(0, 7), (1, 7), (2, 7)]
    assert run_in_threads(2, []) == []


def test_warning_filters_are_restored_after_threads():
    """Without the guard, the thread that ends last restores the filters of the other thread."""

    class UnusedWarning(UserWarning):
        pass

    def change():
        return warnings.catch_warnings(action="ignore", category=UnusedWarning)

    before = list(warnings.filters)
    with warnings.catch_warnings():
        threads = [threading.Thread(target=work) for work in overlapping(change)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert warnings.filters != before, "the guard is not needed"
    run_in_threads(2, overlapping(change))
    assert warnings.filters == before


# The number of threads of BLAS is set when the library is loaded, so that a new process is needed.
# In newer versions of threadpoolctl, it also matters which thread changes it first.
BLAS_SCRIPT = """
import threading
import time
import warnings
from contextlib import contextmanager
from functools import partial
import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits
from metaerr_sklearn import LogisticMetaLearner, MetaErrorClassifier
from metaerr_sklearn._utils.threads import one_thread_of_blas, run_in_threads
from metaerr_sklearn.representation import NumericRepresentation
from _bases import grow_few_trees
from test_threads import overlapping

def count(api="blas"):
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == api}

print(count() == {2} and count("openmp") == {2}, "there are threads")
print(run_in_threads(2, [partial(count, "openmp")] * 2) == [{1}, {1}], "OpenMP in threads")
print(count("openmp") == {2}, "OpenMP afterwards")
limit = partial(threadpool_limits, 1, user_api="blas")
run_in_threads(2, overlapping(limit))
print(count() == {2}, "threads that limit BLAS")

first, second = overlapping(limit)
results = []
callers = [
    threading.Thread(target=lambda w=w: results.append(run_in_threads(2, [w, count])))
    for w in (first, second)
]
[caller.start() for caller in callers]
[caller.join() for caller in callers]
print(len(results) == 2 and count() == {2}, "two callers")

seen = []

@contextmanager
def one_thread():
    with one_thread_of_blas():
        yield
        seen.append(count())

callers = [threading.Thread(target=w) for w in overlapping(one_thread)]
[caller.start() for caller in callers]
[caller.join() for caller in callers]
print(seen == [{1}, {1}], "two callers that want one thread")
print(count() == {2}, "two callers that wanted one thread")

def fail():
    assert is_late.wait(20)
    raise KeyError

def be_late():
    with limit():
        is_late.set()
        time.sleep(0.3)

is_late = threading.Event()
try:
    run_in_threads(2, [fail, be_late])
except KeyError:
    print(count() == {2}, "an exception")

# With this many independent columns neighbours are found by brute force, which limits BLAS itself.
X, y = make_classification(
    24_000, 40, n_informative=40, n_redundant=0, n_classes=12, flip_y=0.3, random_state=0
)
grow_few_trees()
model = MetaErrorClassifier(LogisticRegression(), "logistic", cv=2, random_state=0)
model.fit(X[:1500], y[:1500])
print(count() == {2}, "fit")
alone = model.predict_error_proba(X)
model.error_model_.n_jobs = 4
before = list(warnings.filters)
in_threads = model.predict_error_proba(X)
print(count() == {2}, "prediction")
print(warnings.filters == before, "filters")
print(np.array_equal(in_threads, alone), "error probabilities")

# With this many rows BLAS sums in several threads, which rounds in another way.
rng = np.random.default_rng(0)
Z, is_error = rng.normal(size=(18_000, 60)), rng.random(18_000) < 0.3
Z[:, 0] += is_error
folds = [(np.arange(9_000), np.arange(9_000, 18_000)), (np.arange(9_000, 18_000), np.arange(9_000))]
learn = partial(LogisticMetaLearner().fit, Z, is_error, np.full(18_000, -0.85), folds=folds)
alone, (beside, _) = learn().oof_logit_, run_in_threads(2, [lambda: learn().oof_logit_, count])
with limit():
    limited = learn().oof_logit_
print(np.array_equal(alone, beside) and np.array_equal(alone, limited), "out-of-fold logits")

images = rng.normal(size=(6_000, 28, 28)).astype(np.float32)
representation = NumericRepresentation(random_state=0).fit(images[:500])
alone = representation.transform(images)
with limit():
    limited = representation.transform(images)
print(np.array_equal(alone, limited), "components of images")
"""


def test_the_number_of_threads_of_blas_is_restored():
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    result = subprocess.run(
        [sys.executable, "-c", BLAS_SCRIPT],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    if lines[0].startswith("False"):
        pytest.skip("no BLAS whose threads can be counted")
    assert len(lines) == 14
    assert all(line.startswith("True") for line in lines), result.stdout
