"""Displays: they draw the numbers of the metrics, on given axes, and change nothing else."""

import pickle
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit
from sklearn.naive_bayes import GaussianNB

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn._utils.probabilities import proba_not_max
from metaerr_sklearn.metrics import aurc, error_roc_auc, risk_at_coverage
from metaerr_sklearn.plotting import (
    ErrorDistributionDisplay,
    ErrorGalleryDisplay,
    RiskCoverageDisplay,
)
from metaerr_sklearn.selective import SelectiveClassifier

pytestmark = pytest.mark.usefixtures("small_second_opinion")
DISPLAYS = [RiskCoverageDisplay, ErrorDistributionDisplay, ErrorGalleryDisplay]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def meta(digits):
    X_train, _, y_train, _ = digits
    model = MetaErrorClassifier(GaussianNB(var_smoothing=0.01), "logistic", random_state=0)
    return model.fit(X_train, y_train)


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    error_proba = rng.random(200).round(2)
    return rng.random(200) < 0.6 * error_proba, error_proba


def from_predictions(display, predictions, **kwargs):
    is_error, error_proba = predictions
    if display is ErrorGalleryDisplay:
        images = np.random.default_rng(0).random((200, 5, 4))
        return display.from_predictions(images, np.zeros(200), error_proba, **kwargs)
    return display.from_predictions(is_error, error_proba, **kwargs)


def from_estimator(display, estimator, X, y, **kwargs):
    if display is ErrorGalleryDisplay:
        kwargs["image_shape"] = (8, 8)
    return display.from_estimator(estimator, X, y, **kwargs)


def legend_of(shown):
    return [text.get_text() for text in shown.ax_.get_legend().get_texts()]


# All displays


@pytest.mark.parametrize("display", DISPLAYS)
def test_given_axes_are_used_and_no_figure_is_made(display, predictions):
    figure, (left, right) = plt.subplots(1, 2)
    before = plt.get_fignums()
    shown = from_predictions(display, predictions, ax=left)
    assert shown.ax_ is left
    assert shown.figure_ is figure
    shown.plot(ax=right)
    assert shown.ax_ is right
    assert plt.get_fignums() == before
    figure.canvas.draw()


@pytest.mark.parametrize("display", DISPLAYS)
def test_one_figure_is_made_without_axes(display, predictions):
    before = len(plt.get_fignums())
    shown = from_predictions(display, predictions)
    assert len(plt.get_fignums()) == before + 1
    assert shown.figure_ is shown.ax_.figure
    shown.figure_.canvas.draw()


@pytest.mark.parametrize("display", DISPLAYS)
def test_from_estimator_is_from_predictions(display, meta, digits):
    _, X, _, y = digits
    labels, error_proba = meta.predict_with_error(X)
    shown = from_estimator(display, meta, X, y)
    if display is RiskCoverageDisplay:
        msp = proba_not_max(meta.predict_proba(X))
        scores = {"error probability": error_proba, "max probability": msp}
        expected = display.from_predictions(labels != y, scores)
        assert list(shown.selective_risk) == list(expected.selective_risk) == list(scores)
        for row in scores:
            assert_allclose(shown.selective_risk[row], expected.selective_risk[row])
    elif display is ErrorDistributionDisplay:
        expected = display.from_predictions(labels != y, error_proba)
        assert_array_equal(shown.wrong, expected.wrong)
    else:
        images = X.reshape(-1, 8, 8)
        expected = display.from_predictions(images, labels, error_proba, y_true=y)
        assert_array_equal(shown.images, expected.images)
        assert_array_equal(shown.indices, expected.indices)


@pytest.mark.parametrize("display", DISPLAYS)
def test_plain_classifier_is_shown_with_max_probability(display, digits):
    X_train, X, y_train, y = digits
    base = GaussianNB().fit(X_train, y_train)
    shown = from_estimator(display, base, X, y)
    if display is RiskCoverageDisplay:
        assert list(shown.selective_risk) == ["max probability"]
    elif display is ErrorDistributionDisplay:
        assert "1 - max probability" in shown.ax_.get_legend().get_title().get_text()
    else:
        error_proba = 1 - base.predict_proba(X).max(axis=1)
        assert_allclose(shown.error_proba, np.sort(error_proba)[::-1][:20])


