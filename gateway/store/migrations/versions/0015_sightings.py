"""when systems and inboxes were last heard of; and the index of inboxes tells since when each item waits

Revision: 0015, after 0014
"""

from contextlib import nullcontext

import sqlalchemy as sa
from alembic import op

from gateway.store.months.partitions import locked_all

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_COLUMNS = ["agency_id", "state", "is_urgent", "polled_at", "id"]
_LISTED = sa.text("state = 'available' OR state = 'fetched'")


def upgrade() -> None:
    op.create_table(
        "sightings",
        sa.Column("whose", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("whose", "id"),
    )
    _replace([*_COLUMNS, "since"])


def downgrade() -> None:
    _replace(_COLUMNS)
    op.drop_table("sightings")


def _replace(columns: list[str]) -> None:
    """Writers wait while the new one is built, and for no longer: see `locked_all`."""
    is_server = op.get_context().dialect.name == "postgresql"
    with locked_all(op.get_bind(), "deliveries") if is_server else nullcontext():
        op.drop_index("deliveries_inbox", "deliveries")
        op.create_index("deliveries_inbox", "deliveries", columns, sqlite_where=_LISTED, postgresql_where=_LISTED)
