"""Does the error model find the errors of a net on images better than the net's own confidence?

Question
    Every method scores the same predictions of the same deployed net on real images. How well does
    it separate wrong predictions from right ones: on new images, on altered ones, and on images
    that belong to no class? What does a gain cost in passes and in fits?

Data
    Fashion-MNIST, CIFAR-10 (subset), MNIST, GTSRB (subset; frames of one track stay together) with
    3,000 training images and up to 4,000 test images x three seeds. Base "cnn" is a small CNN in
    two forms: "crossfit" (3 folds, then trained on all) and "prefit" (trained on two thirds, the
    error learned on the last third). Base "resnet" is a small ResNet, prefit, seed 0.
    Shifts: 1,500 test images under blur (sigma 1.3), noise (standard deviation 0.15), contrast x
    0.35 (not MNIST) and rotation by 22 degrees, and digits of another source for the MNIST net: 16
    shifts of the prefit nets, which were trained on unaltered images. Foreign images: letters in
    the fonts of matplotlib, random pixels, and images of another set.

Methods
    "one_pass" takes no further pass of the net. "augmented" is the set-up that we recommend for
    images: it adds the predictions for ten geometric views of each image, and for a mirrored one of
    photographs. "augmented_25" and "augmented_50" use the views only for the quarter or half of the
    images whose error probability without views is highest. "auto" is our default: a quarter of the
    images get views, and none is mirrored. "one_more_net" adds one more net that was trained with
    another seed (`OtherFits`) in place of the views, "augmented_and_net" both. "lightgbm", "mlp",
    "logistic" and "confidence" are "one_pass" with another meta-learner.

Baselines
    One pass: max probability (MSP, with its order kept if p1 rounds to 1), margin, entropy, DOCTOR,
    GEN, Trust Score and neighbor agreement (on 40 principal components; the last hidden layer of a
    prefit net), Rel-U, Platt-scaled MSP, energy, largest logit, UQ360's meta-model ("prefit": on
    the rows held out, else on a hold-out of 20 %), and the method of the MetaErr paper: a CNN that
    learns the error from the raw images. Ten passes: MC-dropout. "best simple" is the best of these
    in each cell, except UQ360 and the paper's method. It is chosen with the test labels.
    With the passes of ours: the mean probability of the predicted class over the same views
    ("mean_of_views"), over the image and its views by one pixel and the mirror ("mean_of_shifts"),
    over the same two nets ("mean_of_nets", a deep ensemble), and over the shifts or the views of
    both nets ("mean_of_shifts_and_nets" with about as many passes as "augmented_and_net",
    "mean_of_views_and_nets" with nearly twice as many). The classes are always those of the
    deployed net.

Columns
    "fit s" is the time to learn the error from given nets: views of the training rows, but no fit
    of a net. "predict s" is the time from raw test rows to error scores. Both are medians over
    cells. "passes" is the number of forward passes for each test image, counted without the mirror
    image; `AugmentedConfidence` and `OtherFits` repeat the pass of the image itself. "fits" is the
    number of further fits of the net: with 3 folds, with a hold-out. "E-AURC / MSP" is the ratio of
    the sums over the cells, in which CIFAR-10 counts most; "mean E" is the mean of the ratios. The
    column "train_seconds" of the rows has the time in which the deployed net was trained.

Claim (written before the run, except for "mean E", which was added when seven cells had shown that
the ratio of the sums would be lost; "one_pass" was the default then; base "cnn", 24 cells)
    "augmented" gains at least 0.017 AUROC over MSP on average, has at most 0.82 of its excess AURC
    (both ratios), and is below it by more than 0.002 in no cell. "augmented_and_net" gains at least
    0.024, has at most 0.72, and is below MSP by more than 0.002 in no cell. Both gain more than the
    mean over the same views, over the shifts, and over the same nets; "augmented_and_net" also more
    than the means over shifts or views and nets. "augmented" is better than MSP by more than 0.002
    AUROC, on average over the nets, in at least 13 of 16 shifts. "one_pass" is first in mean rank
    among itself and all baselines of one pass.

If the claim is lost, the exit status is 1. ``--quick`` (two minutes) checks a weaker claim on small
data and keeps no rows.

Run ``python benchmarks/bench_vision.py --n-jobs 2 --cache FOLDER``. FOLDER keeps the trained nets.
If a run is interrupted, the next one continues it.
"""

