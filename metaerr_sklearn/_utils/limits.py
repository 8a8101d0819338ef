"""Limits on the number of rows used for training, and processed at once, and on columns.

Other modules read ``limits.MAX_FIT_ROWS`` as an attribute, so that it is changed in one place.
"""

# Training rows of the error model, its blocks and its representation. This bounds time and memory.
MAX_FIT_ROWS = 20_000
# With more rows than this, models are trained in fewer and larger steps.
MANY_ROWS = 5_000
# Rows that are transformed at once.
TRANSFORM_CHUNK = 20_000
# Rows that the base predicts at once. The number is large because a base may start threads in each
# call.
PREDICT_CHUNK = 100_000
# Rows for which the error model predicts at once. The number does not depend on the number of
# threads, so that the results are equal to the last bit.
ERROR_MODEL_CHUNK = 5_000
# Probabilities (rows x classes) that are computed at once.
MAX_PROBABILITIES = 2_500_000
# With more columns than this, a search for nearest neighbours is slow and no more accurate: they
# are projected. A vector of more numbers is not a group of columns that a user reads one by one.
MAX_COLUMNS = 200
