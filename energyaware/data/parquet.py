"""Read Parquet files through pyarrow, a thousand rows at a time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from energyaware.data.display import one_line
from energyaware.data.table import Table
from energyaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from energyaware.data.packed import ByteSource

_BATCH_ROWS = 1024


def parquet_table(source: ByteSource) -> Table:
    """The top-level columns of a Parquet file; lists and structs come as lists and objects.

    Raises:
        DataError: pyarrow is missing, or the file is damaged or repeats a column.
    """
    with _open(source) as file:
        columns = tuple(file.schema_arrow.names)
    repeated = sorted(column for column, count in Counter(columns).items() if count > 1)
    if repeated:
        raise DataError(
            f"{source.name} has more than one column {one_line(repeated[0], 60)!r}", "rename or remove one of them"
        )
    if not columns:
        raise DataError(f"{source.name} is empty", "give a file with columns and rows")

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, list[object]]]:
        with _open(source) as file:
            import pyarrow as pa  # _open proved that it is there

            number = 0
            try:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(dict.fromkeys(wanted))):
                    # By name: the file's own order of columns is another one.
                    values = [batch.column(column).to_pylist() for column in wanted]
                    for row in zip(*values, strict=True):
                        number += 1
                        yield number, list(row)
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise DataError(
                    f"{source.name} is damaged after row {number} ({one_line(error)})", "write the file anew"
                ) from error

    return Table(source.name, columns, rows, row_word="row")


def _open(source: ByteSource) -> Any:
    try:
        import pyarrow as pa  # here, because only Parquet files need it
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f"{source.name} needs the package pyarrow", "run `pip install pyarrow`, or convert the file to CSV or JSONL"
        ) from error
    try:
        return pq.ParquetFile(source.open())
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{source.name} cannot be read as Parquet ({one_line(error)})", "write the file anew"
        ) from error