import argparse
import sys
import tempfile
import warnings
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from _data import image_names, sample_images
from _failure_prediction import (
    FIT,
    KEY,
    OURS,
    PREDICT_THEMSELVES,
    PROBABILITIES,
    SIMPLE,
    TIE,
    Cell,
    Observed,
    compare,
    excess_ratio,
    gains,
    ignore_expected_warnings,
    mean_rank,
    measure,
    ours,
    print_claim,
    score_methods,
    summary_table,
    win_tie_loss,
    worst_cells,
)
from _runner import format_table, run_grid
from _shifts import foreign_images, shifted_images
from joblib import Memory
from scipy import special
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from metaerr_sklearn import OtherFits
from metaerr_sklearn.confidence import max_probability
from metaerr_sklearn.metrics import error_roc_auc

RESULTS = Path(__file__).parent / "results"

FORMS = ("crossfit", "prefit")
MIRRORED = ("fashion-mnist", "cifar10")
FOR_NETS = ("mc_dropout", "energy", "max_logit")
ONE_PASS = (*SIMPLE, *FOR_NETS, "uq360", "paper_cnn")
MEANS = (
    *("mean_of_shifts", "mean_of_views", "mean_of_nets"),
    *("mean_of_shifts_and_nets", "mean_of_views_and_nets"),
)
# Whether there are views, the number of further nets, and the share of images that get them.
VIEWS_AND_NETS = {
    "augmented_25": (True, 0, 0.25),
    "augmented_50": (True, 0, 0.5),
    "augmented": (True, 0, 1.0),
    "one_more_net": (False, 1, 1.0),
    "augmented_and_net": (True, 1, 1.0),
}
METHODS = (*ONE_PASS, *MEANS, "one_pass", *OURS, *VIEWS_AND_NETS)
# The ResNet has no dropout, and the paper's method has not been run for it.
NOT_FOR_RESNET = ("mc_dropout", "paper_cnn")
# Forward passes for each test image, and further fits; all other methods need one pass.
COST = {
    "mc_dropout": ("10", "0, 0"),
    "paper_cnn": ("2", "4, 1"),
    "mean_of_shifts": ("5", "0, 0"),
    "mean_of_views": ("11", "0, 0"),
    "mean_of_nets": ("2", "1, 1"),
    "mean_of_shifts_and_nets": ("10", "1, 1"),
    "mean_of_views_and_nets": ("22", "1, 1"),
    "auto": ("3.75", "0, 0"),
    "augmented_25": ("3.75", "0, 0"),
    "augmented_50": ("6.5", "0, 0"),
    "augmented": ("12", "0, 0"),
    "one_more_net": ("3", "4, 1"),
    "augmented_and_net": ("14", "4, 1"),
}
MAIN = ("one_pass", "auto", *VIEWS_AND_NETS, *MEANS)
SHIFT_METHODS = (
    *("msp", "platt_msp", "mean_of_shifts", "mean_of_nets"),
    *("one_pass", "auto", "augmented", "one_more_net", "augmented_and_net"),
)
N_SHIFTED = 1500


