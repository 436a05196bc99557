# What every machine of a cluster runs: Ray, raymetrics, and the jobs. rayjob.yaml takes this image.
#
#     docker build -t registry.example.com/raymetrics:2.60.0 .
#     docker build --build-arg BASE=rayproject/ray:2.60.0-py312-cpu --build-arg EXTRAS=cpu,demo .
#
# Keep the minor version of Ray that pyproject.toml asks for, and the same one on your own machine.
ARG BASE=rayproject/ray:2.60.0-py312-gpu
FROM ${BASE}
# gpu or cpu, never both: the two kinds of FAISS own the same files.
ARG EXTRAS=gpu

# The CUDA of the torch that pip installs below: NVIDIA's container runtime starts no container whose
# driver is older. Machines without GPUs do not read it.
ENV NVIDIA_REQUIRE_CUDA=cuda>=13.0

COPY --chown=ray . /home/ray/checkout
RUN pip install --no-cache-dir "/home/ray/checkout[${EXTRAS}]" \
    && python -m raymetrics --version
WORKDIR /home/ray/checkout