@pytest.mark.parametrize("display", DISPLAYS)
def test_missing_matplotlib_is_reported_before_any_work(display, predictions, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    match = rf"{display.__name__}.from_.* needs matplotlib.*`pip install matplotlib`"
    with pytest.raises(ImportError, match=match):
        from_predictions(display, predictions)
    with pytest.raises(ImportError, match=match):
        display.from_estimator(None, None, None)


@pytest.mark.parametrize("display", DISPLAYS)
def test_drawing_changes_no_setting(display, predictions):
    before = dict(matplotlib.rcParams)
    from_predictions(display, predictions)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("display", DISPLAYS)
def test_figure_survives_pickling(display, predictions):
    pickle.loads(pickle.dumps(from_predictions(display, predictions).figure_))


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("display", [RiskCoverageDisplay, ErrorDistributionDisplay])
def test_all_right_and_all_wrong_can_be_drawn(display, constant):
    shown = display.from_predictions([constant] * 5, [0.1, 0.2, 0.3, 0.3, 0.9])
    shown.figure_.canvas.draw()


# RiskCoverageDisplay


@pytest.mark.parametrize("weighted", [False, True])
def test_curves_are_the_metrics(predictions, weighted):
    is_error, error_proba = predictions
    weight = np.random.default_rng(1).integers(3, size=200) if weighted else None
    shown = RiskCoverageDisplay.from_predictions(
        is_error, {"a": error_proba, "b": -error_proba}, sample_weight=weight
    )
    for row, score in ("a", error_proba), ("b", -error_proba):
        expected = risk_at_coverage(
            is_error, score, target_coverage=shown.coverage, sample_weight=weight
        )
        assert_array_equal(shown.selective_risk[row], expected)
        assert shown.aurc[row] == aurc(is_error, score, sample_weight=weight)
    assert_allclose(shown.error_rate, np.average(is_error, weights=weight))
    assert shown.optimal_aurc == aurc(is_error, is_error, sample_weight=weight)


def test_mean_of_an_unweighted_curve_is_aurc(predictions):
    is_error, error_proba = predictions
    shown = RiskCoverageDisplay.from_predictions(is_error, error_proba)
    assert_allclose(shown.coverage, np.arange(1, 201) / 200)
    assert_allclose(
        shown.selective_risk["error probability"].mean(), shown.aurc["error probability"]
    )
    assert_allclose(shown.optimal_risk.mean(), shown.optimal_aurc)


def test_many_rows_make_a_light_line():
    rng = np.random.default_rng(0)
    shown = RiskCoverageDisplay.from_predictions(rng.random(50_000) < 0.1, rng.random(50_000))
    assert len(shown.line_.get_xdata()) == 1000


def test_the_drawn_lines_are_the_computed_curves(predictions):
    is_error, error_proba = predictions
    shown = RiskCoverageDisplay.from_predictions(is_error, {"a": error_proba, "b": -error_proba})
    assert len(shown.line_) == 2
    for line, risk in zip(shown.line_, shown.selective_risk.values()):
        assert_array_equal(line.get_xdata(), shown.coverage)
        assert_array_equal(line.get_ydata(), risk)
    assert_array_equal(shown.random_line_.get_ydata(), [shown.error_rate] * 2)
    assert_array_equal(shown.optimal_line_.get_ydata(), shown.optimal_risk)
    assert legend_of(shown) == [
        f"a: {1000 * shown.aurc['a']:.1f}",
        f"b: {1000 * shown.aurc['b']:.1f}",
        f"random order: {1000 * shown.error_rate:.1f}",
        f"oracle: {1000 * shown.optimal_aurc:.1f}",
    ]


def test_legend_lies_above_the_curves(meta, digits):
    _, X, _, y = digits
    _, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
    for ax in axes:
        shown = RiskCoverageDisplay.from_estimator(meta, X, y, ax=ax)
        shown.figure_.canvas.draw()
        bottom = ax.get_legend().get_window_extent().transformed(ax.transData.inverted()).y0
        assert bottom > shown.error_rate


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("naive", "other"), ("naive, ", "other, ")), ((None, None), ("", "model 2, "))],
)
def test_models_on_the_same_axes_are_told_apart(names, expected, meta, digits):
    """Also their baselines. The random order and the oracle have one entry, with two numbers."""
    X_train, X, y_train, y = digits
    other = MetaErrorClassifier(GaussianNB(var_smoothing=0.3), "confidence", cv=2, random_state=0)
    first = RiskCoverageDisplay.from_estimator(meta, X, y, name=names[0])
    second = RiskCoverageDisplay.from_estimator(
        other.fit(X_train, y_train), X, y, name=names[1], ax=first.ax_
    )
    assert legend_of(second) == [
        *(f"{expected[0]}{score}: {1000 * area:.1f}" for score, area in first.aurc.items()),
        *(f"{expected[1]}{score}: {1000 * area:.1f}" for score, area in second.aurc.items()),
        f"random order: {1000 * first.error_rate:.1f}, {1000 * second.error_rate:.1f}",
        f"oracle: {1000 * first.optimal_aurc:.1f}, {1000 * second.optimal_aurc:.1f}",
    ]
    assert second.random_line_ is not first.random_line_


