# The HTTP service on NVIDIA GPUs, without PyTorch: docker build -f docker/cuda.Dockerfile -t motivnet:cuda .
# CUDA's libraries come with the packages, the driver from the host. For TensorRT: --build-arg EXTRAS=trt,serve
ARG PYTHON=3.12.12-slim-trixie

FROM python:${PYTHON} AS build
ARG EXTRAS=gpu,serve
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
LABEL org.opencontainers.image.title="MotivNet on NVIDIA GPUs" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT"
RUN useradd --uid 10001 --create-home motivnet
COPY --from=build /opt/motivnet /opt/motivnet
ENV PATH=/opt/motivnet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /home/motivnet
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5m --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["motivnet"]
CMD ["serve", "--artifact", "/artifact", "--host", "0.0.0.0", "--port", "8000"]
