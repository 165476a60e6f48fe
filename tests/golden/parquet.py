"""Writes table.parquet beside this file: one column of each kind that quern reads (needs pyarrow).

    python tests/golden/parquet.py
"""

import datetime
import pathlib

import pyarrow
import pyarrow.parquet

COLUMNS = {
    "whole": pyarrow.array([9007199254740993, None, -3], pyarrow.int64()),
    "real": pyarrow.array([0.1, 2.0, None], pyarrow.float64()),
    "flag": pyarrow.array([True, False, None], pyarrow.bool_()),
    "words": pyarrow.array(["小麦, \"x\"", "", None], pyarrow.string()),
    "kind": pyarrow.array(["b", "a", "b"]).dictionary_encode(),
    "day": pyarrow.array([datetime.date(2024, 2, 29), datetime.date(1969, 12, 31), None], pyarrow.date32()),
    "when": pyarrow.array([1709209800250, 1709164800000, -1], pyarrow.timestamp("ms")),
    "money": pyarrow.array([None, 12, 7], pyarrow.decimal128(5, 2)),
    "bytes": pyarrow.array([b"\x00\xff", None, b"1"], pyarrow.binary()),
}
pyarrow.parquet.write_table(pyarrow.table(COLUMNS), pathlib.Path(__file__).with_name("table.parquet"), row_group_size=2)