def test_names_may_be_numbers(predictions):
    is_error, error_proba = predictions
    scores = {0: error_proba, 1: error_proba**2}
    display = RiskCoverageDisplay.from_predictions(is_error, scores, name=7)
    assert [text.split(":")[0] for text in legend_of(display)[:2]] == ["7, 0", "7, 1"]
    ErrorDistributionDisplay.from_predictions(is_error, error_proba, name=7)


def test_error_models_of_one_base_share_the_lines_that_are_equal(predictions):
    is_error, error_proba = predictions
    first = RiskCoverageDisplay.from_predictions(is_error, error_proba, name="a", target_risk=0.02)
    second = RiskCoverageDisplay.from_predictions(
        is_error, error_proba**2, name="b", target_risk=0.02, ax=first.ax_
    )
    assert second.random_line_ is first.random_line_
    assert second.optimal_line_ is first.optimal_line_
    assert second.target_line_ is first.target_line_
    assert [text.split(":")[0] for text in legend_of(second)] == [
        *("a", "b", "random order", "oracle", "target risk")
    ]


@pytest.mark.parametrize("n_models", [1, 2, 3, 5])
def test_the_legend_covers_no_curve_of_several_models(n_models, meta, digits):
    """Beyond a coverage of 10 %, below which the risk is noisy."""
    X_train, X, y_train, y = digits
    selective = SelectiveClassifier(meta, target_risk=0.1, calibration="prefit")
    selective.fit(X_train, y_train)
    _, ax = plt.subplots(layout="constrained")
    shown = []
    for number in range(n_models):
        y_shown = y.copy()
        y_shown[: 40 * number] = y[0]  # each model has another error rate
        shown.append(RiskCoverageDisplay.from_estimator(selective, X, y_shown, ax=ax))
    ax.figure.canvas.draw()
    box = ax.get_legend().get_window_extent().transformed(ax.transData.inverted())
    assert ax.figure.bbox.containsx(ax.get_legend().get_window_extent().x1)
    for display in shown:
        for risk in display.selective_risk.values():
            assert box.x0 > 1 or risk[display.coverage > 0.1].max() < box.y0


def test_no_tick_shows_an_error_rate_above_one():
    is_error = np.ones(40, dtype=bool)
    shown = RiskCoverageDisplay.from_predictions(is_error, np.linspace(0, 1, 40))
    shown.figure_.canvas.draw()
    ticks = [text.get_text() for text in shown.ax_.get_yticklabels()]
    assert "100%" in ticks
    assert "120%" not in ticks


def test_a_second_display_does_not_hide_the_first():
    rng = np.random.default_rng(0)
    high, low = rng.random(800), rng.random(800) ** 4
    _, ax = plt.subplots()
    first = RiskCoverageDisplay.from_predictions(rng.random(800) < 0.8 * high, high, ax=ax)
    top = ax.get_ylim()[1]
    second = RiskCoverageDisplay.from_predictions(rng.random(800) < 0.3 * low, low, ax=ax)
    assert ax.get_ylim()[1] >= top
    assert first.line_.get_color() != second.line_.get_color()
    assert first.line_.get_linestyle() != second.line_.get_linestyle()


def test_other_lines_on_the_axes_do_not_change_the_limits(predictions):
    _, (empty, marked) = plt.subplots(1, 2)
    marked.axvline(0.8)
    marked.plot([0.5], [30])
    limits = [RiskCoverageDisplay.from_predictions(*predictions, ax=ax) for ax in (empty, marked)]
    assert limits[0].ax_.get_ylim() == limits[1].ax_.get_ylim()


