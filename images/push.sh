#!/bin/sh
# Builds images and pushes them, but for those whose tag the registry has already. Terraform calls it (terraform/images.tf).
#
#     SORTIE_PUSH_BUILD=docker|cloudbuild SORTIE_PUSH_REGISTRY=HOST/PROJECT/REPOSITORY SORTIE_PUSH_PROJECT=P \
#         SORTIE_PUSH_REGION=R [SORTIE_PUSH_DEBIAN=IMAGE] images/push.sh IMAGE=TAG…
set -eu

images=$(cd "$(dirname "$0")" && pwd)
registry=$SORTIE_PUSH_REGISTRY
debian=${SORTIE_PUSH_DEBIAN:-}
tool=

fail() {
    echo "images: $1" >&2
    exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

find_tool() {
    for candidate in docker podman; do
        [ -n "$tool" ] || ! "$candidate" info > /dev/null 2>&1 || tool=$candidate
    done
    [ -n "$tool" ] || fail 'neither docker nor podman answers: install one, or let Cloud Build do it (images.build = cloudbuild)'
    SORTIE_CONTAINER_TOOL=$tool
    export SORTIE_CONTAINER_TOOL
}

# As whom gcloud is, for an hour. Where it is nobody, or the tool asks a helper of its own, that one's login counts.
log_in() {
    token=$(gcloud auth print-access-token 2> /dev/null) || return 0
    printf %s "$token" | "$tool" login --username oauth2accesstoken --password-stdin "${registry%%/*}" > /dev/null 2>&1 || true
}

is_there() {
    case $SORTIE_PUSH_BUILD/$(basename "$tool") in
        docker/podman*) # its `manifest inspect` knows lists alone
            podman search --list-tags --limit 100000 "${1%:*}" 2> /dev/null | awk -v tag="${1##*:}" '$2 == tag { found = 1 } END { exit !found }'
            ;;
        docker/*) "$tool" manifest inspect "$1" > /dev/null 2>&1 ;;
        cloudbuild/*) gcloud artifacts docker images describe "$1" --project "$SORTIE_PUSH_PROJECT" > /dev/null 2>&1 ;;
    esac
}

# A directory with everything that an image is built from, and one recipe for a builder that is given no arguments.
assemble() {
    context=$scratch/$1
    mkdir "$context"
    install -m 0755 "$SORTIE_STATIC_ENTRYPOINT" "$context/sortie-entrypoint"
    sed -e "${debian:+s|^ARG DEBIAN=.*|ARG DEBIAN=$debian|}" -e 's|^FROM .*|& AS sortie-base|' "$images/base/Dockerfile" > "$context/Dockerfile"
    [ "$1" != base ] || return 0
    for file in "$images/$1"/*; do
        case $file in
            */Dockerfile) sed -e '/^ARG BASE=/d' -e 's|^FROM [^ ]*|FROM sortie-base|' "$file" >> "$context/Dockerfile" ;;
            *) cp -R "$file" "$context" ;;
        esac
    done
}

build_and_push() {
    case $SORTIE_PUSH_BUILD in
        docker)
            "$images/build.sh" ${debian:+--debian "$debian"} "$1"
            "$tool" tag "sortie-$1" "$2"
            "$tool" push "$2" || fail "the registry did not take it: may you write there (gcloud auth login, or gcloud auth configure-docker ${registry%%/*})?"
            ;;
        cloudbuild)
            if [ -z "${SORTIE_STATIC_ENTRYPOINT:-}" ]; then
                make -C "$images/.." entrypoint
                SORTIE_STATIC_ENTRYPOINT=$images/../target/x86_64-unknown-linux-gnu/static/sortie-entrypoint
            fi
            assemble "$1"
            gcloud builds submit "$scratch/$1" --tag "$2" --project "$SORTIE_PUSH_PROJECT" --region "$SORTIE_PUSH_REGION"
            ;;
    esac
}

case $SORTIE_PUSH_BUILD in
    docker)
        find_tool
        log_in
        ;;
    cloudbuild) command -v gcloud > /dev/null || fail 'Cloud Build is asked by way of gcloud, which is not here' ;;
    *) fail "\`$SORTIE_PUSH_BUILD\` is neither docker nor cloudbuild" ;;
esac

for wanted in "$@"; do
    image=${wanted%%=*}
    reference=$registry/$image:${wanted#*=}
    if is_there "$reference"; then
        echo "$reference is there already"
    else
        build_and_push "$image" "$reference"
    fi
done
