"""which document a delivery acts on, whose copy it is, what it replaces

Revision: 0014, after 0013
"""

from contextlib import nullcontext

import sqlalchemy as sa
from alembic import op

from gateway.store.months.partitions import locked_all

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_FILL = """
UPDATE deliveries SET
  copy = CASE WHEN readdressed_from = '' THEN agency_id ELSE readdressed_from END,
  document = coalesce(
    (SELECT s.document_key FROM statuses s WHERE s.packet_id = deliveries.packet_id),
    (SELECT p.document_key FROM packets p WHERE p.id = deliveries.packet_id), '')
"""
_FILL_REPLACES = """
UPDATE deliveries SET replaces = coalesce(
    (SELECT p.root FROM packets p WHERE p.id = deliveries.packet_id AND p.root <> p.document_key), '')
WHERE kind = 'replacement'
"""
"""The older schema kept the first of the documents that a packet replaces."""


def upgrade() -> None:
    is_server = op.get_context().dialect.name == "postgresql"
    with locked_all(op.get_bind(), "deliveries") if is_server else nullcontext():
        for column in ("document", "copy", "replaces"):
            op.add_column("deliveries", sa.Column(column, sa.Text(), nullable=False, server_default=""))
        op.execute(_FILL)
        op.execute(_FILL_REPLACES)


def downgrade() -> None:
    for column in ("replaces", "copy", "document"):
        op.drop_column("deliveries", column)
