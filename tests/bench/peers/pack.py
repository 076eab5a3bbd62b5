"""How the Python module that sortie replaces packs: the whole tar in memory, gzip at its default level, MD5 of the result.

pack.py DIRECTORY OUT.tar.gz
"""

import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path


def without_time(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = 0
    return member


def main() -> None:
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.add(source, arcname="input", filter=without_time)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as gz:
        gz.write(plain.getvalue())
    out.write_bytes(packed.getvalue())
    digest = hashlib.md5()
    with out.open("rb") as file:
        while chunk := file.read(8192):
            digest.update(chunk)
    print(digest.hexdigest())


main()
