"""Room to write outcomes in place, and when letters may leave."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FOREIGN_KEYS = (("batch_id", "batches"), ("campaign_id", "campaigns"), ("recipient_id", "recipients"))
_OPEN = sa.text("state <> 'done'")
_DEFERRED = sa.text("state = 'deferred'")
_DUE = sa.text("due_at IS NOT NULL")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "heartbeats",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_heartbeats")),
    )
    op.add_column("campaigns", sa.Column("hours", sa.String(length=16), nullable=True))
    op.add_column(
        "campaigns", sa.Column("workdays", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("campaigns", sa.Column("opens_at", _MOMENT, nullable=True))
    op.add_column("campaigns", sa.Column("closes_at", _MOMENT, nullable=True))
    op.add_column("campaigns", sa.Column("part_seconds", sa.Float(), nullable=True))
    op.add_column("campaigns", sa.Column("progressed_at", _MOMENT, nullable=True))

    op.drop_index("ix_deliveries_deferred", "deliveries")
    op.drop_index("ix_deliveries_recipient_id", "deliveries")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE deliveries SET (fillfactor = 35)")
    with op.batch_alter_table("deliveries") as batch_op:
        for column, table in _FOREIGN_KEYS:
            batch_op.drop_constraint(op.f(f"fk_deliveries_{column}_{table}"), type_="foreignkey")
    op.execute("UPDATE deliveries SET due_at = at WHERE state = 'uncertain'")
    op.create_index(
        "ix_deliveries_due_at", "deliveries", ["due_at"], sqlite_where=_DUE, postgresql_where=_DUE
    )

    with op.batch_alter_table("batches") as batch_op:
        batch_op.add_column(sa.Column("planned_at", _MOMENT, nullable=True))
        batch_op.alter_column("due_at", nullable=True, existing_type=_MOMENT)
        batch_op.drop_index("ix_batches_open")
        batch_op.create_index(
            "ix_batches_open",
            ["campaign_id", "state", "due_at"],
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        )


def downgrade() -> None:
    op.drop_index("ix_deliveries_due_at", "deliveries")
    op.execute("UPDATE deliveries SET due_at = NULL WHERE state = 'uncertain'")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE deliveries RESET (fillfactor)")
    op.execute("UPDATE batches SET due_at = planned_at WHERE due_at IS NULL")
    with op.batch_alter_table("batches") as batch_op:
        batch_op.drop_index("ix_batches_open")
        batch_op.alter_column("due_at", nullable=False, existing_type=_MOMENT)
        batch_op.drop_column("planned_at")
        batch_op.create_index(
            "ix_batches_open", ["state", "due_at"], sqlite_where=_OPEN, postgresql_where=_OPEN
        )
    for column in ("progressed_at", "part_seconds", "closes_at", "opens_at", "workdays", "hours"):
        op.drop_column("campaigns", column)
    op.drop_table("heartbeats")

    with op.batch_alter_table("deliveries") as batch_op:
        for column, table in _FOREIGN_KEYS:
            batch_op.create_foreign_key(
                op.f(f"fk_deliveries_{column}_{table}"),
                table,
                [column],
                ["id"],
                ondelete="SET NULL" if table == "recipients" else None,
            )
    op.create_index("ix_deliveries_recipient_id", "deliveries", ["recipient_id"])
    op.create_index(
        "ix_deliveries_deferred",
        "deliveries",
        ["due_at"],
        sqlite_where=_DEFERRED,
        postgresql_where=_DEFERRED,
    )
