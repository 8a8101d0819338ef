"""Run the cells of a benchmark grid: resumable, in parallel, with a progress bar."""

import os
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def run_grid(cells, compute, path, *, methods, redo=(), n_jobs=1):
    """Compute the rows that a file lacks, and return the rows of these cells and methods.

    Parameters
    ----------
    cells : list of dict
        Keys and values that identify each cell; all cells have the same keys.
    compute : callable
        ``compute(cell, methods)`` returns one dict of results per method, with key "method".
    path : Path
        CSV file. Rows are added cell by cell: an interrupted run loses only unfinished cells, and
        the next run continues with them.
    methods : list of str
        Methods wanted in each cell.
    redo : iterable of str
        Methods whose rows in these cells are computed again.
    n_jobs : int
        Number of cells that are computed in parallel.

    Returns
    -------
    rows : DataFrame
    """
    keys = list(cells[0])
    rows = _read(path, keys)
    wanted = pd.MultiIndex.from_tuples([_key(cell) for cell in cells])
    outdated = pd.MultiIndex.from_frame(rows[keys]).isin(wanted) & rows["method"].isin(redo)
    if outdated.any():
        rows = rows[~outdated]
        _write(rows, path)
    done = set(rows[[*keys, "method"]].itertuples(index=False, name=None))
    todo = [(cell, [m for m in methods if (*_key(cell), m) not in done]) for cell in cells]
    todo = [(cell, missing) for cell, missing in todo if missing]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task(path.stem, total=len(cells), completed=len(cells) - len(todo))
        jobs = (delayed(_labeled)(compute, cell, missing) for cell, missing in todo)
        for new in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs):
            exists = path.exists() and path.stat().st_size > 0
            new.to_csv(path, mode="a", header=not exists, index=False, float_format="%.6g")
            progress.advance(task)
    rows = _read(path, keys).sort_values([*keys, "method"], kind="stable")
    _write(rows, path)
    selected = pd.MultiIndex.from_frame(rows[keys]).isin(wanted) & rows["method"].isin(methods)
    return rows[selected].reset_index(drop=True)


def format_table(table):
    """Format a frame of strings as a Markdown table with aligned columns."""
    table = table.reset_index()
    lines = [list(table.columns), *table.to_numpy().tolist()]
    widths = [max(len(str(line[j])) for line in lines) for j in range(table.shape[1])]

    def join(cells):
        first, *others = (str(cell) for cell in cells)
        right = (cell.rjust(width) for cell, width in zip(others, widths[1:]))
        return "| " + " | ".join([first.ljust(widths[0]), *right]) + " |"

    rule = "|:" + "-" * (widths[0] + 1) + "|" + "|".join("-" * (w + 1) + ":" for w in widths[1:])
    return "\n".join([join(lines[0]), rule + "|", *(join(line) for line in lines[1:])])


def _labeled(compute, cell, methods):
    return pd.DataFrame([{**cell, **row} for row in compute(cell, methods)])


def _key(cell):
    return tuple(str(value) for value in cell.values())


def _read(path, keys):
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return pd.DataFrame(columns=[*keys, "method"], dtype=str)
    return pd.read_csv(path, dtype=dict.fromkeys([*keys, "method"], str))


def _write(rows, path):
    # A new file is written and then moved, so an interruption never leaves half a file.
    beside = Path(f"{path}.new")
    rows.to_csv(beside, index=False, float_format="%.6g")
    os.replace(beside, path)
