"""the order in which transactions became certain, where several write side by side

Revision: 0006, after 0005
"""

from alembic import op

from gateway.store.dialect import EVENTS_POSITION

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":  # on SQLite it is the row's number
        for statement in EVENTS_POSITION:
            op.execute(statement)


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE events DROP COLUMN position")
        op.execute("DROP FUNCTION events_position()")
        op.execute("DROP FUNCTION events_base()")
        op.execute("DROP SEQUENCE events_ordinal")
