"""the order in which events were written, which transactions that wait for each other do not keep

Revision: 0011, after 0010
"""

from alembic import op

from gateway.store.dialect import EVENTS_WRITTEN

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":  # on SQLite it is the row's number
        for statement in EVENTS_WRITTEN:
            op.execute(statement)


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE events DROP COLUMN written")
        op.execute("DROP SEQUENCE events_written")
