"""States, history and registrations of events; reminders by audience rule and date; meetings."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("events") as batch_op:
        batch_op.add_column(sa.Column("hosted", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("reminders", sa.String(length=500), nullable=True))
        batch_op.add_column(sa.Column("moved_at", _MOMENT, nullable=True))
    op.create_table(
        "event_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("field", sa.String(length=32), nullable=False),
        sa.Column("old", sa.String(length=2000), nullable=True),
        sa.Column("new", sa.String(length=2000), nullable=True),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("told_at", _MOMENT, nullable=True),
        sa.Column("campaign_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_event_changes_event_id_events")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("fk_event_changes_campaign_id_campaigns")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_changes")),
    )
    op.create_index(op.f("ix_event_changes_event_id"), "event_changes", ["event_id"])
    op.create_table(
        "registrations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("recipient_id", sa.Integer(), nullable=True),
        sa.Column("email", sa.String(length=320), nullable=True),
        sa.Column("email_key", sa.String(length=320), nullable=True),
        sa.Column("name", sa.String(length=300), nullable=True),
        sa.Column("organisation", sa.String(length=300), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("registered_at", _MOMENT, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.Column("told", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_registrations_event_id_events")
        ),
        sa.ForeignKeyConstraint(
            ["recipient_id"],
            ["recipients.id"],
            name=op.f("fk_registrations_recipient_id_recipients"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registrations")),
        sa.UniqueConstraint(
            "event_id", "recipient_id", name=op.f("uq_registrations_event_id_recipient_id")
        ),
        sa.UniqueConstraint("event_id", "email_key", name=op.f("uq_registrations_event_id_email_key")),
        sa.UniqueConstraint("event_id", "number", name=op.f("uq_registrations_event_id_number")),
    )
    op.create_index(op.f("ix_registrations_recipient_id"), "registrations", ["recipient_id"])
    _divide_reminders()
    op.create_table(
        "meetings",
        sa.Column("held_on", sa.Date(), nullable=False),
        sa.Column("challenges", sa.Text(), nullable=True),
        sa.Column("campaign_id", sa.Integer(), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("sent_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("fk_meetings_campaign_id_campaigns")
        ),
        sa.PrimaryKeyConstraint("held_on", name=op.f("pk_meetings")),
    )


def _divide_reminders() -> None:
    """Give a reminder the date it was for, and those to everybody interested the rules they followed.

    Who had asked and who had clicked got the same letter: it has gone to both.
    """
    with op.batch_alter_table("reminders") as batch_op:
        batch_op.add_column(sa.Column("event_date", sa.Date(), nullable=True))
        batch_op.drop_constraint(op.f("uq_reminders_event_id_lead_rule"), type_="unique")
        batch_op.create_unique_constraint(
            op.f("uq_reminders_event_id_lead_rule_event_date"),
            ["event_id", "lead", "rule", "event_date"],
        )
    op.execute(
        "UPDATE reminders SET event_date ="
        " (SELECT date FROM events WHERE events.id = reminders.event_id)"
    )
    op.execute(
        "INSERT INTO reminders (event_id, lead, rule, event_date, state, due_at, late, audience, at)"
        " SELECT event_id, lead, 'clicked', event_date, state, due_at, late, 0, at FROM reminders"
        " WHERE rule = 'interested'"
    )
    op.execute("UPDATE reminders SET rule = 'asked' WHERE rule = 'interested'")
    with op.batch_alter_table("reminders") as batch_op:
        batch_op.alter_column("event_date", existing_type=sa.Date(), nullable=False)


def downgrade() -> None:
    """Forget what the code before this revision has no word for."""
    op.execute("UPDATE events SET state = 'open' WHERE state IN ('moved', 'full')")
    op.execute("DELETE FROM tracking_events WHERE kind IN ('register', 'withdraw')")
    op.execute("DELETE FROM tracking_counts WHERE kind IN ('register', 'withdraw')")
    op.drop_table("meetings")
    op.execute("DELETE FROM reminders WHERE rule <> 'asked'")
    op.execute(
        "DELETE FROM reminders WHERE id NOT IN"
        " (SELECT max(id) FROM reminders GROUP BY event_id, lead, rule)"
    )
    op.execute("UPDATE reminders SET rule = 'interested'")
    with op.batch_alter_table("reminders") as batch_op:
        batch_op.drop_constraint(op.f("uq_reminders_event_id_lead_rule_event_date"), type_="unique")
        batch_op.create_unique_constraint(
            op.f("uq_reminders_event_id_lead_rule"), ["event_id", "lead", "rule"]
        )
        batch_op.drop_column("event_date")
    op.drop_table("registrations")
    op.drop_table("event_changes")
    with op.batch_alter_table("events") as batch_op:
        batch_op.drop_column("moved_at")
        batch_op.drop_column("reminders")
        batch_op.drop_column("hosted")
