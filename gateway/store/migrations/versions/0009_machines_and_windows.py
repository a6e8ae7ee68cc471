"""which folder of packets and which seal keys are a node's; when a channel takes nothing

Revision: 0009, after 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("node", sa.Column("blobs", sa.Text(), nullable=False, server_default=""))
    op.add_column("node", sa.Column("seal", sa.Text(), nullable=False, server_default=""))
    op.add_column("channels", sa.Column("windows", sa.Text(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("channels", "windows")
    op.drop_column("node", "seal")
    op.drop_column("node", "blobs")
