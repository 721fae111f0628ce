# The HTTP service on a Jetson with JetPack 6, whose TensorRT and Python 3.10 are the base's; build it on the Jetson:
# docker build -f docker/jetson.Dockerfile -t motivnet:jetson .
ARG JETPACK=r36.4.0

FROM nvcr.io/nvidia/l4t-jetpack:${JETPACK} AS base
# The versions are those of the base's own archive.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-libnvinfer python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
ARG EXTRAS=cpu,serve
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY motivnet motivnet
COPY engines engines
COPY export export
COPY training training
COPY bench bench
# The environment sees JetPack's TensorRT; the driver is for CUDA 12.
RUN python3 -m venv --system-site-packages /opt/motivnet \
    && /opt/motivnet/bin/pip install --no-cache-dir ".[${EXTRAS}]" "cuda-bindings<13"

FROM base
LABEL org.opencontainers.image.title="MotivNet on a Jetson" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT"
RUN useradd --uid 10001 --groups video --create-home motivnet
COPY --from=build /opt/motivnet /opt/motivnet
ENV PATH=/opt/motivnet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=all
USER 10001
WORKDIR /home/motivnet
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5m --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["motivnet"]
CMD ["serve", "--artifact", "/artifact", "--host", "0.0.0.0", "--port", "8000"]