class ImageCell(Cell):
    """A net on images."""

    def __init__(self, key, memory):
        super().__init__(memory)
        from _nets import make_cnn, make_resnet

        self.seed, self.refit = key["seed"], key["form"] == "crossfit"
        self.sample = sample_images(key["set"], n_train=key["n_train"], seed=self.seed)
        X, n_classes = self.sample.X_train, len(np.unique(self.sample.y_train))
        self.flip = key["set"] in MIRRORED
        make_net = {"cnn": make_cnn, "resnet": make_resnet}[key["base"]]
        self.base = make_net(X, n_classes, flip=self.flip)
        self.cv = 3 if self.refit else 1 / 3

    def observe(self, cv=None):
        train, test = super().observe(cv)
        # A net from the cache keeps the duration of each epoch.
        self.seconds = {"train_seconds": sum(test.net.history[:, "dur"])}
        return train, test

    def representation(self, clf, X):
        if self.refit:
            columns = make_pipeline(FunctionTransformer(flatten), PCA(40, random_state=0))
            return columns.fit(self.sample.X_train)
        # All methods may use the last hidden layer of a prefit net, as our default does.
        from metaerr_sklearn.neural import TorchEmbedding

        return TorchEmbedding(clf.estimator_).fit(X)

    def fit_with_views(self, method):
        """Fit one of the methods with further views or further nets."""
        from metaerr_sklearn.neural import AugmentedConfidence

        has_views, n_nets, share = VIEWS_AND_NETS[method]
        views = [AugmentedConfidence(flip=self.flip)] if has_views else []
        nets = [OtherFits(n_nets)] if n_nets else []
        features = ["confidence", "neighbors", "second_opinion", *views, *nets]
        return self.fit("auto", meta_features=features, observed_share=share)

    def nets(self):
        """Return the deployed net and the further net that stands beside it."""
        clf = self.fit("confidence", meta_features=["confidence", OtherFits()])
        return [clf.estimator_, *clf.observers_[0].estimators_]


def flatten(images):
    return images.reshape(len(images), -1)


def mc_dropout(cell, train):
    from metaerr_sklearn.neural import mc_dropout_proba

    def predict(test):
        proba = mc_dropout_proba(test.net, test.X, random_state=cell.seed)
        return special.expit(-max_probability(proba, log_odds=True))

    return predict


def energy(cell, train):
    from metaerr_sklearn.neural import energy_confidence

    return lambda test: -energy_confidence(test.net, test.X)


def max_logit(cell, train):
    from metaerr_sklearn.neural import max_logit_confidence

    return lambda test: -max_logit_confidence(test.net, test.X)


def paper_cnn(cell, train):
    from _nets import make_cnn

    clf = cell.fit(make_cnn(train.X, 2), meta_features="input")
    return lambda test: clf.predict_error_proba(test.X)


def with_views(method, cell, train):
    clf = cell.fit_with_views(method)
    return lambda test: clf.predict_error_proba(test.X)


class RecordedPasses(Pipeline):
    """A Pipeline that keeps the probabilities of each pass."""

    def predict_proba(self, X):
        proba = super().predict_proba(X)
        self.passes.append(proba)
        return proba


def passes_of(net, views, X):
    """Return the probabilities of X and of each view: exactly the views of our method."""
    recorded = RecordedPasses([("net", net)])
    recorded.passes = []
    views.observe(recorded, X)
    n_passes = len(views.get_feature_names_out())  # one name for each view, and one for the vote
    return [np.concatenate(recorded.passes[k::n_passes]) for k in range(n_passes)]


def mean_over(views, n_nets, cell, train):
    """Return 1 - the mean probability of the class that the deployed net predicts."""
    from metaerr_sklearn.neural import AugmentedConfidence

    nets = cell.nets()[:n_nets]

    def predict(test):
        if views is None:
            probas = [net.predict_proba(test.X) for net in nets]
        else:
            augmented = AugmentedConfidence(views, flip=cell.flip)
            probas = [proba for net in nets for proba in passes_of(net, augmented, test.X)]
        pred_encoded = probas[0].argmax(axis=1)
        # The sum over the other classes keeps the order of confident rows, as MSP in log-odds does.
        others = np.mean(probas, axis=0, dtype=float)
        others[np.arange(len(others)), pred_encoded] = 0
        return others.sum(axis=1)

    return predict


FIT_NET = {
    **FIT,
    "one_pass": partial(ours, "auto", "one_pass"),
    "mc_dropout": mc_dropout,
    "energy": energy,
    "max_logit": max_logit,
    "paper_cnn": paper_cnn,
    "mean_of_shifts": partial(mean_over, "shifts", 1),
    "mean_of_views": partial(mean_over, "geometric", 1),
    "mean_of_nets": partial(mean_over, None, 2),
    "mean_of_shifts_and_nets": partial(mean_over, "shifts", 2),
    "mean_of_views_and_nets": partial(mean_over, "geometric", 2),
    **{name: partial(with_views, name) for name in VIEWS_AND_NETS},
}
OWN_PASSES = {*FOR_NETS, "paper_cnn", "one_pass", *MEANS, *VIEWS_AND_NETS}


