"""
Errors of an API
================

How are errors predicted if only the answers of a model are known, but not the model? The answers
may come from an API, a program in another language, or a file of old predictions. ``ErrorModel``
needs the inputs, the probabilities that the model returned, and the right labels of some inputs.

Here the inputs are paragraphs of scikit-learn's own documentation, which stand for support
tickets. A service sends each ticket to a team: the part of scikit-learn that the paragraph
describes.
"""

# %%
import re
import textwrap

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import BernoulliNB
from sklearn.pipeline import make_pipeline
from sklearn.utils.discovery import all_estimators

from metaerr_sklearn import ErrorModel, RiskCoverageDisplay

TEAMS = ["cluster", "decomposition", "ensemble", "linear_model", "preprocessing"]

found = []
for _, estimator in all_estimators():
    team = estimator.__module__.split(".")[1]
    paragraphs = re.split(r"\s*\b\w+ : .*|\n *\w+\n *-{3,}|\n\n", estimator.__doc__)
    for paragraph in paragraphs:
        text = " ".join(paragraph.split())
        if team in TEAMS and 60 < len(text) < 400:
            found.append((text, team))
tickets = pd.DataFrame(found, columns=["text", "team"]).drop_duplicates()
tickets = tickets.drop_duplicates("text", keep=False)  # texts of several teams
elsewhere, tickets = train_test_split(tickets, train_size=0.35, random_state=0)
tickets.head(3)

# %%
# The service was trained elsewhere. For each text it returns the probability of each team.
hidden_model = make_pipeline(TfidfVectorizer(), BernoulliNB(alpha=0.1))
hidden_model.fit(elsewhere["text"], elsewhere["team"])


def service(texts):
    """Return the probability of each team for each text, as an API would."""
    teams, proba = hidden_model.classes_.tolist(), hidden_model.predict_proba(texts)
    return [dict(zip(teams, row)) for row in proba.tolist()]


answers = pd.DataFrame(service(tickets["text"]))
answers.head(3).round(2)

# %%
# The columns of the frame have the names of the classes, so that their order does not matter. The
# error model is fitted on half of the answers. The service must not have been trained on the
# tickets of this half.
known, new, proba_known, proba_new = train_test_split(
    tickets, answers, test_size=0.5, random_state=0
)
error_model = ErrorModel(random_state=0).fit(known["text"], known["team"], proba_known)
error_proba = error_model.predict_error_proba(new["text"], proba_new)

# %%
# The new tickets that a person should read first, because they were probably sent to the wrong
# team:
new = new.assign(
    sent_to=proba_new.idxmax(axis=1).to_numpy(),
    max_probability=proba_new.max(axis=1).to_numpy(),
    error_probability=error_proba,
)
for ticket in new.sort_values("error_probability", ascending=False).head(4).itertuples():
    print(f"{ticket.error_probability:.2f}: {ticket.sent_to}, right: {ticket.team}")
    print("     ", textwrap.shorten(ticket.text, 70))

# %%
# The error rate of the service if the tickets with the highest error probability go to a person:
is_error = new["sent_to"] != new["team"]
scores = {
    "error probability": error_proba,
    "max probability": 1 - new["max_probability"],
}
_ = RiskCoverageDisplay.from_predictions(is_error, scores)

# %%
# With the same number of tickets for the person, the error probability leaves fewer wrong ones
# than the probabilities of the service. The table shows a second gain: the service gives nearly
# all its answers a probability near 1, as if it made few errors. The mean error probability is
# near the real error rate.
pd.Series(
    {
        "error rate": is_error.mean(),
        "mean error probability": error_proba.mean(),
        "mean of 1 - max probability": 1 - new["max_probability"].mean(),
    }
).round(2)
