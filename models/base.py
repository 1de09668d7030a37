"""The metadata every table hangs on, its naming convention, and the columns that repeat."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Column, DateTime, MetaData, Text, Uuid, func, text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def key() -> Column[Any]:
    """Return a primary key of time-ordered UUIDs made by the database."""
    return Column("id", Uuid, primary_key=True, server_default=text("uuidv7()"))


def created() -> Column[Any]:
    """Return the column that says when the row came about, by the database's clock."""
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


def word(name: str, choices: type[StrEnum], default: StrEnum | None = None, *, nullable: bool = False) -> Column[Any]:
    """Return a text column that `hold_to_words` holds to the values of `choices`."""
    server_default = None if default is None else default.value
    return Column(name, Text, nullable=nullable, server_default=server_default, info={"choices": choices})


def hold_to_words(tables: MetaData) -> None:
    """Put the CHECKs on the tables, once: Alembic leaves those written on a column out of its migrations."""
    for table in tables.tables.values():
        for column in table.columns:
            values = ", ".join(f"'{choice.value}'" for choice in column.info.get("choices", ()))
            if values:
                table.append_constraint(CheckConstraint(f"{column.name} IN ({values})", name=f"{column.name}_legal"))