def test_options_of_the_curves(predictions):
    is_error, error_proba = predictions
    scores = {"a": error_proba, "b": -error_proba}
    shown = RiskCoverageDisplay.from_predictions(
        is_error,
        scores,
        name="mine",
        plot_random=False,
        plot_oracle=False,
        curve_kwargs=[{"color": "red"}, {"linestyle": ":"}],
    )
    assert shown.random_line_ is shown.optimal_line_ is None
    assert shown.line_[0].get_color() == "red"
    assert shown.line_[1].get_linestyle() == ":"
    assert [text.split(":")[0] for text in legend_of(shown)] == ["mine, a", "mine, b"]
    shown.plot(curve_kwargs={"color": "green"})
    shown.plot(curve_kwargs={"c": "green", "lw": 5, "ls": ":"})
    assert shown.line_[0].get_linewidth() == 5
    assert [line.get_color() for line in shown.line_] == ["green", "green"]
    with pytest.raises(ValueError, match=r"one dict for each of the 2 curves \['a', 'b'\]"):
        shown.plot(curve_kwargs=[{}])


def test_baseline_can_be_left_out(meta, digits):
    _, X, _, y = digits
    shown = RiskCoverageDisplay.from_estimator(meta, X, y, plot_baseline=False)
    assert list(shown.selective_risk) == ["error probability"]


@pytest.mark.parametrize("target", [{"target_coverage": 0.8}, {"target_risk": 0.05}], ids=str)
def test_operating_point_of_a_selective_classifier(target, meta, digits):
    """It is its coverage and risk on these rows, a point on the curve of its error probability."""
    X_train, X, y_train, y = digits
    selective = SelectiveClassifier(meta, calibration="prefit", **target)
    selective.fit(X_train, y_train)
    shown = RiskCoverageDisplay.from_estimator(selective, X, y)
    accepted = selective.accepts(X)
    coverage, risk = shown.operating_point
    assert coverage == accepted.mean()
    assert_allclose(risk, (selective.predict(X) != y)[accepted].mean())
    on_curve = risk_at_coverage(
        meta.predict(X) != y, meta.predict_error_proba(X), target_coverage=coverage
    )
    assert_allclose(risk, on_curve)
    assert_array_equal(np.ravel(shown.operating_point_.get_xydata()), [coverage, risk])
    texts = legend_of(shown)
    assert texts[-1] == f"answered: {coverage:.1%}, of which {risk:.1%} are wrong"
    assert shown.target_risk == target.get("target_risk")
    if shown.target_risk is None:
        assert shown.target_line_ is None
    else:
        assert texts[-2] == "target risk: 5% wrong"
        assert_array_equal(shown.target_line_.get_ydata(), [0.05, 0.05])
        assert shown.ax_.get_ylim()[1] > 0.05


def test_a_target_risk_above_the_error_rate_is_visible(predictions):
    is_error, error_proba = predictions
    shown = RiskCoverageDisplay.from_predictions(is_error, error_proba, target_risk=0.9)
    assert shown.ax_.get_ylim()[1] > 0.9


def test_no_line_of_a_selective_classifier_has_the_colour_of_the_oracle(meta, digits):
    X_train, X, y_train, y = digits
    selective = SelectiveClassifier(meta, target_risk=0.05, calibration="prefit")
    shown = RiskCoverageDisplay.from_estimator(selective.fit(X_train, y_train), X, y)
    grey = {line for line in shown.ax_.get_lines() if line.get_color() == "0.45"}
    assert grey == {shown.random_line_, shown.optimal_line_}
    assert len(shown.ax_.get_lines()) == 6


def test_operating_point_of_weighted_rows_and_of_no_answer():
    shown = RiskCoverageDisplay.from_predictions(
        [0, 1, 1, 0], [0, 0.1, 0.8, 0.9], accepted=[1, 1, 0, 0], sample_weight=[3, 1, 1, 3]
    )
    assert shown.operating_point == (0.5, 0.25)
    shown = RiskCoverageDisplay.from_predictions([0, 1], [0, 1], accepted=[False, False])
    assert shown.operating_point is None
    assert shown.operating_point_ is None


def test_unusable_predictions_are_refused_by_the_metrics():
    with pytest.raises(ValueError, match="is_error must be True where"):
        RiskCoverageDisplay.from_predictions([0, 2], [0.1, 0.2])


# ErrorDistributionDisplay


