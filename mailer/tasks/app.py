"""The Celery app of this process, from the settings in force."""

from mailer.foundation.log import configure_log
from mailer.foundation.settings import load_settings
from mailer.tasks.configuration import make_app

settings = load_settings()
configure_log(settings.log_format)
app = make_app(settings)
