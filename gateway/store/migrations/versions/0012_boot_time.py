"""until when an attempt may land, also by the boot-time clock of the machine that sends

Revision: 0012, after 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("lasts", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("attempts", sa.Column("boot", sa.Text(), nullable=False, server_default=""))
    op.add_column("attempts", sa.Column("boot_over", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    for column in ("boot_over", "boot", "lasts"):
        op.drop_column("attempts", column)
