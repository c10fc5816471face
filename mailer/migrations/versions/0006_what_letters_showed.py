"""What recipients' rows said before they changed, and how far each batch had seen them change."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "recipient_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("recipient_id", sa.Integer(), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=True),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("sector", sa.String(length=32), nullable=False),
        sa.Column("organisation", sa.String(length=300), nullable=True),
        sa.Column("workplace", sa.String(length=300), nullable=True),
        sa.Column("confederation", sa.String(length=32), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=True),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("tracking", sa.String(length=32), nullable=True),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["recipient_id"],
            ["recipients.id"],
            name=op.f("fk_recipient_versions_recipient_id_recipients"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipient_versions")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_recipient_versions_recipient_id"), "recipient_versions", ["recipient_id"])
    op.add_column("batches", sa.Column("versions_seen", sa.Integer(), nullable=True))
    op.execute("UPDATE batches SET versions_seen = 0 WHERE state <> 'ready'")  # none was kept yet


def downgrade() -> None:
    op.execute("UPDATE recipients SET tracking = NULL WHERE tracking = 'unsaid'")  # unknown before
    op.execute("DELETE FROM tracking_counts WHERE kind = 'object'")  # so is this
    with op.batch_alter_table("batches") as batch_op:
        batch_op.drop_column("versions_seen")
    op.drop_table("recipient_versions")
