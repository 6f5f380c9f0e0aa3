"""Columns in memory and in their file."""

import numpy as np

from meanformer.simulation.output.tables import Table, read_columns


def test_rows_are_written_with_all_their_digits(tmp_path):
    table = Table(tmp_path / "t.csv")
    table.append({"t": 0.0, "x": 0.1 + 0.2})
    table.append({"t": 1.0, "x": float("nan")})
    assert (tmp_path / "t.csv").read_text() == "t,x\n0.0,0.30000000000000004\n1.0,\n"


def test_a_name_that_is_new_is_empty_before(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("t,x\n0.0,1.0\n1.0,2.0\n")
    table = Table(path, read_columns(path, 2))
    for t in (2.0, 3.0):
        table.append({"t": t, "x": 3.0, "new": 4.0})
    assert path.read_text() == "t,x,new\n0.0,1.0,\n1.0,2.0,\n2.0,3.0,4.0\n3.0,3.0,4.0\n"
    assert np.array_equal(table.columns["new"], [np.nan, np.nan, 4.0, 4.0], equal_nan=True)
    assert read_columns(path, 4)["x"] == [1.0, 2.0, 3.0, 3.0]
