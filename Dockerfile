# headnod in a container, for amd64 and arm64: docs/container.md.
#
#   podman build --format docker --tag headnod .
#
# --format docker keeps the health check. BASE may name another Debian 12 or 13.
ARG BASE=docker.io/library/debian:trixie-slim

FROM ${BASE} AS build
ARG EXTRAS=device
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv python3-dev gcc libc6-dev portaudio19-dev \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
WORKDIR /usr/local/src/headnod
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY device device
COPY train train
COPY models models
COPY demo demo
COPY scripts/setup scripts/setup
# The environment has no pip of its own: that of another one installs into it.
RUN python3 -m venv /tmp/pip \
  && python3 -m venv --without-pip /opt/headnod \
  && /tmp/pip/bin/pip --python /opt/headnod/bin/python install --disable-pip-version-check --no-cache-dir --no-compile ".[${EXTRAS}]" \
  && bash -c 'source scripts/setup && remove_unused /opt/headnod'
# It listens once to the demo clip: that shows that it works, and Python compiles the modules in use, which a container
# with a read-only file system could not keep. Not under emulation, where LiteRT crashes: /sys describes another processor.
ARG BUILDARCH
ARG TARGETARCH
RUN cd / \
  && if [ "$BUILDARCH" = "$TARGETARCH" ]; then \
    /opt/headnod/bin/headnod listen --config /dev/null --audio /opt/headnod/lib/python3*/site-packages/headnod/demo/*.ogg --pace fast --json > /tmp/estimates \
    && grep -q '"genre":"' /tmp/estimates; fi \
  && /opt/headnod/bin/python -m compileall -q /opt/headnod/lib/python3*/site-packages/headnod \
  && /opt/headnod/bin/python -c 'import headnod.dashboard.page_process, headnod.mqtt.publisher, ai_edge_litert.interpreter' \
  && /opt/headnod/bin/headnod --help > /dev/null

FROM ${BASE}
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates libportaudio2 pulseaudio-utils python3 \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
  && groupadd --system --gid 10001 headnod \
  && useradd --system --uid 10001 --gid headnod --no-create-home --home-dir /var/lib/headnod --groups audio headnod \
  && install -d -o headnod -g headnod -m 700 /var/lib/headnod
COPY --from=build /opt/headnod /opt/headnod
ENV PATH=/opt/headnod/bin:/usr/local/bin:/usr/bin:/bin \
  PYTHONDONTWRITEBYTECODE=1 \
  STATE_DIRECTORY=/var/lib/headnod \
  RUNTIME_DIRECTORY=/dev/shm
USER headnod
WORKDIR /var/lib/headnod
VOLUME /var/lib/headnod
EXPOSE 8080
# Healthy: an estimate of the last minute, or a listener that was paused.
HEALTHCHECK --interval=60s --start-period=30s \
  CMD find /dev/shm/headnod-latest.json -mmin -1 | grep -q . || grep -q '"state":"paused"' /dev/shm/headnod-latest.json
ENTRYPOINT ["headnod"]
CMD ["listen", "--audio", "mic", "--quiet"]
