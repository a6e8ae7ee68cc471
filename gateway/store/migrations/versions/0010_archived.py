"""what is kept of a chain that was archived; statuses and notices by packet

Revision: 0010, after 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("chains", sa.Column("ended_recalled", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("statuses_packet", "statuses", ["packet_id"])
    op.create_index("notices_packet", "notices", ["packet_id"])


def downgrade() -> None:
    op.drop_index("notices_packet", "notices")
    op.drop_index("statuses_packet", "statuses")
    op.drop_column("chains", "ended_recalled")