def compute_cell(cache, key, methods):
    """Return one row of measurements per method."""
    with prepared(cache, key) as cell:
        return score_methods(
            cell,
            methods,
            FIT_NET,
            probabilities=PROBABILITIES
            | {"mc_dropout", "paper_cnn", "one_pass", *MEANS, *VIEWS_AND_NETS},
            predict_themselves=PREDICT_THEMSELVES | OWN_PASSES,
        )


@contextmanager
def prepared(cache, key):
    """Yield the cell, whose nets are trained before any time is measured."""
    import torch

    # Cells run in parallel, and a small net gains nothing from threads.
    torch.set_num_threads(1)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        ignore_expected_warnings()
        cell = ImageCell(key, Memory(cache or folder, verbose=0))
        cell.nets()
        yield cell


def compute_shifts(cache, key, methods):
    """Return one row per method and set of altered or foreign images."""
    with prepared(cache, key) as cell:
        train, test = cell.observe()
        scores = {method: FIT_NET[method](cell, train) for method in methods if method != "novelty"}
        if "novelty" in methods:
            clf = cell.fit_with_views("augmented")
            scores["novelty"] = lambda test: clf.predict_novelty(test.X)
        X, y = test.X[:N_SHIFTED], test.y[:N_SHIFTED]

        def seen(X, y=None):
            proba = test.net.predict_proba(X)
            y_pred = proba.argmax(axis=1)  # the labels of all sets are 0, 1, 2, ...
            return Observed(X, y, None, proba, y_pred != y, y_pred, test.net)

        own, rows = seen(X, y), []
        own_scores = {method: score(own) for method, score in scores.items()}
        for shift, altered, labels in shifted_images(key["set"], X, y, cell.seed):
            images = seen(altered, labels)
            common = {"kind": "shift", "images": shift, "error_rate": images.is_error.mean()}
            for method in methods:
                if method == "novelty":
                    continue
                error_score = scores[method](images)
                measures = measure(images.is_error, error_score, is_probability=True)
                measures["mean_error_proba"] = error_score.mean()
                rows.append({"method": method, **common, **measures})
        for name, foreign in foreign_images(key["set"], X, N_SHIFTED, cell.seed):
            images = seen(foreign)
            is_foreign = np.repeat([False, True], [len(X), len(foreign)])
            for method, score in scores.items():
                both = np.concatenate([own_scores[method], score(images)])
                auroc = error_roc_auc(is_foreign, both)
                rows.append({"method": method, "kind": "foreign", "images": name, "auroc": auroc})
        return rows


def mean_excess_ratio(c, method):
    """Return the mean over the cells of the excess AURC, as a share of that of MSP."""
    return (c.excess_aurc[method] / c.excess_aurc["msp"]).mean()


def gains_by_set(c, methods):
    """Return the mean gain over MSP of the main methods on each set, and the worst cell."""
    gain = c.auroc[[m for m in methods if m in c.auroc]].sub(c.auroc["msp"], axis=0)
    table = gain.groupby(level="set").mean().T
    table["mean"], table["worst cell"] = gain.mean(), gain.min()
    table = table.map("{:+.4f}".format)
    table["E-AURC / MSP"] = [f"{excess_ratio(c, method):.2f}" for method in table.index]
    table["mean E"] = [f"{mean_excess_ratio(c, method):.2f}" for method in table.index]
    cost = [COST.get(method, ("1", "0, 0")) for method in table.index]
    table["passes"], table["fits"] = zip(*cost)
    return table.rename_axis("method")


def shift_gains(rows):
    """Return the mean gain over MSP of each shift (rows) and method (columns)."""
    rows = rows[rows["kind"] == "shift"]
    auroc = rows.pivot_table(index=["set", "images", *KEY[1:]], columns="method", values="auroc")
    auroc = auroc[[m for m in SHIFT_METHODS if m in auroc and m != "platt_msp"]]
    return auroc.sub(auroc["msp"], axis=0).groupby(level=["set", "images"]).mean()


