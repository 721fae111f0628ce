# The HTTP service on CPUs, without PyTorch: docker build -f docker/cpu.Dockerfile -t motivnet:cpu .
ARG PYTHON=3.12.12-slim-trixie

FROM python:${PYTHON} AS build
ARG EXTRAS=cpu,serve
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY motivnet motivnet
COPY engines engines
COPY export export
COPY training training
COPY bench bench
RUN python -m venv --without-pip /opt/motivnet \
    && python -m pip --python /opt/motivnet/bin/python install --no-cache-dir ".[${EXTRAS}]"

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="MotivNet on CPUs" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT"
RUN useradd --uid 10001 --create-home motivnet
COPY --from=build /opt/motivnet /opt/motivnet
ENV PATH=/opt/motivnet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /home/motivnet
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5m --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["motivnet"]
CMD ["serve", "--artifact", "/artifact", "--host", "0.0.0.0", "--port", "8000"]
