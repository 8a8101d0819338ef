"""Threads leave warning filters and the threads of BLAS as they were."""

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

from metaerr_sklearn._threads import run_in_threads


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


def test_warning_filters_that_threads_leave_behind_do_not_stay():
    """Red without the guard: the thread that ends last puts back what the other one had set."""

    def change():
        return warnings.catch_warnings(action="ignore")

    before = list(warnings.filters)
    with warnings.catch_warnings():
        threads = [threading.Thread(target=work) for work in overlapping(change)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert warnings.filters != before, "nothing here for a guard to do"
    run_in_threads(2, overlapping(change))
    assert warnings.filters == before


# How many threads BLAS has is decided when it is loaded, and which thread of Python may change that
# (threadpoolctl >= 3.7) by the first that does.
BLAS_SCRIPT = """
import threading
import warnings
from contextlib import nullcontext
from functools import partial
import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits
from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn._threads import run_in_threads
from test_threads import overlapping

def blas():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

print(blas() == {2}, "BLAS has threads")
limit = partial(threadpool_limits, 1, user_api="blas")
run_in_threads(2, overlapping(limit))
print(blas() == {2}, "threads that limit BLAS")
print(run_in_threads(2, [blas, blas]) == [{1}, {1}], "in threads")
fail = partial(int, "no number")
try:
    run_in_threads(2, [fail, fail])
except ValueError:
    print(blas() == {2}, "an exception")
pairs = [(2, [work, blas]) for work in overlapping(nullcontext)]
callers = [threading.Thread(target=run_in_threads, args=pair) for pair in pairs]
[caller.start() for caller in callers]
[caller.join() for caller in callers]
print(blas() == {2}, "two callers")

# So many independent columns that neighbours are found by brute force, which limits BLAS itself.
X, y = make_classification(
    24_000, 40, n_informative=40, n_redundant=0, n_classes=12, flip_y=0.3, random_state=0
)
model = MetaErrorClassifier(LogisticRegression(), "logistic", cv=2, random_state=0)
model.fit(X[:1500], y[:1500])
alone = model.predict_error_proba(X)
model.error_model_.n_jobs = 4
before = list(warnings.filters)
in_threads = model.predict_error_proba(X)
print(blas() == {2}, "prediction")
print(warnings.filters == before, "filters")
print(np.array_equal(in_threads, alone), "error probabilities")
"""


def test_threads_of_blas_are_as_many_as_before():
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
    assert len(lines) == 8
    assert all(line.startswith("True") for line in lines), result.stdout
