"""What labels are judged by, counts of nobody's, journals of the web, scopes, and changed links."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_UNSETTLED = sa.text("NOT settled")
_BY_LABEL = ["campaign_id", "position", "kind", "label", "link_number"]
_COUNT_KEY = ("campaign_id", "day", "kind", "link_number", "subject", "label", "reason")


def upgrade() -> None:
    op.create_table(
        "user_agents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(length=300), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_agents")),
        sa.UniqueConstraint("text", name=op.f("uq_user_agents_text")),
    )
    op.create_table(
        "tracking_counts",
        sa.Column("campaign_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("link_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(*_COUNT_KEY, name=op.f("pk_tracking_counts")),
    )
    op.create_table(
        "web_journals",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("moved", sa.BigInteger(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_web_journals")),
    )
    op.create_table(
        "link_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("old_target", sa.String(length=2000), nullable=False),
        sa.Column("new_target", sa.String(length=2000), nullable=False),
        sa.Column("by", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=True),
        sa.Column("at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("fk_link_changes_campaign_id_campaigns")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_changes")),
    )
    op.create_index("ix_link_changes_campaign_id", "link_changes", ["campaign_id"])
    with op.batch_alter_table("suppressions") as batch_op:
        batch_op.add_column(
            sa.Column("scope", sa.String(length=32), nullable=False, server_default="everything")
        )
    _count_what_is_nobodys()
    with op.batch_alter_table("tracking_events") as batch_op:
        batch_op.add_column(
            sa.Column("manner", sa.String(length=32), nullable=False, server_default="get")
        )
        batch_op.add_column(sa.Column("agent_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("network", sa.String(length=16), nullable=True))
        batch_op.add_column(
            sa.Column("settled", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.alter_column("campaign_id", existing_type=sa.Integer(), nullable=False)
        batch_op.alter_column("position", existing_type=sa.Integer(), nullable=False)
        batch_op.create_foreign_key(
            op.f("fk_tracking_events_agent_id_user_agents"), "user_agents", ["agent_id"], ["id"]
        )
        batch_op.drop_index("ix_tracking_events_campaign_kind")
        batch_op.create_index("ix_tracking_events_campaign_kind", _BY_LABEL)
    op.create_index(
        "ix_tracking_events_unsettled",
        "tracking_events",
        ["at"],
        sqlite_where=_UNSETTLED,
        postgresql_where=_UNSETTLED,
    )
    op.execute("UPDATE tracking_events SET settled = true")


def _count_what_is_nobodys() -> None:
    """Move what was nobody's into counts; its moments become days (of UTC: no zone was kept)."""
    day = "date(at)" if op.get_bind().dialect.name == "sqlite" else "CAST(at AT TIME ZONE 'UTC' AS date)"
    op.execute(
        f"INSERT INTO tracking_counts ({', '.join(_COUNT_KEY)}, total)"  # noqa: S608 - all of it stands here
        f" SELECT COALESCE(campaign_id, 0), {day}, kind, COALESCE(link_number, 0),"
        " COALESCE(subject, ''), label, reason, count(*)"
        " FROM tracking_events WHERE position IS NULL OR campaign_id IS NULL"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7"
    )
    op.execute("DELETE FROM tracking_events WHERE position IS NULL OR campaign_id IS NULL")


def downgrade() -> None:
    op.drop_index("ix_tracking_events_unsettled", "tracking_events")
    with op.batch_alter_table("tracking_events") as batch_op:
        batch_op.drop_index("ix_tracking_events_campaign_kind")
        batch_op.drop_constraint(op.f("fk_tracking_events_agent_id_user_agents"), type_="foreignkey")
        batch_op.alter_column("campaign_id", existing_type=sa.Integer(), nullable=True)
        batch_op.alter_column("position", existing_type=sa.Integer(), nullable=True)
        for column in ("settled", "network", "agent_id", "manner"):
            batch_op.drop_column(column)
        batch_op.create_index("ix_tracking_events_campaign_kind", ["campaign_id", "kind", "position"])
    with op.batch_alter_table("suppressions") as batch_op:
        batch_op.drop_column("scope")
    op.drop_table("link_changes")
    op.drop_table("web_journals")
    op.drop_table("tracking_counts")
    op.drop_table("user_agents")