def shift_tables(rows):
    """Yield the tables of altered and of foreign images."""
    shifts = rows[rows["kind"] == "shift"]
    gain = shift_gains(rows)
    by_shift = shifts.groupby(["set", "images", "method"])
    auroc = by_shift["auroc"].mean().unstack()
    table = gain.drop(columns="msp").map("{:+.3f}".format)
    table.insert(0, "MSP", auroc["msp"].map("{:.3f}".format))
    table.insert(0, "wrong", by_shift["error_rate"].mean().unstack()["msp"].map("{:.0%}".format))
    table.index = [" ".join(pair) for pair in table.index]
    yield table.rename_axis("shift")

    excess = by_shift["excess_aurc"].mean().unstack()
    log_loss = by_shift["log_loss"].mean().unstack()
    off = (shifts["mean_error_proba"] - shifts["error_rate"]).abs()
    off = off.groupby(shifts["method"]).mean()
    table = {}
    for method in (m for m in SHIFT_METHODS if m in auroc):
        difference = auroc[method] - auroc["msp"]
        table[method] = {
            "against MSP": f"{difference.mean():+.4f}",
            "worst": f"{difference.min():+.3f}",
            "w/t/l MSP": win_tie_loss(difference),
            "E-AURC / MSP": f"{excess[method].sum() / excess['msp'].sum():.2f}",
            "log-loss against Platt": f"{(log_loss[method] - log_loss['platt_msp']).mean():+.3f}",
            "mean error probability is off by": f"{off[method]:.3f}",
        }
    yield pd.DataFrame(table).T.rename_axis("method")

    foreign = rows[rows["kind"] == "foreign"].groupby(["set", "images", "method"])["auroc"].mean()
    foreign = foreign.unstack()
    foreign = foreign[[m for m in (*SHIFT_METHODS, "novelty") if m in foreign]]
    foreign = foreign.drop(columns="platt_msp", errors="ignore").map("{:.3f}".format)
    foreign.index = [" ".join(pair) for pair in foreign.index]
    yield foreign.rename_axis("own against foreign")


def full_claim(c, shift_rows):
    """Return (statement, value, holds) for each part of the claim."""
    gain = c.auroc.sub(c.auroc["msp"], axis=0)
    mean, claim = gain.mean(), []
    for method, least, most in (("augmented", 0.017, 0.82), ("augmented_and_net", 0.024, 0.72)):
        if method not in gain:
            continue
        summed, averaged = excess_ratio(c, method), mean_excess_ratio(c, method)
        claim += [
            (
                f"{method}: gains at least {least} AUROC over MSP",
                f"{mean[method]:+.4f}",
                mean[method] >= least,
            ),
            (
                f"{method}: excess AURC at most {most} of MSP's, mean of the ratios",
                f"{averaged:.3f}",
                averaged <= most,
            ),
            (
                f"{method}: excess AURC at most {most} of MSP's, ratio of the sums",
                f"{summed:.3f}",
                summed <= most,
            ),
            (
                f"{method}: below MSP by more than {TIE} in no cell",
                f"{gain[method].min():+.4f}",
                gain[method].min() >= -TIE,
            ),
        ]
        rivals = MEANS[:3] if method == "augmented" else MEANS
        for rival in (rival for rival in rivals if rival in gain):
            lead = mean[method] - mean[rival]
            claim.append((f"{method}: ahead of {rival}", f"{lead:+.4f}", lead > 0))
    n_better = int((shift_gains(shift_rows)["augmented"] > TIE).sum())
    n_shifts = len(shift_gains(shift_rows))
    claim.append(
        (
            "augmented: better than MSP in at least 13 of 16 shifts",
            f"{n_better} of {n_shifts}",
            n_better >= 13 / 16 * n_shifts,
        )
    )
    rank = mean_rank(
        c.auroc[[m for m in (*ONE_PASS, "one_pass") if m in c.auroc and m != "mc_dropout"]]
    )
    claim.append(
        (
            "one_pass: first in mean rank among itself and all baselines of one pass",
            f"{rank['one_pass']:.2f}, best other {rank.drop('one_pass').iloc[0]:.2f}",
            rank.index[0] == "one_pass",
        )
    )
    return claim


