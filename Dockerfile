# Build: the wheel, letters and pages inside it, installed into an environment of its own.
FROM python:3.12-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY pyproject.toml requirements.lock README.md LICENSE worker.py scheduler.py ./
COPY mailer mailer
COPY recipients recipients
COPY templates templates
RUN pip wheel --no-deps --wheel-dir /wheels . \
    && python -m venv /opt/mailer \
    && /opt/mailer/bin/pip install --constraint requirements.lock /wheels/*.whl

# Run: the environment only, as a user who owns nothing but the state folder.
FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/mailer --create-home mailer
COPY --from=build /opt/mailer /opt/mailer
ENV PATH=/opt/mailer/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MAILER_STATE_DIR=/var/lib/mailer \
    MAILER_LOG_FORMAT=json
USER mailer
WORKDIR /var/lib/mailer
VOLUME /var/lib/mailer
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["mailer", "web", "--host", "0.0.0.0"]
