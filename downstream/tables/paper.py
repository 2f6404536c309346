"""All tables of the paper with our rows below the published ones."""

from collections.abc import Sequence
from pathlib import Path

from downstream.tables.measured import own_rows, read_run, sweep_table
from downstream.tables.published import Table, published_sweep, published_tables

__all__ = ["paper_tables"]


def paper_tables(folders: Sequence[Path], *, paper_convention: bool = False) -> tuple[Table, ...]:
    """Fill the tables from the folders of finished runs; without any, the published figures stand alone.

    Args:
        folders: of `factory bench usability`, `transfer`, `alignment` or `fidelity`.
        paper_convention: take DSC and HD95 as the published code counts them (`surfaces.paper_scores`).

    Raises:
        LocationError, FileFormatError: for a folder that holds no finished run.
    """
    runs = [read_run(folder) for folder in folders]
    tables = [table.with_rows(own_rows(table, runs, paper_convention=paper_convention)) for table in published_tables()]
    return (*tables, sweep_table(published_sweep(), runs, paper_convention=paper_convention))
