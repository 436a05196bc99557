#!/bin/sh
# Fails, and says why, on a machine whose GPU driver is too old for the torch that raymetrics
# installs. Without this check torch would find no GPU there.
#
#     sh jobs/require_driver.sh
#
# The minimum is that of torch's CUDA (NVIDIA's table of minor version compatibility: CUDA 13 needs
# 580, CUDA 12 needs 525, CUDA 11 needs 450). tests/jobs/test_cluster_files.py compares it with the
# torch that is installed.
MINIMUM=580

found=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>&1 | head -n 1)
case ${found%%.*} in
  ''|*[!0-9]*)
    echo "nvidia-smi tells no driver version but: ${found:-nothing}; expected a GPU with driver" \
      "$MINIMUM or later: take a machine image with that driver, and a container runtime for GPUs" >&2
    exit 1 ;;
esac
if [ "${found%%.*}" -lt "$MINIMUM" ]; then
  echo "the GPU driver is $found, expected $MINIMUM or later: take a newer machine image" >&2
  exit 1
fi
