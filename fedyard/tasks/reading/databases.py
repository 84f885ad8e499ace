"""What a query of a database gives as columns, by SQLAlchemy (the extra `sql`) and the database's own driver.

The connection is for reading: SQLite's file is opened so, PostgreSQL is told so; of others it is the account that can
keep a query from writing.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Final

import numpy as np

from fedyard.tasks import TaskError
from fedyard.tasks.reading import text as t
from fedyard.tasks.reading.tables import Column, Typed
from fedyard.tasks.sources import Source, shown_place

MAX_CELLS: Final = 100_000_000
ROWS_AT_ONCE: Final = 10_000
CONNECT_WITHIN_S: Final = 30
_DRIVERS: Final = {
    "postgresql": (("psycopg", "psycopg"), ("psycopg2", "psycopg2"), ("pg8000", "pg8000")),
    "mysql": (("pymysql", "pymysql"), ("mysqlclient", "MySQLdb")),
}
"""By the name in a URL: drivers as SQLAlchemy calls them, and the module of each; the first that is there is taken."""


def read_database(source: Source) -> dict[str, Column]:
    """The columns by name. Raises `TaskError`: where, what and remedy; never with the account, or what it may read."""
    try:
        import sqlalchemy as sa  # noqa: PLC0415 - an extra, and heavy
    except ImportError:
        raise TaskError('data in a database need SQLAlchemy: pip install "fedyard[sql]"') from None
    title, reading = shown_place(source.where), source.reading
    if bool(reading.table) == bool(reading.query):
        raise TaskError(f"{title}: say in site.toml which `table` of it, or what `query`, is read")
    try:
        engine = sa.create_engine(_url(sa, source), poolclass=sa.pool.NullPool, **_options(source.where))
    except sa.exc.ArgumentError:
        raise TaskError(f"{title} is no URL of a database: postgresql://user@host/name, sqlite:///file") from None
    except ImportError as error:
        raise TaskError(f"{title} needs the Python package {error.name or 'of its driver'} at this site") from None
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text("SET TRANSACTION READ ONLY"))
            name = _quoted(engine, reading.table)
            rows = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(
                sa.text(reading.query or f"SELECT * FROM {name}")  # noqa: S608 - quoted, and the site's own word
            )
            return _columns(rows, title)
    except sa.exc.SQLAlchemyError as error:
        raise TaskError(f"{title}: {_said(sa, error)}") from None
    finally:
        engine.dispose()


def _url(sa: Any, source: Source) -> Any:
    where, _, _ = source.where.partition("://")
    url = sa.make_url(source.where)
    if "+" not in where:
        for driver, module in _DRIVERS.get(url.drivername, ()):
            if importlib.util.find_spec(module) is not None:
                url = url.set(drivername=f"{url.drivername}+{driver}")
                break
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith("file:"):
        url = url.set(database=f"file:{url.database}", query={"mode": "ro", "uri": "true"})
    return url.set(password=source.password) if source.password else url


def _options(where: str) -> dict[str, Any]:
    timeout = {"postgresql": "connect_timeout", "mysql": "connect_timeout", "sqlite": "timeout"}
    name = timeout.get(where.partition("://")[0].partition("+")[0])
    return {"connect_args": {name: CONNECT_WITHIN_S}} if name else {}


def _quoted(engine: Any, table: str) -> str:
    """A table's name, with its schema if it has one, as the database writes names."""
    return ".".join(engine.dialect.identifier_preparer.quote(part) for part in table.split("."))


def _columns(rows: Any, title: str) -> dict[str, Column]:
    names = [t.plain(str(name)) for name in rows.keys()]  # noqa: SIM118 - a result, no dict
    for number, name in enumerate(names):
        if not name or name in names[:number]:
            raise TaskError(f"{title}: column {number + 1} has no name of its own: give it one in the query (AS)")
    found: list[list[Any]] = [[] for _ in names]
    for block in rows.partitions():
        for cells, column in zip(found, zip(*block, strict=True), strict=True):
            cells.extend(column)
        if len(found[0]) * len(found) > MAX_CELLS:
            raise TaskError(f"{title}: more than {MAX_CELLS} values: name fewer columns or rows in the query")
    if not found[0]:
        raise TaskError(f"{title} gives no rows")
    return {name: _column(name, cells, title) for name, cells in zip(names, found, strict=True)}


def _column(name: str, cells: list[Any], title: str) -> Column:
    missing = np.array([cell is None for cell in cells], dtype=np.bool_)
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds <= {int} and not missing.any():
        try:
            return Typed(name, np.array(cells, dtype=np.int64), missing, title)
        except OverflowError:
            pass
    if kinds <= {float}:
        values = np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
        return Typed(name, values, np.isnan(values), title)
    values = np.empty(len(cells), dtype=object)
    values[:] = cells
    return Typed(name, values, missing, title)


def _said(sa: Any, error: Exception) -> str:
    """What is wrong, without what the database says: that may have names, values and accounts in it."""
    if isinstance(error, sa.exc.OperationalError):
        return (
            "the database does not answer as it should: is its address right, does it run, is the account's password "
            "that of password_env or password_file, and is the table there?"
        )
    if isinstance(error, sa.exc.ProgrammingError):
        return "the database refuses the query: are table and columns there, and may the account read them?"
    return "the query could not be answered: try it with the database's own program, as the account that this site uses"
