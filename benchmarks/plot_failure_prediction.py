"""Draw the first picture of the README from the rows of the failure-prediction benchmarks.

Each point is one base classifier on one data set with one seed. Its position shows how well two
scores find the wrong predictions on test data: the probability of the predicted class (max
probability), and the error probability of `MetaErrorClassifier`: of the default on tables, and of
the set-up for images (``meta_features="images"``, with the mirror image of photographs) on images.

Run ``python benchmarks/plot_failure_prediction.py`` after ``bench_failure_prediction.py`` and
``bench_vision.py``.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from _failure_prediction import TIE

RESULTS = Path(__file__).parent / "results"
OURS = {"failure_prediction_tabular.csv": "auto", "failure_prediction_vision.csv": "augmented"}
TITLES = {
    "gaussian_nb": "naive Bayes",
    "knn": "5-NN",
    "svc": "SVC",
    "logistic_regression": "logistic regression",
    "hist_gradient_boosting": "gradient boosting",
    "random_forest": "random forest",
    "cnn": "CNN on images",
    "resnet": "ResNet on images",
}


def main():
    """Read the rows, draw, write the picture beside them."""
    mpl.use("Agg")
    auroc = []
    for name, method in OURS.items():
        rows = pd.read_csv(RESULTS / name)
        table = rows.pivot_table(
            index=["set", "base", "form", "seed"], columns="method", values="auroc"
        )
        auroc.append(table[["msp", method]].rename(columns={method: "ours"}).reset_index())
    auroc = pd.concat(auroc)
    gain = auroc["ours"] - auroc["msp"]
    better, worse = (gain > TIE).sum(), (gain < -TIE).sum()

    figure, ax = plt.subplots(figsize=(6.2, 5.6), layout="constrained")
    low = min(auroc["msp"].min(), auroc["ours"].min()) - 0.02
    ax.plot([low, 1], [low, 1], color="0.4", linewidth=1, zorder=0)
    ax.fill_between([low, 1], [low, 1], 1.005, color="#0072B2", alpha=0.06, linewidth=0, zorder=0)
    colors = plt.colormaps["tab10"].colors
    for (base, title), color in zip(TITLES.items(), colors):
        part = auroc[auroc["base"] == base]
        if len(part):
            ax.scatter(part["msp"], part["ours"], s=18, color=color, alpha=0.75, label=title)
    ax.text(low + 0.01, 0.93, "error probability is better", color="0.3")
    ax.text(0.995, low + 0.01, "max probability is better", color="0.3", ha="right")
    ax.set(
        xlim=(low, 1.005),
        ylim=(low, 1.005),
        aspect="equal",
        xlabel="AUROC of max probability",
        ylabel="AUROC of the error probability",
        title=f"Finding wrong predictions of {len(gain)} classifiers: "
        f"better for {better}, worse for {worse}",
    )
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.07), frameon=False)
    figure.savefig(RESULTS / "failure_prediction.png", dpi=110)


if __name__ == "__main__":
    main()
