"""Read Parquet and Arrow (feather) files through pyarrow, a thousand rows at a time."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from energyaware.data.display import one_line
from energyaware.data.table import Table
from energyaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from energyaware.data.packed import ByteSource

_BATCH_ROWS = 1024
_FEATHER_V1 = b"FEA1"
# Arrow's own errors are some of these; names that are no UTF-8, years and time zones that Python lacks are others.
_DAMAGE = (OSError, ValueError, ArithmeticError, LookupError)


def parquet_table(source: ByteSource) -> Table:
    """The top-level columns of a Parquet file; lists come as lists, structs as objects, maps as lists of pairs.

    Raises:
        DataError: pyarrow is missing, or the file is damaged or repeats a column.
    """
    with _damaged(source, "Parquet"), _parquet(source) as file:
        columns = tuple(file.schema_arrow.names)

    def batches(wanted: Sequence[str]) -> Iterator[Any]:
        with _parquet(source) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=list(dict.fromkeys(wanted)))

    return _table(source, columns, batches)


def arrow_table(source: ByteSource) -> Table:
    """The top-level columns of an Arrow file: feather (version 2), IPC file or IPC stream; else as `parquet_table`.

    Raises:
        DataError: pyarrow is missing, or the file is damaged, repeats a column, or is feather of version 1.
    """
    if source.head(len(_FEATHER_V1)) == _FEATHER_V1:
        raise DataError(f"{source.name} is a feather file of version 1, which is not read", "write it as Parquet")
    with _damaged(source, "Arrow"):
        columns = tuple(_arrow(source).schema.names)

    def batches(_: Sequence[str]) -> Iterator[Any]:
        reader = _arrow(source)
        stored = (
            (reader.get_batch(number) for number in range(reader.num_record_batches))
            if hasattr(reader, "get_batch")
            else reader
        )
        for batch in stored:
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                yield batch.slice(start, _BATCH_ROWS)

    return _table(source, columns, batches)


def _table(source: ByteSource, columns: tuple[str, ...], batches: Callable[[Sequence[str]], Iterator[Any]]) -> Table:
    repeated = [column for column, times in Counter(columns).items() if times > 1]
    if repeated:
        raise DataError(
            f"{source.name} has more than one column {one_line(repeated[0], 60)!r}", "rename or remove one of them"
        )
    if not columns:
        raise DataError(f"{source.name} is empty", "give a file with columns and rows")

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, list[object]]]:
        import pyarrow as pa  # the columns were read with it

        number = 0
        try:
            for batch in batches(wanted):
                # Arrow trusts the offsets of a file, and would read memory that is not the file's.
                batch.validate(full=True)
                # By name: the file's own order of columns is another one.
                values = [batch.column(column).to_pylist() for column in wanted]
                for row in zip(*values, strict=True):
                    number += 1
                    yield number, list(row)
        except (pa.ArrowException, *_DAMAGE) as error:
            raise DataError(
                f"{source.name} is damaged after row {number} ({one_line(error)})", "write the file anew"
            ) from error

    return Table(source.name, columns, rows, row_word="row")


@contextmanager
def _damaged(source: ByteSource, kind: str) -> Iterator[None]:
    """Say what is wrong with a file that does not open.

    Raises:
        DataError: pyarrow is missing, or it cannot open the file.
    """
    try:
        import pyarrow as pa  # here, because only these files need it
    except ImportError as error:
        raise DataError(
            f"{source.name} needs the package pyarrow", "run `pip install pyarrow`, or convert the file to CSV or JSONL"
        ) from error
    try:
        yield
    except (pa.ArrowException, *_DAMAGE) as error:
        raise DataError(f"{source.name} cannot be read as {kind} ({one_line(error)})", "write the file anew") from error


def _parquet(source: ByteSource) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(source.open())


def _arrow(source: ByteSource) -> Any:
    """A reader of batches: of an IPC file, which begins with its magic, or of a stream."""
    import pyarrow as pa

    stream = source.open()
    return pa.ipc.open_file(stream) if source.head(6) == b"ARROW1" else pa.ipc.open_stream(stream)