@pytest.mark.parametrize("weighted", [False, True])
def test_histograms_are_shares_of_each_group(predictions, weighted):
    is_error, error_proba = predictions
    weight = np.random.default_rng(1).integers(3, size=200) if weighted else np.ones(200)
    shown = ErrorDistributionDisplay.from_predictions(
        is_error, error_proba, bins=np.linspace(0, 1, 11), sample_weight=weight
    )
    assert_allclose(shown.bin_edges, np.linspace(0, 1, 11))
    assert shown.ax_.get_xscale() == "linear"
    for shares, group in (shown.right, ~is_error), (shown.wrong, is_error):
        assert_allclose(shares.sum(), 1)
        first = weight[group & (error_proba < 0.1)].sum() / weight[group].sum()
        assert_allclose(shares[0], first)
    assert (shown.n_right, shown.n_wrong) == ((~is_error).sum(), is_error.sum())
    assert shown.roc_auc == error_roc_auc(is_error, error_proba, sample_weight=weight)
    assert_array_equal(shown.wrong_.get_data().values, shown.wrong)


def test_bins_of_probabilities_have_equal_width_in_log_odds():
    """Values near 0 and 1 are counted in the outer bins, so that no bar hides the others."""
    rng = np.random.default_rng(0)
    error_proba = np.r_[0, 1e-9, 1 - 1e-9, 1, expit(rng.normal(size=996))]
    is_error = rng.random(1000) < error_proba
    shown = ErrorDistributionDisplay.from_predictions(is_error, error_proba, bins=8)
    assert_allclose(np.diff(logit(shown.bin_edges)), 2 * logit(0.9999) / 8)
    counts = [
        ((error_proba >= low) & (error_proba < high))[is_error].sum()
        for low, high in zip([-1, *shown.bin_edges[1:-1]], [*shown.bin_edges[1:-1], 2])
    ]
    assert_allclose(shown.wrong, np.array(counts) / is_error.sum())
    assert shown.ax_.get_xscale() == "logit"
    assert shown.ax_.get_xlabel() == "Predicted probability of being wrong, in log-odds"
    ticks = [text.get_text() for text in shown.ax_.get_xticklabels()]
    assert ticks == ["0.01%", "0.1%", "1%", "10%", "50%", "90%", "99%", "99.9%", "99.99%"]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_equal_probabilities_have_an_axis_from_1_to_99_percent_at_least(value):
    shown = ErrorDistributionDisplay.from_predictions([0, 1, 1], [value] * 3)
    assert shown.bin_edges[0] <= 0.01 + 1e-9
    assert shown.bin_edges[-1] >= 0.99 - 1e-9
    assert_allclose([shown.right.sum(), shown.wrong.sum()], 1)
    shown.figure_.canvas.draw()


def test_values_beyond_given_edges_are_in_the_outer_bins():
    shown = ErrorDistributionDisplay.from_predictions(
        [0, 0, 1, 1], [0.05, 0.3, 0.5, 0.9], bins=[0.2, 0.4, 0.6]
    )
    assert_array_equal(shown.right, [1, 0])
    assert_array_equal(shown.wrong, [0, 1])


def test_options_of_the_histograms(predictions):
    is_error, error_proba = predictions
    shown = ErrorDistributionDisplay.from_predictions(
        is_error, error_proba, bins=[0, 0.5, 1], name="mine", threshold=0.25
    )
    assert_array_equal(shown.bin_edges, [0, 0.5, 1])
    legend = shown.ax_.get_legend()
    assert legend.get_title().get_text() == f"mine, AUROC {shown.roc_auc:.3f}"
    assert [t.get_text() for t in legend.get_texts()] == [
        f"right (n = {shown.n_right})",
        f"wrong (n = {shown.n_wrong})",
        "threshold 0.25",
    ]


def test_bins_of_other_scores_cover_their_range(predictions):
    is_error, error_proba = predictions
    score = 10 * error_proba - 4
    shown = ErrorDistributionDisplay.from_predictions(is_error, score)
    assert (shown.bin_edges[0], shown.bin_edges[-1]) == (score.min(), score.max())
    assert shown.ax_.get_xlabel() == "Predicted error score"


def test_infinite_scores_are_in_the_outer_bins():
    score = np.array([-np.inf, 0.0, 1.0, 2.0, np.inf])
    display = ErrorDistributionDisplay.from_predictions([0, 0, 1, 1, 1], score, bins=2)
    assert_array_equal(display.bin_edges, [0, 1, 2])
    assert_array_equal(display.right, [1, 0])
    assert_allclose(display.wrong, [0, 1])


