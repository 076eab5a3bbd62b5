#!/bin/sh
# Plays a job's container with podman: what the emulator gives its processes becomes a container's environment.
#
#     tests/kit/podman.sh IMAGE
set -eu
for name in $(env | sed -n 's/^\(\(SORTIE_\|CLOUD_RUN_\)[A-Z_]*\|STORAGE_EMULATOR_HOST\|GCE_METADATA_HOST\)=.*/\1/p'); do
    set -- --env "$name" "$@"
done
exec podman run --rm --network host "$@"