def quick_claim(c, shift_rows):
    """Return a weaker claim, for a minute on small data."""
    gain = (c.auroc["augmented_and_net"] - c.auroc["msp"]).mean()
    shifted = shift_gains(shift_rows)["augmented"].mean()
    return [
        ("augmented_and_net gains over MSP on average", f"{gain:+.4f}", gain > 0),
        ("augmented gains over MSP under shift", f"{shifted:+.4f}", shifted > 0),
    ]


def report(rows, shift_rows, check):
    """Print the tables of each base, check the claim on base "cnn", and return whether it holds."""
    for base in ("resnet", "cnn"):  # the claim is about the last one
        own, own_shifts = rows[rows["base"] == base], shift_rows[shift_rows["base"] == base]
        if not len(own):
            continue
        c = compare(own, METHODS, (*SIMPLE, *FOR_NETS))
        print(f"\nBase {base}, {len(c.auroc)} cells. worst: lowest AUROC gain.")
        print(f"w/t/l: wins/ties/losses by {TIE}.\n")
        print(format_table(summary_table(c)), end="\n\n")
        print(format_table(gains_by_set(c, MAIN)), end="\n\n")
        for by in ("set", "form"):
            if c.auroc.index.get_level_values(by).nunique() > 1:
                print(format_table(gains(c, by)), end="\n\n")
        print(format_table(worst_cells(c, "augmented")), end="\n\n")
        for table in shift_tables(own_shifts):
            print(format_table(table), end="\n\n")
    return print_claim(check(c, own_shifts)) if len(own) else True


def parse_args(args=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="small data, takes two minutes, keeps no rows"
    )
    parser.add_argument("--sets", nargs="+", help="default: all that are found")
    parser.add_argument("--bases", nargs="+", choices=["cnn", "resnet"], default=["cnn", "resnet"])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--n-train", type=int, default=3000)
    parser.add_argument("--n-jobs", type=int, default=1, help="cells in parallel")
    parser.add_argument("--redo", nargs="+", default=[], metavar="METHOD", help="compute again")
    parser.add_argument("--cache", help="folder that keeps the trained nets")
    return parser.parse_args(args)


def main(args):
    sets, seeds, check = args.sets or image_names(), args.seeds, full_claim
    bases = args.bases
    if args.quick:
        sets, seeds, bases, check = args.sets or ["digits"], seeds[:1], ["cnn"], quick_claim
    wanted = {"msp", "platt_msp", "auto", *args.methods}
    cells = [
        {"set": name, "base": base, "form": form, "seed": seed, "n_train": args.n_train}
        for base in bases
        for seed in seeds
        for name in sets
        for form in args.forms
        # The ResNet takes minutes for each fit.
        if base == "cnn" or (form == "prefit" and seed == 0)
    ]
    with tempfile.TemporaryDirectory() as folder:
        results, cache = RESULTS, args.cache
        if args.quick:
            results, cache = Path(folder), args.cache or str(Path(folder) / "nets")

        def run(name, compute, cells, methods):
            options = {"methods": methods, "redo": args.redo, "n_jobs": args.n_jobs}
            return run_grid(cells, partial(compute, cache), results / name, **options)

        rows, shift_rows = [], []
        for base in bases:
            own = [cell for cell in cells if cell["base"] == base]
            skipped = () if base == "cnn" else NOT_FOR_RESNET
            methods = [m for m in METHODS if m in wanted and m not in skipped]
            rows.append(run("failure_prediction_vision.csv", compute_cell, own, methods))
            own = [cell for cell in own if cell["form"] == "prefit"]
            methods = [m for m in SHIFT_METHODS if m in wanted] + ["novelty"]
            shift_rows.append(run("vision_shifts.csv", compute_shifts, own, methods))
    rows, shift_rows = pd.concat(rows), pd.concat(shift_rows)
    return 0 if report(rows, shift_rows, check) else 1


if __name__ == "__main__":
    sys.exit(main(parse_args()))
