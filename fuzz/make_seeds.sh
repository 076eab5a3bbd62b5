#!/bin/sh
# Makes the seeds of the fuzz targets anew, from bytes that programs have really written: GNU tar's dialects, a run of
# `sortie` and what its emulator holds and answers, the recorded events of Claude Code. Give the path of `sortie`.
set -eu
sortie=$(realpath "$1")
cd "$(dirname "$0")"
seeds=$PWD/seeds
recorded=$PWD/../claude/tests/recorded
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$seeds"
for target in claude contract gzip listing multipart pax registry unpack; do
    mkdir -p "$seeds/$target"
done

# Archives.
mkdir -p "$work/tree/directory/below"
cd "$work/tree"
echo some text >file
echo more >directory/below/"$(printf 'n%.0s' $(seq 120))"
ln -s ../file directory/link
ln file hard
mkfifo fifo
truncate -s 60k sparse
echo end >>sparse
for format in v7 oldgnu gnu ustar posix; do
    # The two oldest have no words for a file with holes, nor v7 for a fifo or a long name.
    case $format in v7) set -- ./file ./hard ./directory/link ;; ustar) set -- --exclude=sparse "--exclude=n*" . ;; *) set -- -S . ;; esac
    tar --sort=name --mtime=@1000000000 --format=$format -cf "$seeds/unpack/$format" "$@"
    gzip -n -c "$seeds/unpack/$format" >"$seeds/gzip/$format"
done
cat "$seeds/gzip/ustar" "$seeds/gzip/gnu" >"$seeds/gzip/two-members"
printf '30 mtime=1500000000.123456789\n' >"$seeds/pax/mtime"
printf '17 path=a/b/name\n22 linkpath=a/b/name\n10 size=5\n' >"$seeds/pax/names"
printf '22 GNU.sparse.major=1\n' >"$seeds/pax/sparse"

# A run's documents, its outputs, a page of its objects.
mkdir "$work/home" "$work/data" "$work/here"
cd "$work/here"
cp -r "$recorded" input
run() {
    env -i PATH="$PATH" HOME="$work/home" SORTIE_DATA_DIR="$work/data" SORTIE_EMULATOR_IDLE=5s "$sortie" run "$@" >/dev/null
}
run -n 2 --input input --env A=b --timeout 1m --pre true -- sh -c 'cp -r input output; ln -s input output/link; echo x; echo y >&2'
# What is larger than a report holds has an object of its own.
run --json -- sh -c 'head -c 400000 /dev/urandom >output/random; seq 100000'
record=$work/data/emulator.json
value() {
    sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$record"
}
ask() {
    curl -sS -H "Authorization: Bearer $(value token)" "$(value endpoint)/storage/v1/b/goog-sortie-local/o$1"
}
ask '?maxResults=20' >"$seeds/listing/page"
ask '?delimiter=/&prefix=runs/' >"$seeds/listing/prefixes"
ask '?prefix=nothing' >"$seeds/listing/empty"
ask '' | tr ',{' '\n\n' | sed -n 's/.*"name": *"\([^"]*\)".*/\1/p' >"$work/names"
number=0
while read -r name; do
    number=$((number + 1))
    object=$(printf %s "$name" | sed 's#/#%2F#g')
    case $name in
    *.json | */claims/*) ask "/$object?alt=media" >"$seeds/contract/$number" ;;
    */logs/*) printf %s "$name" >"$seeds/listing/name-$number" ;;
    inputs/*) ask "/$object?alt=media" >"$seeds/gzip/input-$number" ;;
    esac
done <"$work/names"

# Uploads as Google's clients send them, behind the length of the content type and the size of the pieces.
for ending in '\r\n' '\n'; do
    printf "multipart/related; boundary=ab--ab${ending}Content-Type: application/json$ending$ending{}$ending--ab${ending}Content-Type: text/plain$ending${ending}data$ending--ab--" \
        >"$seeds/multipart/lines-of-${#ending}"
done

# What registries say, below a line with its type; names; a challenge.
digest=sha256:$(printf '%064d' 1)
oci=application/vnd.oci.image
docker=application/vnd.docker
blob() {
    printf '{"mediaType":"%s","digest":"%s","size":7%s}' "$1" "$digest" "${2-}"
}
printf '%s\n{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s],"annotations":{"a":"b"},"subject":%s}' \
    "$oci.manifest.v1+json" "$oci.manifest.v1+json" "$(blob "$oci.config.v1+json")" \
    "$(blob "$oci.layer.v1.tar+zstd")" "$(blob x)" >"$seeds/registry/oci"
printf '%s\n{"schemaVersion":2,"config":%s,"layers":[%s]}' "$docker.distribution.manifest.v2+json" \
    "$(blob "$docker.container.image.v1+json")" "$(blob "$docker.image.rootfs.diff.tar.gzip")" >"$seeds/registry/docker"
printf '%s\n{"schemaVersion":2,"manifests":[%s,%s]}' "$oci.index.v1+json" \
    "$(blob "$oci.manifest.v1+json" ',"platform":{"os":"linux","architecture":"amd64","variant":"v2"}')" \
    "$(blob "$oci.manifest.v1+json" ',"platform":{"os":"linux","architecture":"arm64"}')" >"$seeds/registry/index"
printf 'config\n{"os":"linux","architecture":"amd64","created":"2026-01-02T03:04:05Z","config":{"Entrypoint":["/run"],"Cmd":["x"],"User":"app:app","WorkingDir":"/srv","StopSignal":"SIGQUIT"},"rootfs":{"type":"layers","diff_ids":["%s"]},"history":[{"created_by":"ADD"},{"empty_layer":true}]}' \
    "$digest" >"$seeds/registry/config"
printf 'localhost:5000/a/b-c/d__e.f:v1.0@%s\n' "$digest" >"$seeds/registry/name"
printf '[::1]:5000/a' >"$seeds/registry/address"
printf 'Basic realm="b", bearer SERVICE=s ,realm="https://registry.test/a\\"b",scope="repository:x:pull,push"\nNegotiate' >"$seeds/registry/challenge"

# Conversations.
for events in "$recorded"/*.jsonl; do
    cp "$events" "$seeds/claude/"
done
find "$recorded/projects" -type f | while read -r file; do
    cp "$file" "$seeds/claude/$(echo "${file#"$recorded/"}" | tr / _)"
done
find "$seeds" -type f -size +100k -delete
