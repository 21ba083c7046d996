# A machine of a cluster (docs/cluster.md): the environment and git. Build it on the commit that the driver uses:
#   docker build --build-arg PYTHON=$(python -c 'import platform; print(platform.python_version())') -t lstm .
# Run it with the keys of the cluster, as the user who owns them:
#   docker run --network host --user $(id -u) -v ~/.lstm-cluster:/keys:ro lstm /keys/node.py 10.0.0.1:6379
ARG PYTHON=3.11.7
ARG BASE=python:${PYTHON}-slim-bookworm
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY requirements-cluster.lock /tmp/
# As install.py does it: each package by its hash, and no requirement resolved anew. One package is built, with setuptools.
RUN python3 -m venv /opt/lstm \
    && sed -n '/^setuptools==/,/[^\\]$/p' /tmp/requirements-cluster.lock > /tmp/setuptools.lock \
    && /opt/lstm/bin/pip install --no-cache-dir --require-hashes --no-deps -r /tmp/setuptools.lock \
    && /opt/lstm/bin/pip install --no-cache-dir --require-hashes --no-deps --no-build-isolation -r /tmp/requirements-cluster.lock \
    && rm /tmp/*.lock
RUN useradd --create-home --uid 1000 lstm
USER lstm
WORKDIR /home/lstm
ENV PATH=/opt/lstm/bin:$PATH
ENTRYPOINT ["python"]