def test_columns_give_the_same_as_vectors(predictions):
    is_error, error_proba = predictions
    weight, accepted = np.ones(200), error_proba < 0.5
    column = {"sample_weight": weight[:, None], "accepted": accepted[:, None]}
    shown = RiskCoverageDisplay.from_predictions(is_error[:, None], error_proba[:, None], **column)
    expected = RiskCoverageDisplay.from_predictions(is_error, error_proba, accepted=accepted)
    assert shown.operating_point == expected.operating_point
    assert shown.aurc == expected.aurc
    ErrorDistributionDisplay.from_predictions(
        is_error[:, None], error_proba, sample_weight=weight[:, None]
    )


# ErrorGalleryDisplay


def test_gallery_shows_the_highest_error_probability_first(digits, meta):
    _, X, _, y = digits
    labels, error_proba = meta.predict_with_error(X)
    shown = ErrorGalleryDisplay.from_estimator(meta, X, y, image_shape=(8, 8), n_images=12)
    assert (np.diff(shown.error_proba) <= 0).all()
    assert shown.error_proba.min() >= np.sort(error_proba)[-12]
    assert_array_equal(shown.images, X[shown.indices].reshape(-1, 8, 8))
    assert_array_equal(shown.labels, labels[shown.indices])
    assert_array_equal(shown.y_true, y[shown.indices])
    assert shown.value_range == (X.min(), X.max())
    assert len(shown.axes_) == 12
    for ax, image in zip(shown.axes_, shown.images):
        assert_array_equal(ax.get_images()[0].get_array(), image)


def test_gallery_captions():
    shown = ErrorGalleryDisplay.from_predictions(
        np.zeros((3, 4, 4)), ["cat", "dog", "cat"], [0.2, 0.997, 0.5], y_true=["cat", "cow", "cat"]
    )
    captions = [ax.get_title() for ax in shown.axes_]
    assert captions == ["dog  >99%\ntrue: cow", "cat  50%\nright", "cat  20%\nright"]
    unknown = ErrorGalleryDisplay.from_predictions(np.zeros((1, 4, 4)), ["cat"], [1.0])
    assert unknown.axes_[0].get_title() == "cat  100%"


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 5), (6, 5)),
        ((1, 6, 5), (6, 5)),
        ((6, 5, 1), (6, 5)),
        ((3, 6, 5), (6, 5, 3)),
        ((6, 5, 3), (6, 5, 3)),
    ],
)
def test_gallery_of_any_image_layout(shape, expected, flat, dtype):
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(8, *shape)).astype(dtype)
    if dtype == np.float32:
        images = images / np.float32(255)
    given = images.reshape(8, -1) if flat else images
    shown = ErrorGalleryDisplay.from_predictions(
        given, np.arange(8), np.linspace(1, 0, 8), image_shape=shape if flat else None
    )
    assert shown.images.shape == (8, *expected)
    assert shown.images.dtype == dtype
    first = np.moveaxis(images[0], 0, -1) if shape[0] in (1, 3) else images[0]
    assert_array_equal(shown.images[0], first.reshape(expected))
    shown.figure_.canvas.draw()


def test_gallery_scales_normalized_colours_together():
    images = np.zeros((2, 3, 4, 4))
    images[0], images[1] = -2, 2
    shown = ErrorGalleryDisplay.from_predictions(images, [0, 1], [0.9, 0.1])
    assert_array_equal(np.unique(shown.images), [0, 1])


def test_gallery_of_images_with_missing_pixels():
    images = np.random.default_rng(0).random((4, 8, 8))
    images[2, 0, 0], images[3, 0, 0] = np.nan, np.inf
    display = ErrorGalleryDisplay.from_predictions(images, np.zeros(4), [0.4, 0.3, 0.2, 0.1])
    known = images[np.isfinite(images)]
    assert display.value_range == (known.min(), known.max())


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(-20000, 20000, np.int16), (-128, 127, np.int8), (0, 1, np.int64), (0, 1, bool)],
)
def test_gallery_of_colours_as_whole_numbers(low, high, dtype):
    images = np.random.default_rng(0).integers(low, high + 1, (4, 8, 8, 3)).astype(dtype)
    display = ErrorGalleryDisplay.from_predictions(images, np.zeros(4), [0.4, 0.3, 0.2, 0.1])
    expected = (images.astype(float) - images.min()) / (float(images.max()) - images.min())
    assert_allclose(display.images, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float32])
