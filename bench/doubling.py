"""The shipped worker, to which every task is delivered twice, under the same id."""

from typing import Any

from celery.signals import task_received

from worker import app

__all__ = ["app"]

_MARK = "delivered_again"


@task_received.connect
def _deliver_again(request: Any, **_: Any) -> None:
    """Publish what just came once more; the copy is marked and not copied again."""
    if (request.request_dict or {}).get(_MARK):
        return
    app.send_task(
        request.name,
        args=request.args,
        kwargs=request.kwargs,
        task_id=request.id,
        headers={_MARK: True},
    )
