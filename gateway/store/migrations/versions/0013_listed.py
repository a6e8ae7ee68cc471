"""the index of inboxes holds what is listed there, and no longer every delivery that ever was

Revision: 0013, after 0012
"""

from contextlib import nullcontext

import sqlalchemy as sa
from alembic import op

from gateway.store.months.partitions import locked_all

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_COLUMNS = ["agency_id", "state", "is_urgent", "polled_at", "id"]
_LISTED = sa.text("state = 'available' OR state = 'fetched'")


def upgrade() -> None:
    _replace(_LISTED)


def downgrade() -> None:
    _replace(None)


def _replace(where: sa.TextClause | None) -> None:
    """Writers wait while the new one is built, and for no longer: see `locked_all`."""
    is_server = op.get_context().dialect.name == "postgresql"
    with locked_all(op.get_bind(), "deliveries") if is_server else nullcontext():
        op.drop_index("deliveries_inbox", "deliveries")
        op.create_index("deliveries_inbox", "deliveries", _COLUMNS, sqlite_where=where, postgresql_where=where)