def test_gallery_orders_scores_of_any_type(dtype):
    error_proba = np.array([0, 1, 0, 1]).astype(dtype)
    display = ErrorGalleryDisplay.from_predictions(np.zeros((4, 2, 2)), np.zeros(4), error_proba)
    assert_array_equal(display.indices, [1, 3, 0, 2])


def test_gallery_of_a_dataset(digits):
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")
    X, X_test, y, _ = digits
    encoded = np.unique(y, return_inverse=True)[1]
    net = skorch.NeuralNetClassifier(
        torch.nn.Sequential(torch.nn.Linear(64, 10)),
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=1,
        verbose=0,
    ).fit((X / 16).astype(np.float32), encoded)
    rows = torch.tensor((X_test / 16).astype(np.float32))
    dataset = torch.utils.data.TensorDataset(rows, torch.zeros(len(rows)))
    shown = ErrorGalleryDisplay.from_estimator(net, dataset, image_shape=(8, 8))
    expected = ErrorGalleryDisplay.from_estimator(net, rows.numpy(), image_shape=(8, 8))
    assert_array_equal(shown.indices, expected.indices)
    assert_array_equal(shown.images, expected.images)


def test_gallery_of_tensors_with_gradients():
    torch = pytest.importorskip("torch")
    images, error_proba = torch.rand(6, 1, 4, 4, requires_grad=True), torch.rand(6)
    labels = torch.arange(6)
    shown = ErrorGalleryDisplay.from_predictions(
        images, labels, error_proba.requires_grad_(), y_true=labels
    )
    assert_array_equal(shown.indices, np.argsort(-error_proba.detach().numpy()))
    assert_array_equal(shown.images, images.detach().numpy()[shown.indices, 0])
    assert_array_equal(shown.y_true, shown.labels)


def test_gallery_of_other_images_than_the_input(digits, meta):
    _, X, _, _ = digits
    images = np.random.default_rng(0).random((len(X), 16, 16, 3))
    shown = ErrorGalleryDisplay.from_estimator(meta, X, images=images, n_images=4)
    assert_array_equal(shown.images, images[shown.indices])


def test_gallery_refuses_what_is_no_picture():
    pictures = [np.zeros((4, 4)), np.zeros((5, 4))]
    with pytest.raises(ValueError, match=r"pictures of one size.*Resize or pad"):
        ErrorGalleryDisplay.from_predictions(pictures, [0, 1], [0.9, 0.1])


@pytest.mark.torch
def test_gallery_refuses_the_inputs_of_a_net():
    with pytest.raises(ValueError, match=r"inputs 'image', 'age' .* images=X\['image'\]"):
        ErrorGalleryDisplay.from_predictions(
            {"image": np.zeros((2, 4, 4)), "age": np.zeros(2)}, [0, 1], [0.9, 0.1]
        )


@pytest.mark.parametrize("n_columns", [None, 1, 4, 50])
@pytest.mark.parametrize("n_images", [1, 7])
def test_gallery_layout(n_images, n_columns):
    shown = ErrorGalleryDisplay.from_predictions(
        np.zeros((7, 4, 4)), np.zeros(7), np.zeros(7), n_images=n_images, n_columns=n_columns
    )
    shown.figure_.canvas.draw()
    boxes = [ax.get_position() for ax in shown.axes_]
    assert len(boxes) == n_images
    for i, a in enumerate(boxes):
        assert a.width > 0.01
        for b in boxes[:i]:
            assert min(a.x1, b.x1) <= max(a.x0, b.x0) or min(a.y1, b.y1) <= max(a.y0, b.y0)


def test_gallery_of_no_images():
    with pytest.raises(ValueError, match=r"images must have shape .* got \(3, 64\).*image_shape="):
        ErrorGalleryDisplay.from_predictions(np.zeros((3, 64)), [0] * 3, [0] * 3)
    with pytest.raises(ValueError, match=r"image_shape=\(28, 28\) has 784 numbers, .* has 64"):
        ErrorGalleryDisplay.from_predictions(
            np.zeros((3, 64)), [0] * 3, [0] * 3, image_shape=(28, 28)
        )
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ErrorGalleryDisplay.from_predictions(np.zeros((3, 8, 8)), [0] * 3, [0] * 2)
